"""Where passages stand on a page of a PDF: the way back from text to boxes, for the picture of the page.

Rules
- A passage is found by its letters in their order, else by the lines and cells of the page that are part of it: rows
  of a table and columns were put in another order when they were read.
- Only letters and digits are compared: spaces, hyphens and line ends differ between a page and its passages.
- On a page that is a picture, passages are found among the words that tesseract sees there, as when it was read.
- What is not found has no place.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from departments.documents.extracted import DEFAULT_LIMITS
from departments.documents.extractors.ocr import Tesseract
from departments.documents.extractors.pdf_lines import Box, Cell, Line, letters_of, visible_lines

ENDS = 48  # letters by which the beginning and the end of a passage are found
LEAST_CELL = 12  # letters of a cell that is looked for without the others of its line
LEAST_SHARE = 0.2  # of a passage, that its lines on the page hold at least


@dataclass(frozen=True)
class Area:
    """A part of the page as it is shown: shares of its width from the left and of its height from the top."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class _Piece:
    """A line or a cell: its letters and its box, and the number of its line."""

    letters: str
    box: Box
    row: int


def places_of(
    page: Any, passages: Iterable[tuple[int, str]], tesseract: Tesseract | None = None
) -> list[tuple[int, Area]]:
    """Each passage (ordinal and text) that is found on the page, with its area. The page stays turned as it was."""
    shown = page.get_rotation()
    try:
        # the lines come first: they turn the page so that its letters stand upright
        pieces = _pieces(visible_lines(page, DEFAULT_LIMITS, has_picture=True))
        owners = [(plain, box) for letter, box in letters_of(page) for plain in _plain(letter)]
        turns, size = (shown - page.get_rotation()) // 90 % 4, page.get_size()
    finally:
        page.set_rotation(shown)
    if not pieces and tesseract is not None:
        turns, size = 0, page.get_size()
        owners = [(plain, box) for word, box in tesseract.words(page) for plain in _plain(word)]
    return _found(owners, pieces, passages, size, turns)


def _found(
    owners: Sequence[tuple[str, Box | None]],
    pieces: Sequence[_Piece],
    passages: Iterable[tuple[int, str]],
    size: tuple[float, float],
    turns: int,
) -> list[tuple[int, Area]]:
    """Each passage among the letters of a page in their order, or among its lines and cells."""
    whole, found, after = "".join(plain for plain, _ in owners), list[tuple[int, Area]](), 0
    for ordinal, passage in passages:
        wanted = _plain(passage)
        span = _find(whole, wanted, after)
        after = span.start + 1 if span else after
        boxes = [box for _, box in owners[span] if box] if span else _lines_of(pieces, wanted)
        if boxes:
            found.append((ordinal, _area(boxes, size, turns)))
    return found


def _find(whole: str, passage: str, after: int) -> slice | None:
    """Where a passage begins and ends: by its whole text, else by its first and last letters."""
    if not passage:
        return None
    at = whole.find(passage, after)
    if at >= 0:
        return slice(at, at + len(passage))
    first, last = whole.find(passage[:ENDS], after), whole.rfind(passage[-ENDS:])
    # far more between them than the passage says: they are its ends by chance, or other text stands between
    is_near = 0 <= first <= last and last + ENDS - first <= len(passage) * 3 // 2
    return slice(first, last + len(passage[-ENDS:])) if is_near else None


def _pieces(lines: Iterable[Line]) -> list[_Piece]:
    """Every line, followed by its cells where it has more than one."""
    pieces: list[_Piece] = []
    for row, line in enumerate(lines):
        parts: list[Line | Cell] = [line, *line.cells]
        pieces += [_Piece(_plain(each.text), Box(each.left, line.bottom, each.right, line.top), row) for each in parts]
    return pieces


def _lines_of(pieces: Sequence[_Piece], passage: str) -> list[Box]:
    """The largest group of neighbouring lines that are part of the passage; none where they are too little of it."""
    best: list[_Piece] = []
    group: list[_Piece] = []
    for piece in _parts_of(pieces, passage):
        if group and piece.row > group[-1].row + 2:
            group = []
        group.append(piece)
        best = max(best, group, key=_letters_in)
    return [piece.box for piece in best] if _letters_in(best) >= LEAST_SHARE * len(passage) else []


def _parts_of(pieces: Sequence[_Piece], passage: str) -> list[_Piece]:
    """Whole lines whose cells are all in the passage, and single cells that say enough to be known by."""
    cells: dict[int, list[_Piece]] = {}
    for piece in pieces:
        cells.setdefault(piece.row, []).append(piece)
    found: list[_Piece] = []
    for line, *others in cells.values():
        inside = [each for each in others or [line] if each.letters and each.letters in passage]
        is_whole = len(inside) == len(others or [line])
        found += [line] if is_whole else [each for each in inside if len(each.letters) >= LEAST_CELL]
    return found


def _letters_in(pieces: Sequence[_Piece]) -> int:
    return sum(len(piece.letters) for piece in pieces)


def _area(boxes: Sequence[Box], size: tuple[float, float], turns: int) -> Area:
    """The area around boxes, after so many quarter turns clockwise from the page as they know it."""
    wide, high = (max(1.0, each) for each in size)
    area = Area(
        min(box.left for box in boxes) / wide,
        1 - max(box.top for box in boxes) / high,
        max(box.right for box in boxes) / wide,
        1 - min(box.bottom for box in boxes) / high,
    )
    for _ in range(turns):
        area = Area(1 - area.bottom, area.left, 1 - area.top, area.right)
    return area


def _plain(text: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFKC", text).casefold() if each.isalnum())
