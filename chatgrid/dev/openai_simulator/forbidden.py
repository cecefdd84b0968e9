"""Subjects that the system message forbids, as ChatGrid writes them (departments/prompts/scope.py), and a model that
keeps to it: a question that holds most of a subject's words is answered with the sentence that was ordered.
"""

from __future__ import annotations

import re
from typing import Any

from chatgrid.dev.openai_simulator.tokens import text_of
from chatgrid.dev.openai_simulator.words import STOP_WORDS, term_of, words_of

ORDER = re.compile(
    r"Do not discuss any of the following.*?nothing else: (?P<sentence>[^\n]+)\n(?P<list>(?:- [^\n]+\n?)+)", re.DOTALL
)
MOST = 0.6


def refusal_for(messages: list[dict[str, Any]], question: str) -> str | None:
    """The ordered sentence, if the question is about a forbidden subject."""
    system = "\n".join(text_of(message) for message in messages if message.get("role") in {"system", "developer"})
    order = ORDER.search(system)
    if order is None:
        return None
    asked = _terms(question)
    subjects = [_terms(line) for line in order["list"].splitlines()]
    is_about = any(subject and len(subject & asked) >= MOST * len(subject) for subject in subjects)
    return order["sentence"].strip() if is_about else None


def _terms(text: str) -> set[str]:
    return {term_of(word) for word in words_of(text) if word not in STOP_WORDS}
