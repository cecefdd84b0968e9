"""Plain text: paragraphs between blank lines, and headings where a line is underlined or stands alone in capitals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from departments.documents.extracted import Block, BlockKind
from departments.documents.extractors.decode import decode
from departments.documents.extractors.draft import Draft, Headings, Options

BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
LIST_ITEM = re.compile(r"[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]")
LONGEST_HEADING_LINE = 80


def extract(file: BinaryIO, options: Options) -> Draft:
    return Draft(read_text(decode(file.read())))


def read_text(text: str) -> Iterator[Block]:
    headings = Headings()
    for part in BLANK_LINES.split(re.sub("\r\n?|\f", "\n", text)):
        lines = part.strip("\n").splitlines()
        level = _heading_level(lines)
        if level:
            path = headings.enter(level, lines[0])
            yield Block(lines[0].strip(), heading_path=path, kind="heading")
            lines = lines[2:] if _is_underlined(lines) else lines[1:]
        if lines:
            yield Block("\n".join(lines), heading_path=headings.path, kind=_kind(lines))


def _heading_level(lines: list[str]) -> int:
    if _is_underlined(lines):
        return 1 if lines[1].startswith("=") else 2
    stands_alone = len(lines) == 1 and len(lines[0]) <= LONGEST_HEADING_LINE
    return 2 if stands_alone and lines[0].isupper() and not lines[0].rstrip().endswith((".", ";", ",")) else 0


def _is_underlined(lines: list[str]) -> bool:
    return len(lines) > 1 and bool(re.fullmatch(r"={3,}|-{3,}", lines[1].strip())) and bool(lines[0].strip())


def _kind(lines: list[str]) -> BlockKind:
    return "list" if all(LIST_ITEM.match(line) for line in lines) else "paragraph"
