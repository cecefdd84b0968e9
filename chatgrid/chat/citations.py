"""Checks an answer's citations when it is whole: does the number exist, and do the passage's words support it.

Rules:
- A statement is the sentence before a number (or around it: "As [1] says, ..."), in its own paragraph, list item or
  table cell; numbers side by side share it (chatgrid/chat/markdown.py finds both: what is checked is what is shown).
- Support is overlap: at least `SUPPORT` of the statement's words stand in the passage, its title or its headings, and
  every figure of the statement does. A figure that the passage does not name is the costliest invention of all.
- Words are compared without endings and without a list of any language, so an answer in another language than its
  document is mostly not confirmed. That is what is said: not confirmed, never wrong.
- A statement without a word to compare ("Yes.") is believed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chatgrid.chat.markdown import cited_statements
from chatgrid.chat.markdown_citations import UNSPACED

SUPPORT = 0.4
SHORTEST_WORD = 4  # shorter ones are mostly grammar
STEM = 5  # letters by which two forms of a word are known as one

# a figure is one wherever it stands: "EUR40" and the days of a Chinese sentence have no space before it
_WORD = re.compile(rf"\d+(?:[.,]\d+)*|[{UNSPACED}]+|[^\W\d{UNSPACED}]+")
_NO_SPACES = re.compile(f"[{UNSPACED}]")
_DIGIT = re.compile(r"[^\D0-9]")  # of another script, or wide
_NO_FRACTION = re.compile(r"\.0+$")
_SEPARATOR = re.compile(r"(?<=\d)[,.\u00a0\u202f ](?=\d{3}(?!\d))")
_WRITTEN = """zero one two three four five six seven eight nine ten eleven twelve"""
_NUMBERS = {word: str(value) for value, word in enumerate(_WRITTEN.split())}


@dataclass(frozen=True)
class Check:
    """What was found. `doubtful` counts citations from 0 in their order in the text; `missing` are invented numbers."""

    doubtful: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()

    def to_json(self) -> dict[str, list[int]]:
        return {"doubtful": list(self.doubtful), "missing": list(self.missing)}


def check(text: str, passages: Mapping[int, str]) -> Check:
    """Looks at every citation of an answer; `passages` are the texts that its numbers stand for, with their titles."""
    cited = cited_statements(text, passages)
    doubtful = [
        place
        for place, (statement, number) in enumerate(each for each in cited if each[1] in passages)
        if not is_supported(statement, passages[number])
    ]
    missing = sorted({number for _, number in cited if number not in passages})
    return Check(tuple(doubtful), tuple(missing))


def is_supported(statement: str, passage: str) -> bool:
    """Whether enough of a statement's words, and all of its figures, stand in a passage."""
    words, figures = _words(statement)
    known, known_figures = _words(passage)
    if not figures <= known_figures:
        return False
    return not words or len(words & known) >= SUPPORT * len(words)


def _words(text: str) -> tuple[set[str], set[str]]:
    """The beginnings of the words that say something, and the figures, small ones also where they are written out."""
    words: set[str] = set()
    figures: set[str] = set()
    plain = _DIGIT.sub(lambda digit: str(int(digit[0])), text.casefold())
    for word in _WORD.findall(_SEPARATOR.sub("", plain)):
        if word[0].isdigit():
            figures.add(_NO_FRACTION.sub("", word.replace(",", ".")))
        elif word in _NUMBERS:
            figures.add(_NUMBERS[word])
        elif _NO_SPACES.match(word):
            words |= {word[at : at + 2] for at in range(max(1, len(word) - 1))}
        elif len(word) >= SHORTEST_WORD:
            words.add(word[:STEM])
    return words, figures
