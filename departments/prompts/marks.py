"""A text as a reviewer should see it: what the scanner met is marked, what nobody can see is made visible.

Rules:
- `segments` gives the whole text back, in order: put together, the texts of the segments that are not hidden are the
  text as it would be searched (before Unicode normalisation).
- A hidden segment says which characters stand there, and what they spell where they spell something: tag characters
  and variation selectors can carry a message of their own.
- A rule is met in a folded form of the text (departments/prompts/scanner.py). Where a place in that form cannot be
  traced back to one in the text, the whole line is marked.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from departments.prompts.clean import for_matching, hidden_in
from departments.prompts.scanner import Rule, rules

MOST_NAMED = 6  # hidden characters that are named one by one
TAG_PLANE = 0xE0000


@dataclass(frozen=True)
class Segment:
    """A piece of a text. `labels`: rules it meets; `hidden`: what its unseen characters are, "" for a text to read."""

    text: str
    labels: tuple[str, ...] = ()
    hidden: str = ""

    @property
    def is_marked(self) -> bool:
        return bool(self.labels or self.hidden)


@dataclass(frozen=True)
class Mark:
    """A stretch of a text that meets a rule."""

    start: int
    end: int
    label: str


def segments(text: str) -> list[Segment]:
    """The text in pieces, from beginning to end."""
    hidden = hidden_in(text)
    kept = _kept(text, hidden)
    found = marks_in("".join(text[at] for at in kept))
    marks = [Mark(kept[each.start], kept[each.end - 1] + 1, each.label) for each in found]
    edges = {0, len(text), *(edge for span in hidden for edge in span)}
    edges |= {edge for each in marks for edge in (each.start, each.end)}
    return [_segment(text, start, end, hidden, marks) for start, end in pairwise(sorted(edges))]


def marks_in(seen: str) -> list[Mark]:
    """Where a text without hidden characters meets rules, by rule and place."""
    forms = {"clean": _Form(seen, range(len(seen))), "matching": _matching(seen)}
    return [mark for rule in rules() for mark in _met(rule, forms[rule.form], seen)]


def spelled(hidden: str) -> str:
    """What unseen characters are, in words: their message where they carry one, else their names."""
    message = _message(hidden)
    if message:
        return f"hidden text: {message}"
    names = [_name(character) for character in dict.fromkeys(hidden)]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    times = f", {len(hidden)} characters" if len(hidden) > len(names) else ""
    return ", ".join(names[:MOST_NAMED]) + more + times


@dataclass(frozen=True)
class _Form:
    """A folded text and, for each of its characters, where it stands in the text; None: that cannot be told."""

    text: str
    origin: Sequence[int] | None


def _matching(seen: str) -> _Form:
    if seen.isascii():
        return _Form(seen.lower(), range(len(seen)))
    folded = for_matching(seen)
    if len(folded) == len(seen):
        return _Form(folded, range(len(seen)))
    lengths = [len(unicodedata.normalize("NFKC", character).casefold()) for character in seen]
    if sum(lengths) != len(folded):
        return _Form(folded, None)
    return _Form(folded, [at for at, length in enumerate(lengths) for _ in range(length)])


def _met(rule: Rule, form: _Form, seen: str) -> Iterator[Mark]:
    if not rule.found_in(form.text):
        return
    if form.origin is None:
        yield from _lines(rule, seen)
        return
    for match in rule.pattern.finditer(form.text):
        if match.end() > match.start():
            yield Mark(form.origin[match.start()], form.origin[match.end() - 1] + 1, rule.id)


def _lines(rule: Rule, seen: str) -> Iterator[Mark]:
    """Every line that meets the rule; the whole text where only lines together do."""
    at, found = 0, False
    for line in seen.splitlines(keepends=True):
        if rule.found_in(for_matching(line)):
            found = True
            yield Mark(at, at + len(line), rule.id)
        at += len(line)
    if not found:
        yield Mark(0, len(seen), rule.id)


def _kept(text: str, hidden: Iterable[tuple[int, int]]) -> list[int]:
    """The places of the characters that stay."""
    gone = {at for start, end in hidden for at in range(start, end)}
    return [at for at in range(len(text)) if at not in gone]


def _segment(text: str, start: int, end: int, hidden: Sequence[tuple[int, int]], marks: Sequence[Mark]) -> Segment:
    piece = text[start:end]
    labels = tuple(dict.fromkeys(each.label for each in marks if each.start <= start and end <= each.end))
    is_hidden = any(first <= start and end <= last for first, last in hidden)
    return Segment(piece, labels, spelled(piece) if is_hidden else "")


def _message(hidden: str) -> str:
    """What tag characters or variation selectors spell; "" where they spell nothing that can be read."""
    tags = "".join(chr(ord(each) - TAG_PLANE) for each in hidden if "\U000e0020" <= each <= "\U000e007e")
    if len(tags) > 1:
        return tags
    spelled_bytes = bytes(value for each in hidden if (value := _selector(each)) is not None)
    message = spelled_bytes.decode("utf-8", "replace") if len(spelled_bytes) > 1 else ""
    return message if message.isprintable() and "\ufffd" not in message else ""


def _selector(character: str) -> int | None:
    """The byte that a variation selector can stand for: 0 to 15 and 16 to 255."""
    if "\ufe00" <= character <= "\ufe0f":
        return ord(character) - 0xFE00
    return ord(character) - 0xE0100 + 16 if "\U000e0100" <= character <= "\U000e01ef" else None


def _name(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, 'without a name').lower()}"
