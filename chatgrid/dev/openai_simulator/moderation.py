"""Moderation without a model: a text is flagged for words that stand in it. The reply has the shape of OpenAI's.

The shape: https://platform.openai.com/docs/api-reference/moderations
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

SIGNS = {
    "harassment": ("idiot", "loser"),
    "harassment/threatening": (),
    "hate": ("vermin",),
    "hate/threatening": (),
    "illicit": ("counterfeit",),
    "illicit/violent": ("explosive",),
    "self-harm": ("hurt myself",),
    "self-harm/instructions": (),
    "self-harm/intent": ("hurt myself",),
    "sexual": ("pornographic",),
    "sexual/minors": (),
    "violence": ("kill", "stab", "explosive"),
    "violence/graphic": (),
}
SURE, UNLIKELY = 0.98, 0.0001


def reply_to(texts: Sequence[str], model: str) -> dict[str, Any]:
    """The reply to one request: a result for each text, in order."""
    return {"id": f"modr-{secrets.token_hex(16)}", "model": model, "results": [_result(text) for text in texts]}


def _result(text: str) -> dict[str, Any]:
    words = text.lower()
    flagged = {name: any(re.search(rf"\b{sign}\b", words) for sign in signs) for name, signs in SIGNS.items()}
    return {
        "flagged": any(flagged.values()),
        "categories": flagged,
        "category_scores": {name: SURE if is_flagged else UNLIKELY for name, is_flagged in flagged.items()},
        "category_applied_input_types": {name: ["text"] for name in flagged},
    }
