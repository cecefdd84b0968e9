"""Lines of a PDF's page with their boxes, as somebody sees the page.

Rules
- pdfium gives letters in order, with a line end where it sees one. Where it sees none, a letter that stands lower than
  the one before begins a line all the same, and a wide gap divides a line into cells. Where it sees one before a number
  that stands far to the right of the words before it, there is none.
- A page is turned so that most of its letters stand upright, however it is shown: only then are lines in their order,
  and boxes tell what stands below what.
- What is written in the fields of a form, in notes on the page and in stamps is part of the page; a page with any is
  read from the top down, because they come last in the file.
- Left out: letters too small to see or off the page, text drawn invisibly on a page that has no picture under it (over
  a scan, invisible text is the recognised text and stays), and text across the page, such as a watermark.
"""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pypdfium2.raw as pdfium

from departments.documents.extracted import Limits
from departments.documents.extractors.draft import too_large

SMALLEST_POINTS = 2.0
BOLD_WEIGHT = 600
FONT_NAME_BYTES = 200
INVISIBLE = 3
CELL_GAP = 1.5  # heights of the letters; spaces of justified text are narrower
SAME_LINE = 0.3  # of the height, that two letters of one line share at least
SAMPLED = 40  # letters of a page, that tell how it is turned
SLANTED = math.pi / 12  # from the edges of the page
WRITTEN_ON = frozenset({pdfium.FPDF_ANNOT_WIDGET, pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_STAMP})
LINE_ENDS = ("\r", "\n", "\x02", "\ufffe")


@dataclass(frozen=True)
class Box:
    """In points, from the lower left corner of the page as it is turned."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def height(self) -> float:
        return self.top - self.bottom

    def shares_line(self, other: Box) -> bool:
        """Whether both stand beside each other."""
        shared = min(self.top, other.top) - max(self.bottom, other.bottom)
        return shared >= SAME_LINE * min(self.height, other.height)


@dataclass(frozen=True)
class Cell:
    """A part of a line with a wide gap before and after it."""

    text: str
    left: float
    right: float


@dataclass(frozen=True)
class Line:
    """A line of text with its box. `cells` are its parts, where wide gaps divide it."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    is_bold: bool = False
    cells: tuple[Cell, ...] = ()

    @property
    def size(self) -> float:
        return self.top - self.bottom


@dataclass(frozen=True)
class _Span:
    """Letters between two ends or gaps: what they say, and the indices of the first and the last."""

    text: str
    first: int
    last: int


class _Letters:
    """The letters of one page, with their boxes turned as the page is."""

    def __init__(self, page: Any, text: Any) -> None:
        self.text = text
        self._turns = page.get_rotation() // 90 % 4
        left, bottom, right, top = page.get_bbox()
        self._corner, self._size = (left, bottom), (right - left, top - bottom)

    def box(self, index: int) -> Box | None:
        """The room of a letter: as high as its font, whichever letter it is."""
        found = pdfium.FS_RECTF()
        if not pdfium.FPDFText_GetLooseCharBox(self.text, index, ctypes.byref(found)):
            return None
        (x, y), (wide, high) = self._corner, self._size
        left, right, bottom, top = found.left - x, found.right - x, found.bottom - y, found.top - y
        for _ in range(self._turns):  # a quarter clockwise each
            left, right, bottom, top = bottom, top, wide - right, wide - left
            wide, high = high, wide
        return Box(left, bottom, right, top)

    def is_invisible(self, index: int) -> bool:
        drawn = pdfium.FPDFText_GetTextObject(self.text, index)
        return bool(drawn) and pdfium.FPDFTextObj_GetTextRenderMode(drawn) == INVISIBLE

    def is_slanted(self, index: int) -> bool:
        """Whether it neither lies nor stands."""
        angle: float = max(0.0, pdfium.FPDFText_GetCharAngle(self.text, index))  # -1 where it has none
        beside = angle % (math.pi / 2)
        return SLANTED < beside < math.pi / 2 - SLANTED

    def is_bold(self, index: int) -> bool:
        """By the weight that the font declares, or by its name where it declares none."""
        name = ctypes.create_string_buffer(FONT_NAME_BYTES)
        pdfium.FPDFText_GetFontInfo(self.text, index, name, FONT_NAME_BYTES, None)
        return pdfium.FPDFText_GetFontWeight(self.text, index) >= BOLD_WEIGHT or b"bold" in name.value.lower()


