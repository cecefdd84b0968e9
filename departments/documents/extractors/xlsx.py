"""Sheets and CSV: every row is a line with its headers, found again by sheet and row.

Values are read, formulas are not. Hidden sheets are left out, with a warning: what nobody sees should not answer.
"""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from departments.documents.extracted import Block, ExtractionFailed, Kind, Limits, Locator, Reason
from departments.documents.extractors.decode import decode
from departments.documents.extractors.draft import Draft, Options
from departments.documents.extractors.tables import describe_rows

DELIMITERS = (",", ";", "\t", "|")
SNIFFED_LINES = 20


def extract(file: BinaryIO, options: Options) -> Draft:
    return _read_csv(file, options.limits) if options.kind is Kind.CSV else _read_workbook(file)


def _read_csv(file: BinaryIO, limits: Limits) -> Draft:
    text = decode(file.read())
    csv.field_size_limit(limits.characters)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    return Draft(_blocks(rows, None))


def _delimiter(text: str) -> str:
    """The candidate that splits most of the first lines into the same number of cells, two or more."""
    lines = [line for line in text[:100_000].splitlines()[:SNIFFED_LINES] if line.strip()]
    return max(DELIMITERS, key=lambda delimiter: _evenness(lines, delimiter))


def _evenness(lines: list[str], delimiter: str) -> tuple[int, int]:
    counts = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
    widest = max(set(counts), key=counts.count, default=0)
    return (counts.count(widest), widest) if widest > 1 else (0, 0)


def _read_workbook(file: BinaryIO) -> Draft:
    import openpyxl  # half a second that a CSV need not pay

    book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
    hidden = [sheet.title for sheet in book.worksheets if sheet.sheet_state != "visible"]
    warnings = [f"Hidden sheets were left out: {', '.join(hidden)}."] if hidden else []
    visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    return Draft(_sheets(visible), warnings=warnings)


def _sheets(sheets: Iterable[Any]) -> Iterator[Block]:
    for sheet in sheets:
        sheet.reset_dimensions()  # a file may claim any size; only cells that exist are read
        yield from _blocks(map(_as_texts, sheet.iter_rows(values_only=True)), sheet.title)


def _as_texts(row: Sequence[object]) -> list[str]:
    return [_as_text(value) for value in row]


def _as_text(value: object) -> str:
    """As a person would write it: whole numbers without a fraction, dates in ISO order without an empty time."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "minutes") if value.time() != datetime.time() else value.date().isoformat()
    return str(value)


def _blocks(rows: Iterable[Sequence[str]], sheet: str | None) -> Iterator[Block]:
    path = (sheet,) if sheet else ()
    try:
        for number, line in describe_rows(rows):
            yield Block(line, Locator(sheet=sheet, row_from=number, row_to=number), path, "table")
    except csv.Error as error:
        raise ExtractionFailed(Reason.CORRUPT) from error
