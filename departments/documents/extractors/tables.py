"""Rows of a table as lines that can be read alone: "Header: value; Header: value".

A passage may hold any one row, so every row carries its headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from departments.documents.extractors.draft import one_line

LONGEST_HEADER = 80
NUMBER_OR_DATE = re.compile(r"[\d\s.,:/%+\-€$£()]+")

Row = Sequence[str]


def describe_rows(rows: Iterable[Row]) -> Iterator[tuple[int, str]]:
    """(number of the row from 1, its line) for every row with a value, except the header row above others.

    The first row with two or more cells is the header if its cells read like names; a row of one cell above it is a
    caption. A table without such a row gives bare values.
    """
    headers: Row | None = None
    waiting: tuple[int, Row] | None = None
    for number, row in _with_values(rows):
        if headers is None and _can_be_header(row):
            headers, waiting = row, (number, row)
        elif headers is None:
            headers = () if _cells(row) > 1 else None
            yield number, describe_row(row, ())
        elif row != headers:
            waiting = None
            yield number, describe_row(row, headers)
    if waiting is not None:  # a header with nothing below is all that the table says
        yield waiting[0], describe_row(waiting[1], ())


def describe_row(row: Row, headers: Row) -> str:
    names = [*headers, *[""] * max(0, len(row) - len(headers))]
    return "; ".join(f"{name}: {value}" if name else value for name, value in zip(names, row, strict=False) if value)


def _with_values(rows: Iterable[Row]) -> Iterator[tuple[int, Row]]:
    for number, row in enumerate(rows, start=1):
        cells = [one_line(cell) for cell in row]
        if any(cells):
            yield number, cells


def _cells(row: Row) -> int:
    return sum(1 for cell in row if cell)


def _can_be_header(row: Row) -> bool:
    named = [cell for cell in row if cell]
    are_names = all(len(cell) <= LONGEST_HEADER and not NUMBER_OR_DATE.fullmatch(cell) for cell in named)
    return len(named) > 1 and are_names and len(set(named)) == len(named)