def load_page(document: Any, index: int) -> tuple[Any, bool]:
    """A page with what is written on it made part of it; and whether there is anything."""
    page = document[index]
    annotations = (pdfium.FPDFPage_GetAnnot(page, each) for each in range(pdfium.FPDFPage_GetAnnotCount(page)))
    kinds = {_kind_and_close(each) for each in annotations if each}
    if kinds.isdisjoint(WRITTEN_ON):
        return page, False
    pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY)
    page.close()
    return document[index], True


def _kind_and_close(annotation: Any) -> int:
    kind: int = pdfium.FPDFAnnot_GetSubtype(annotation)
    pdfium.FPDFPage_CloseAnnot(annotation)
    return kind


def from_the_top(lines: list[Line]) -> list[Line]:
    """Lines by their height on the page; those beside each other are one: a label, and what is written in its field."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda each: -each.top - each.bottom):
        if rows and _is_beside(rows[-1][0], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [_as_one(sorted(row, key=lambda each: each.left)) for row in rows]


def _as_one(row: list[Line]) -> Line:
    if len(row) == 1:
        return row[0]
    return replace(row[0], text=" ".join(line.text for line in row), right=max(line.right for line in row), cells=())


def _is_beside(line: Line, other: Line) -> bool:
    one, two = (Box(each.left, each.bottom, each.right, each.top) for each in (line, other))
    return one.shares_line(two)


def visible_lines(page: Any, limits: Limits, has_picture: bool) -> list[Line]:
    """What can be read on a page, in pdfium's order. ExtractionFailed where it holds more letters than a file may."""
    longest = max(page.get_size())
    text = _upright_text(page)
    try:
        if text.count_chars() > limits.characters:
            raise too_large("characters of text", limits.characters)
        letters = _Letters(page, text)
        found = [line for span in _spans(text) for line in _lines(letters, span, has_picture)]
    finally:
        text.close()
    return _with_rows_whole([line for line in found if _is_seen(line, longest)])


def _with_rows_whole(lines: list[Line]) -> list[Line]:
    """The lines; one that goes on beside the line before it, far to its right, is of the same row."""
    whole: list[Line] = []
    for line in lines:
        if whole and _goes_on(whole[-1], line):
            before = whole.pop()
            line = replace(
                before, text=f"{before.text} {line.text}", right=line.right, cells=_cells_of(before) + _cells_of(line)
            )
        whole.append(line)
    return whole


def _goes_on(line: Line, after: Line) -> bool:
    far = after.left - line.right > CELL_GAP * min(line.size, after.size)
    return far and _is_beside(line, after) and abs(line.size - after.size) <= SAME_LINE * max(line.size, after.size)


def _cells_of(line: Line) -> tuple[Cell, ...]:
    return line.cells or (Cell(line.text, line.left, line.right),)


def letters_of(page: Any) -> list[tuple[str, Box | None]]:
    """Every letter of a page as it is turned now, with its box."""
    text = page.get_textpage()
    try:
        letters = _Letters(page, text)
        count = range(text.count_chars())
        return [(chr(pdfium.FPDFText_GetUnicode(text, index)), letters.box(index)) for index in count]
    finally:
        text.close()


