"""Cutting a passage into sentences, whatever its extraction left: wrapped lines, bullets, headings, table rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from chatgrid.dev.openai_simulator.prompt import Passage

BULLET = re.compile(r"^\s*(?:[-*•–◦▪]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+")
EMPHASIS = re.compile(r"(?<=\w)\*{1,3}|(?<=[.!?:,;)])\*{1,3}|\*{1,3}(?=\w)|\*\*")
HEADING = re.compile(r"^\s*#{1,6}\s+")
SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\b[A-Za-z]\.)(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!No\.)(?<!Yes\.)(?<!Mr\.)(?<!Ms\.)\s+(?=[\"“(]?[A-Z0-9])"
)
CITATION = re.compile(r"\[(\d{1,3})\]")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
INTRODUCES = re.compile(r":$")
SHORT_LINE = 60
LONGEST = 400


@dataclass(frozen=True)
class Sentence:
    """`place` is its position in the passage; an item stood in a list."""

    text: str
    passage: Passage
    place: int
    is_item: bool


def sentences_of(passage: Passage) -> list[Sentence]:
    sentences: list[Sentence] = []
    for paragraph, is_item in _paragraphs(passage.text):
        for text in SENTENCE_END.split(paragraph):
            if any(character.isalnum() for character in text):
                sentences.append(Sentence(_clean(text), passage, len(sentences), is_item))
    return sentences


def _paragraphs(text: str) -> Iterator[tuple[str, bool]]:
    """Lines that belong together, joined, and whether they were a list item."""
    held: list[str] = []
    is_item = False
    for line in [*EMPHASIS.sub("", text).splitlines(), ""]:
        starts_item = BULLET.match(line) is not None
        if held and (not line.strip() or starts_item or _ends(held[-1], line)):
            yield " ".join(held), is_item
            held = []
        if not line.strip() or HEADING.match(line):
            continue
        if not held:
            is_item = starts_item
        held.append(BULLET.sub("", line, count=1).strip() if starts_item else line.strip())


def _ends(line: str, following: str) -> bool:
    """Whether a line is complete: it says so itself, or it is short and the next begins like a new one."""
    if line.endswith((".", "!", "?", ":", ";", "|")):
        return True
    return len(line) < SHORT_LINE and following.lstrip()[:1].isupper()


def _clean(text: str) -> str:
    """Without marks that would read as ours: citations of its own, emphasis, table bars."""
    text = CITATION.sub(r"(\1)", text).replace("`", "'")
    text = re.sub(r"\s*\|\s*", " · ", text.strip().strip("|")).strip(" ·")
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …"
