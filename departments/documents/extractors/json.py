"""JSON as lines "path: value", grouped by the part they stand in. One value a line is read as well (JSON Lines)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from departments.documents.extracted import Block, ExtractionFailed, Locator, Reason
from departments.documents.extractors.decode import decode
from departments.documents.extractors.draft import Draft, Options

BLOCK_CHARACTERS = 1_200
LARGEST_BLOCK_CHARACTERS = 4_800
# a first key with something below it, and everything up to the first place in a list
FIRST_KEY = re.compile(r"[^.\[]+(?=[.\[])")
FIRST_RECORD = re.compile(r"[^\[]*\[\d+\]")
TOO_DEEP = "This JSON is nested too deeply to be read. Flatten it and upload it again."
NOT_JSON = "Line {line} of this file is no JSON. Mend it, or upload the file as text under a name that ends in .txt."


class _Place(NamedTuple):
    section: str
    record: str


def extract(file: BinaryIO, options: Options) -> Draft:
    text = decode(file.read())
    try:
        return Draft(_blocks(_load(text)))
    except RecursionError as error:
        raise ExtractionFailed(Reason.CORRUPT, TOO_DEEP) from error
    except json.JSONDecodeError as error:
        raise ExtractionFailed(Reason.CORRUPT, NOT_JSON.format(line=error.lineno)) from error


def _load(text: str) -> Any:
    """Numbers stay as they are written: a reference number of 5,000 digits or a price of 1.10 is text to us."""
    try:
        return _read(text)
    except json.JSONDecodeError as error:
        # a line ends at a line feed only: the other line ends of Unicode may stand inside a string
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        if len(lines) < 2 or not error.msg.startswith("Extra data"):
            raise
        return [_read(line, number) for number, line in lines]


def _read(text: str, first_line: int = 1) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        error.lineno += first_line - 1
        raise


def _blocks(value: Any) -> Iterator[Block]:
    """Neighbouring lines of one section share blocks, and a record stays whole unless it is large itself."""
    lines, size, last = list[str](), 0, _Place("", "")
    for place, path, scalar in _flatten(value):
        is_full = size > BLOCK_CHARACTERS and (place.record != last.record or size > LARGEST_BLOCK_CHARACTERS)
        if lines and (place.section != last.section or is_full):
            yield _block(last.section, lines)
            lines, size = [], 0
        lines.append(f"{path}: {scalar}" if path else str(scalar))
        size, last = size + len(lines[-1]), place
    if lines:
        yield _block(last.section, lines)


def _block(section: str, lines: list[str]) -> Block:
    return Block("\n".join(lines), Locator(section=section or None), (section,) if section else (), "list")


def _flatten(value: Any) -> Iterator[tuple[_Place, str, Any]]:
    """(place, whole path, scalar) in the order of the file. A stack, because nesting may be deep."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, dict | list):
            stack.extend(reversed([(path + step, inner) for step, inner in _steps(item, path)]))
        else:
            yield _place(path), path, json.dumps(item) if item is None or isinstance(item, bool) else item


def _place(path: str) -> _Place:
    record = FIRST_RECORD.match(path)
    section = FIRST_KEY.match(path)
    return _Place(section.group() if section else "", record.group() if record else path)


def _steps(item: dict[str, Any] | list[Any], path: str) -> list[tuple[str, Any]]:
    if isinstance(item, list):
        return [(f"[{index}]", inner) for index, inner in enumerate(item)]
    return [(f".{name}" if path else name, inner) for name, inner in item.items()]