def _upright_text(page: Any) -> Any:
    """The text of the page, turned for it where that is needed; whoever gets it closes it."""
    text = page.get_textpage()
    count = text.count_chars()
    angles = Counter(_quarters(text, index) for index in range(0, count, max(1, count // SAMPLED)))
    if not count or (upright := angles.most_common(1)[0][0]) == page.get_rotation():
        return text
    text.close()
    page.set_rotation(upright)
    return page.get_textpage()


def _quarters(text: Any, index: int) -> int:
    """The rotation of the page, in degrees, in which this letter would stand upright."""
    clockwise: float = max(0.0, pdfium.FPDFText_GetCharAngle(text, index))  # -1 where it has none
    quarters = round(clockwise / (math.pi / 2))
    return -quarters % 4 * 90


def _is_seen(line: Line, longest: float) -> bool:
    is_on_page = line.right >= 0 and line.left <= longest and line.top >= 0 and line.bottom <= longest
    return is_on_page and line.size >= SMALLEST_POINTS


def _spans(text: Any) -> Iterator[_Span]:
    """What stands between two line ends of pdfium, if it is not blank."""
    letters: list[str] = []
    count = text.count_chars()
    for index in range(count):
        letters.append(chr(pdfium.FPDFText_GetUnicode(text, index)))
        # pdfium leaves out the line end after a hyphen that divides a word
        if letters[-1] in LINE_ENDS or index == count - 1:
            begin = index + 1 - len(letters)
            if span := _stripped("".join(letters), begin):
                yield span
            letters = []


def _stripped(text: str, begin: int) -> _Span | None:
    words = text.strip()
    first = begin + len(text) - len(text.lstrip())
    return _Span(words, first, first + len(words) - 1) if words else None


def _lines(letters: _Letters, span: _Span, has_picture: bool) -> Iterator[Line]:
    """One line mostly; more where lower letters follow without a line end."""
    cells: list[_Span] = []
    for piece, is_lower in _pieces(letters, span):
        if is_lower and cells:
            yield from _line(letters, cells, has_picture)
            cells = []
        cells.append(piece)
    yield from _line(letters, cells, has_picture)


def _pieces(letters: _Letters, span: _Span) -> Iterator[tuple[_Span, bool]]:
    """The parts of a span between wide gaps; each with whether it stands on a lower line than the part before."""
    if not _runs_level(letters, span):
        yield span, False
        return
    begin, is_lower = 0, False
    for at in range(1, len(span.text) - 1):
        if not span.text[at].isspace() or span.text[at - 1].isspace():
            continue
        after = at + len(span.text[at:]) - len(span.text[at:].lstrip()) if span.text[at + 1].isspace() else at + 1
        kind = _gap(letters.box(span.first + at - 1), letters.box(span.first + after))
        if kind:
            yield _Span(span.text[begin:at], span.first + begin, span.first + at - 1), is_lower
            begin, is_lower = after, kind == "line"
    yield _Span(span.text[begin:], span.first + begin, span.last), is_lower


def _runs_level(letters: _Letters, span: _Span) -> bool:
    """Whether the letters stand beside each other: those of a word that is drawn upwards have no gaps to look at."""
    second = next((at for at in range(1, len(span.text)) if not span.text[at].isspace()), 0)
    one, other = letters.box(span.first), letters.box(span.first + second)
    return one is not None and other is not None and second > 0 and (second > 1 or one.shares_line(other))


def _gap(before: Box | None, after: Box | None) -> str:
    """ "line" where the next word stands on another line, "cell" where it stands far away, else nothing."""
    if before is None or after is None:
        return ""
    if not before.shares_line(after):
        return "line"
    return "cell" if after.left - before.right > CELL_GAP * min(before.height, after.height) else ""


def _line(letters: _Letters, cells: list[_Span], has_picture: bool) -> Iterator[Line]:
    """A line of these cells, if it can be seen at all."""
    first, last = cells[0].first, cells[-1].last
    start, end = letters.box(first), letters.box(last)
    word = next((place for place, letter in enumerate(cells[0].text) if letter.isalnum()), 0)
    sized = letters.box(first + word) or start  # a bullet may be set larger than what stands beside it
    if (
        start is None
        or sized is None
        or end is None
        or (not has_picture and letters.is_invisible(first))
        or letters.is_slanted(first)
    ):
        return
    parts = tuple(_cell(letters, cell) for cell in cells) if len(cells) > 1 else ()
    text = " ".join(cell.text for cell in cells)
    yield Line(text, start.left, end.right, sized.bottom, sized.top, letters.is_bold(first + word), parts)


def _cell(letters: _Letters, cell: _Span) -> Cell:
    start, end = letters.box(cell.first), letters.box(cell.last)
    return Cell(cell.text, start.left if start else 0.0, end.right if end else 0.0)
