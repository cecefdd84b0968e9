"""What is looked at before a question is sent: the guard on the way in.

Rules:
- What a person cannot see is taken out of the question (departments/prompts/clean.py).
- The scanner, and the outside classifier where there is one, label the question and each passage. A label stops
  nothing; it goes to the message, the citation and the record.
- Only two things stop a question here, each where the department wants it: a secret that somebody typed
  (departments/calls/typed.py) and what the provider's moderation says (departments/calls/moderation.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from departments.calls.caller import Caller
from departments.calls.moderation import moderate
from departments.calls.typed import allow_typed, find_secrets
from departments.models import Department
from departments.prompts.assemble import PassageData
from departments.prompts.classifier import classify, has_classifier
from departments.prompts.clean import clean
from departments.prompts.scanner import scan, scan_again


@dataclass(frozen=True)
class Guarded:
    """A question that may be sent, and what was seen in it and in each of its passages, in their order."""

    question: str
    seen: tuple[str, ...] = ()
    planted: tuple[tuple[str, ...], ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """All of it as the record holds it."""
        once = dict.fromkeys(label for labels in self.planted for label in labels)
        return (*(f"question:{label}" for label in self.seen), *(f"passage:{label}" for label in once))


async def guard_in(
    department: Department, caller: Caller, question: str, passages: Sequence[PassageData], *, confirmed: bool = False
) -> Guarded:
    """The question as it may be sent. Raises SecretTyped, or CallFailed where the department's moderation says so."""
    cleaned = clean(question)
    secrets_seen = [typed.kind for typed in find_secrets(cleaned.text)]
    allowed = await allow_typed(department, caller, cleaned.text, confirmed=confirmed)
    texts = [allowed, *(passage.text for passage in passages)]
    moderated, *classified = await asyncio.gather(
        moderate(department, caller, allowed), *(_classified(text) for text in texts)
    )
    seen = dict.fromkeys((*cleaned.flags, *secrets_seen, *scan(allowed), *classified[0], *moderated))
    planted = tuple(
        tuple(dict.fromkeys((*scan_again(passage.text), *said)))
        for passage, said in zip(passages, classified[1:], strict=True)
    )
    return Guarded(allowed, tuple(seen), planted)


async def _classified(text: str) -> list[str]:
    """Somebody else's code takes as long as it is allowed to: not on the event loop."""
    return await asyncio.to_thread(classify, text) if has_classifier() else []
