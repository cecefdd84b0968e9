"""Leaves out passages that say what a better one says: copies, templates filled in twice, overlaps of neighbours.

Two passages are alike when they share most sequences of three words, or when nearly all of the new one stands in the
other. Of passages that are alike and name the same figures the best is kept; of those that differ in figures
`VARIANTS` are, so that two versions of a rule are both seen, and a form that was filled in fifty times does not take
every place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

NEARLY_SAME = 0.8  # shared sequences, of those of both
CONTAINED = 0.9  # shared sequences, of those of the new passage
VARIANTS = 2

_WORD = re.compile(r"\w+")
_FIGURE = re.compile(r"\d+")

Sequences = frozenset[tuple[str, ...]]
T = TypeVar("T")


def without_repetitions(found: Iterable[T], limit: int, text_of: Callable[[T], str]) -> list[T]:
    """The first `limit` of `found`, best first, without those that repeat a better one."""
    kept: list[T] = []
    seen: list[tuple[Sequences, frozenset[str]]] = []
    for passage in found:
        if len(kept) == limit:
            break
        text = text_of(passage)
        known = _sequences(text), frozenset(_FIGURE.findall(text))
        alike = [other for other in seen if _are_alike(known[0], other[0])]
        if len(alike) < VARIANTS and not any(known[1] <= figures for _, figures in alike):
            kept.append(passage)
            seen.append(known)
    return kept


def shared_words(one: str, other: str) -> float:
    """The share of the shorter text's sequences of three words that stands in the longer one, 0 to 1."""
    mine, theirs = _sequences(one), _sequences(other)
    return len(mine & theirs) / min(len(mine), len(theirs))


def _sequences(text: str) -> Sequences:
    words = ["#" if word.isdigit() else word for word in _WORD.findall(text.lower())]
    return frozenset(zip(words, words[1:], words[2:], strict=False)) or frozenset([tuple(words)])


def _are_alike(mine: Sequences, theirs: Sequences) -> bool:
    shared = len(mine & theirs)
    return shared >= NEARLY_SAME * len(mine | theirs) or shared >= CONTAINED * len(mine)
