"""Rows of a table as lines that can be read alone: "Header: value; Header: value".

A passage may hold any one row, so every row carries its headers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest

from departments.documents.extractors.draft import one_line

LONGEST_HEADER = 80
MOST_SPANNED = 100  # rows or columns by one cell
LONGEST_LABEL = 200  # of a cell that is said again in each row it spans; a longer text is no label
NUMBER_OR_DATE = re.compile(r"[\d\s.,:/%+\-€$£¥()]+(?:[A-Z]{3})?")
YEAR_OR_MONTH = re.compile(r"(?:19|20)\d\d(?:-(?:0[1-9]|1[0-2]))?")

Row = Sequence[str]


@dataclass(frozen=True)
class Cell:
    """A cell of a page's or a document's table. 0 rows mean all that follow."""

    text: str
    is_name: bool = False
    rows: int = 1
    columns: int = 1


def spread(rows: Iterable[Sequence[Cell]]) -> list[list[Cell]]:
    """Each cell in every row that it spans, and empty ones in its further columns: values stay under their headers."""
    spread_rows: list[list[Cell]] = []
    held: dict[int, tuple[int, Cell]] = {}  # by column: for how many more rows, and what
    for row in rows:
        cells: list[Cell] = []
        for cell in row:
            cells += _held(held, len(cells))
            parts = [cell, *[Cell("", cell.is_name)] * (min(cell.columns, MOST_SPANNED) - 1)]
            below = cell.rows - 1 if cell.rows else MOST_SPANNED
            parts_below = parts if len(cell.text) <= LONGEST_LABEL else [Cell("")] * len(parts)
            held |= {len(cells) + place: (below, part) for place, part in enumerate(parts_below) if below}
            cells += parts
        cells += _held(held, len(cells))
        spread_rows.append(cells)
    return spread_rows


def _held(held: dict[int, tuple[int, Cell]], column: int) -> Iterator[Cell]:
    """The cells from above that stand here, before the next one of the row."""
    while column in held:
        left, cell = held.pop(column)
        yield cell
        if left > 1:
            held[column] = (left - 1, cell)
        column += 1


@dataclass
class _Table:
    """A table while its rows come. Without `names` it has no header."""

    number: int
    names: Row
    headers: Row
    is_told: bool = False  # a row below the header has come
    numeric: set[int] = field(default_factory=set)  # columns that held nothing but numbers so far
    named: set[int] = field(default_factory=set)

    def describe(self, row: Row) -> str:
        words, numbers = _places(row)
        self.is_told = True
        self.named |= words
        self.numeric = (self.numeric | numbers) - self.named
        return describe_row(row, self.headers)

    def is_header_of_next(self, row: Row) -> bool:
        """Whether names stand where this table had numbers."""
        return bool(self.names) and _can_be_header(row) and bool(self.numeric & _places(row)[0])

    def alone(self) -> Iterator[tuple[int, str]]:
        """The header, if there was nothing below it: then it is all that the table says."""
        if self.names and not self.is_told:
            yield self.number, describe_row(self.names, ())


def describe_rows(rows: Iterable[Row]) -> Iterator[tuple[int, str]]:
    """(number of the row from 1, its line) for every row with a value, except the header row above others.

    The first row with two or more cells is the header if its cells read like names, or like years after a name; a row
    of one cell above it is a caption. A row above the header that names groups of its columns is part of it ("Leave"
    above "Days" and "Carry over" makes "Leave Days" and "Leave Carry over"). After a blank row there may be another
    table with a header of its own: a row of names where the rows above had numbers. A table without such a row gives
    bare values.
    """
    table: _Table | None = None
    last = 0
    for number, row in _with_whole_header(_with_values(rows)):
        begins = _can_be_header(row) if table is None else number > last + 1 and table.is_header_of_next(row)
        last = number
        if begins:
            yield from table.alone() if table else ()
            table = _Table(number, row, _told_apart(row))
        elif table is None:
            table = _Table(number, (), ()) if _cells(row) > 1 else None
            yield number, describe_row(row, ())
        elif row != table.names:
            yield number, table.describe(row)
    if table is not None:
        yield from table.alone()


def describe_row(row: Row, headers: Row) -> str:
    names = [*headers, *[""] * max(0, len(row) - len(headers))]
    return "; ".join(f"{name}: {value}" if name else value for name, value in zip(names, row, strict=False) if value)


def _with_values(rows: Iterable[Row]) -> Iterator[tuple[int, Row]]:
    for number, row in enumerate(rows, start=1):
        cells = [one_line(cell) for cell in row]
        if any(cells):
            yield number, cells


def _with_whole_header(rows: Iterator[tuple[int, Row]]) -> Iterator[tuple[int, Row]]:
    """The rows, the first two that name columns as one if the upper names groups of them."""
    first: list[tuple[int, Row]] = []
    for numbered in rows:
        first.append(numbered)
        if _cells(numbered[1]) > 1:
            break  # below the captions
    head = [*first[-1:], *islice(rows, 2)]
    yield from first[:-1]
    if len(head) == 3 and _names_groups(*(row for _, row in head)):
        yield head[1][0], _grouped(head[0][1], head[1][1])
        head = head[2:]
    yield from head
    yield from rows


def _names_groups(upper: Row, lower: Row, below: Row) -> bool:
    """Whether the upper of two rows leaves columns without a name that the lower names, with numbers below it.

    Numbers tell the lower row from the first row of values under a header with a gap.
    """
    gaps = {place for place, cell in enumerate(lower) if cell and not (place < len(upper) and upper[place])}
    groups = [cell for cell in upper if cell]
    are_names = _can_be_header(upper) or (len(groups) > 1 and all(YEAR_OR_MONTH.fullmatch(cell) for cell in groups))
    return are_names and bool(gaps & _places(below)[1]) and _can_be_header(lower)


def _grouped(upper: Row, lower: Row) -> list[str]:
    """One header of two rows: each group before the names of its columns."""
    group, names = "", list[str]()
    for above, name in zip_longest(upper, lower, fillvalue=""):
        group = above or (group if name else "")
        names.append(" ".join(filter(None, dict.fromkeys([group, name]))))
    return names


def _cells(row: Row) -> int:
    return sum(1 for cell in row if cell)


def _places(row: Row) -> tuple[set[int], set[int]]:
    """Where words stand in a row, and where numbers."""
    words = {place for place, cell in enumerate(row) if cell and not NUMBER_OR_DATE.fullmatch(cell)}
    return words, {place for place, cell in enumerate(row) if cell} - words


def _can_be_header(row: Row) -> bool:
    cells = [cell for cell in row if cell]
    if len(set(cells)) < 2 or max(map(len, cells)) > LONGEST_HEADER:
        return False
    numbers = [cell for cell in cells if NUMBER_OR_DATE.fullmatch(cell)]
    # "Region, 2024, 2025": years that differ, which nobody counts or pays
    are_years = all(YEAR_OR_MONTH.fullmatch(cell) for cell in numbers) and len(set(numbers)) == len(numbers)
    return not numbers or (1 < len(numbers) < len(cells) and are_years)


def _told_apart(row: Row) -> list[str]:
    """Headers as they are named in a line: of two columns "Amount" the second is "Amount (2)"."""
    times: Counter[str] = Counter()
    told = []
    for name in row:
        times[name] += 1
        told.append(f"{name} ({times[name]})" if name and times[name] > 1 else name)
    return told
