"""Tables and columns of a PDF's page, told from the gaps in its lines.

Rules
- Lines below each other whose cells stand in the same places are a table, if there are two or more.
- Where most cells are as long as a line of text, they are columns: the left one is read first, then the next.
- Everything else is text, line by line; a gap in it is a space.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from departments.documents.extractors.pdf_lines import Cell, Line

FEWEST_ROWS = 2
COLUMN_LINES = 4
COLUMN_LETTERS = 18  # of a cell, in the middle: a cell of a table says less


@dataclass(frozen=True)
class Part:
    """Lines of a page that belong together: `rows` of a table, or `lines` of text."""

    lines: list[Line]
    rows: list[list[str]]


def parts(lines: list[Line]) -> Iterator[Part]:
    """The page in order."""
    text: list[Line] = []
    for run in _runs(lines):
        if len(run) < FEWEST_ROWS:
            text += run
        elif _are_columns(run):
            text += _column_by_column(run)
        else:
            if text:
                yield Part(text, [])
            text = []
            yield Part(run, [[cell.text for cell in line.cells] for line in run])
    if text:
        yield Part(text, [])


def _runs(lines: list[Line]) -> Iterator[list[Line]]:
    """Lines that could be rows of one table, together; others alone."""
    run: list[Line] = []
    for line in lines:
        if run and not _continues(run[-1], line):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _continues(above: Line, below: Line) -> bool:
    if len(above.cells) != len(below.cells) or not above.cells or above.bottom <= below.bottom:
        return False
    reach = max(above.size, below.size)
    return all(_stands_below(one, other, reach) for one, other in zip(above.cells, below.cells, strict=True))


def _stands_below(above: Cell, below: Cell, reach: float) -> bool:
    """Whether two cells are of one column: their left edges, right edges or middles stand below each other."""
    left, right = below.left - above.left, below.right - above.right
    return min(abs(left), abs(right), abs(left + right) / 2) <= reach


def _are_columns(run: list[Line]) -> bool:
    lengths = sorted(len(cell.text) for line in run for cell in line.cells)
    return len(run) >= COLUMN_LINES and lengths[len(lengths) // 2] >= COLUMN_LETTERS


def _column_by_column(run: list[Line]) -> Iterator[Line]:
    for place in range(len(run[0].cells)):
        for line in run:
            cell = line.cells[place]
            yield replace(line, text=cell.text, left=cell.left, right=cell.right, cells=())
