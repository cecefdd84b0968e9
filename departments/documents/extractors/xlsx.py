"""Sheets and CSV: every row is a line with its headers, found again by sheet and row.

Rules
- Values are read as a person sees them: a share as a percentage, an amount with its currency. Formulas are not read;
  where a program has saved none of their results, a warning says how many cells are missing.
- A cell that spans several rows stands in each of them.
- Hidden sheets are left out, with a warning: what nobody sees should not answer.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from departments.documents.extracted import Block, ExtractionFailed, Kind, Limits, Locator, Reason
from departments.documents.extractors.decode import decode
from departments.documents.extractors.draft import Draft, Options
from departments.documents.extractors.sheets import SheetFacts, as_seen, facts_of
from departments.documents.extractors.tables import describe_rows

DELIMITERS = (",", ";", "\t", "|")
SNIFFED_LINES = 20
SEPARATOR_LINE = "sep="
LAST_ROW = "end"  # a row that a file is given, to see whether it ends within quotation marks
NO_RESULTS = (
    "{count} formulas in sheet {sheet} have no saved result and were left out. "
    "Open the file in a spreadsheet program, save it and upload it again."
)


def extract(file: BinaryIO, options: Options) -> Draft:
    return _read_csv(file, options.limits) if options.kind is Kind.CSV else _read_workbook(file)


def _read_csv(file: BinaryIO, limits: Limits) -> Draft:
    text = decode(file.read())
    csv.field_size_limit(limits.characters)
    delimiter = _delimiter(text)
    if text[: len(SEPARATOR_LINE)].lower() == SEPARATOR_LINE:  # a line for spreadsheet programs, and no row
        first, _, rest = text.partition("\n")
        delimiter = first[len(SEPARATOR_LINE) :].strip("\r") or delimiter
        text = "\n" + rest  # rows keep the numbers that people see
    return Draft(_blocks(_rows(text, delimiter[0]), None))


def _rows(text: str, delimiter: str) -> Iterator[Sequence[str]]:
    """The rows; a quotation mark that nothing closes is a sign like others, and does not hold all that follows."""
    lines = list(io.StringIO(text, newline=""))
    opened = _line_of_open_quote(lines, delimiter)
    # a space after a separator is no part of the value: it would hide a quotation mark
    yield from csv.reader(lines[:opened], delimiter=delimiter, skipinitialspace=True)
    yield from csv.reader(lines[opened:], delimiter=delimiter, skipinitialspace=True, quoting=csv.QUOTE_NONE)


def _line_of_open_quote(lines: list[str], delimiter: str) -> int:
    """How many lines stand before the row in which the file ends within quotation marks; all where it does not."""
    reader = csv.reader([*lines, "\n", LAST_ROW], delimiter=delimiter, skipinitialspace=True)
    begin, end, last = 0, 0, [LAST_ROW]
    for last in reader:  # noqa: B007 - the last one is looked at
        begin, end = end, reader.line_num
    return len(lines) if last == [LAST_ROW] else begin


def _delimiter(text: str) -> str:
    """The candidate that splits most of the first lines into the same number of cells, two or more."""
    lines = [line for line in text[:100_000].splitlines()[:SNIFFED_LINES] if line.strip()]
    return max(DELIMITERS, key=lambda delimiter: _evenness(lines, delimiter))


def _evenness(lines: list[str], delimiter: str) -> tuple[int, int]:
    counts = [len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
    widest = max(set(counts), key=counts.count, default=0)
    return (counts.count(widest), widest) if widest > 1 else (0, 0)


def _read_workbook(file: BinaryIO) -> Draft:
    import openpyxl  # half a second that a CSV need not pay

    book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
    hidden = [sheet.title for sheet in book.worksheets if sheet.sheet_state != "visible"]
    warnings = [f"Hidden sheets were left out: {', '.join(hidden)}."] if hidden else []
    visible = [(sheet, facts_of(sheet)) for sheet in book.worksheets if sheet.sheet_state == "visible"]
    warnings += [
        NO_RESULTS.format(count=facts.without_result, sheet=sheet.title)
        for sheet, facts in visible
        if facts.without_result
    ]
    return Draft(_sheets(visible), warnings=warnings)


def _sheets(sheets: Iterable[tuple[Any, SheetFacts]]) -> Iterator[Block]:
    for sheet, facts in sheets:
        sheet.reset_dimensions()  # a file may claim any size; only cells that exist are read
        yield from _blocks(facts.filled(map(_as_texts, sheet.iter_rows())), sheet.title)


def _as_texts(row: Sequence[Any]) -> list[str]:
    return [as_seen(cell) for cell in row]


def _blocks(rows: Iterable[Sequence[str]], sheet: str | None) -> Iterator[Block]:
    path = (sheet,) if sheet else ()
    try:
        for number, line in describe_rows(rows):
            yield Block(line, Locator(sheet=sheet, row_from=number, row_to=number), path, "table")
    except csv.Error as error:
        raise ExtractionFailed(Reason.CORRUPT) from error
