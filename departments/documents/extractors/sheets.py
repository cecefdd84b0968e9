"""What a workbook says beside its values: how they are shown, which cells span rows, which formulas have no result.

openpyxl reads large sheets row by row only without this, so it is taken from the sheet's XML in one pass of patterns,
piece by piece: nothing of it is parsed as a tree.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any
from zipfile import ZipFile

from departments.documents.extractors.draft import too_large
from departments.documents.extractors.tables import LONGEST_LABEL

PIECE = 1 << 20
OVERLAP = 4096  # of two pieces: no pattern is longer
MOST_SPANS = 10_000
LONGEST_SPAN = 10_000  # rows
SPAN = re.compile(rb'<(?:\w{1,20}:)?mergeCell\s[^>]{0,40}ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')
WITHOUT_RESULT = re.compile(rb"</(?:\w{1,20}:)?f>\s{0,20}(?:<v\s?/>|<v></v>)?\s{0,20}</(?:\w{1,20}:)?c>")
# a program that writes a formula without computing it saves 0 for its result, and asks for it to be computed on opening
TO_COMPUTE = re.compile(rb'<(?:\w{1,20}:)?calcPr\s[^>]{0,400}fullCalcOnLoad="(?:1|true)"')
NOT_COMPUTED = re.compile(
    rb'<(?:\w{1,20}:)?c\sr="([A-Z]{1,3})(\d{1,7})"[^>]{0,80}>\s{0,20}<(?:\w{1,20}:)?f(?:\s[^>]{0,200})?>[^<]{0,3000}'
    rb"</(?:\w{1,20}:)?f>\s{0,20}<(?:\w{1,20}:)?v>0</"
)
MOST_NOT_COMPUTED = 200_000
CODE = re.compile(r"(?=.{0,40}0.{0,40}0)[0\-/ ()]{2,40}")  # how a number is shown that is a code: 00000, 000-00-0000
CURRENCIES = re.compile(r"\[\$([^\]\-]{1,6})[^\]]{0,12}\]|([€$£¥])|\"\s{0,3}([A-Z]{3})\s{0,3}\"")


@dataclass(frozen=True)
class SheetFacts:
    """`spans` holds, by column from 0, the first and last row (from 1) of cells that span rows.

    `without_result` counts formulas, `not_computed` are those of them whose cells hold a 0 that nobody computed: their
    row (from 1) and column.
    """

    spans: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    without_result: int = 0
    not_computed: frozenset[tuple[int, int]] = frozenset()

    def filled(self, rows: Iterable[list[str]]) -> Iterator[list[str]]:
        """The same rows without what nobody computed, in which a cell that spans several stands in each of them."""
        if self.not_computed:
            rows = (
                ["" if (number, column) in self.not_computed else text for column, text in enumerate(row)]
                for number, row in enumerate(rows, start=1)
            )
        if not self.spans:
            yield from rows
            return
        last = {(column, begin): end for column, spans in self.spans.items() for begin, end in spans}
        held: dict[int, tuple[int, str]] = {}
        for number, row in enumerate(rows, start=1):
            row = row if any(row) else []  # a blank row stays one
            for column, (end, text) in held.items():
                if number <= end and column < len(row) and not row[column]:
                    row[column] = text
            for column, text in enumerate(row):
                if text and (column, number) in last and len(text) <= LONGEST_LABEL:
                    held[column] = (last[column, number], text)
            yield row


def facts_of(sheet: Any) -> SheetFacts:
    """Of a sheet of a workbook that openpyxl has opened for reading only."""
    spans: dict[int, list[tuple[int, int]]] = {}
    without_result, not_computed = 0, set[tuple[int, int]]()
    # the archive and the name in it are openpyxl's own; tests hold on to them
    archive = sheet.parent._archive
    patterns = (SPAN, WITHOUT_RESULT, NOT_COMPUTED) if _is_to_compute(archive) else (SPAN, WITHOUT_RESULT)
    with archive.open(sheet._worksheet_path) as xml:
        for match in _matches(xml, patterns):
            if match.re is SPAN:
                _add_span(spans, match)
            elif match.re is WITHOUT_RESULT:
                without_result += 1
            else:
                not_computed.add((int(match[2]), _column(match[1])))
            if len(not_computed) > MOST_NOT_COMPUTED:
                raise too_large("formulas without a saved result", MOST_NOT_COMPUTED)
    return SheetFacts(spans, without_result + len(not_computed), frozenset(not_computed))


def _is_to_compute(archive: ZipFile) -> bool:
    book = next((name for name in archive.namelist() if name.endswith("xl/workbook.xml")), None)
    return book is not None and TO_COMPUTE.search(archive.read(book)) is not None


def _matches(xml: IO[bytes], patterns: Iterable[re.Pattern[bytes]]) -> Iterator[re.Match[bytes]]:
    """Of all patterns, each once, also where two pieces meet."""
    before = b""
    while piece := xml.read(PIECE):
        text = before + piece
        for pattern in patterns:
            yield from (match for match in pattern.finditer(text) if match.end() > len(before))
        before = text[-OVERLAP:]


def _add_span(spans: dict[int, list[tuple[int, int]]], match: re.Match[bytes]) -> None:
    begin, end = int(match[2]), int(match[4])
    if begin < end <= begin + LONGEST_SPAN and sum(map(len, spans.values())) < MOST_SPANS:
        spans.setdefault(_column(match[1]), []).append((begin, end))


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def as_seen(cell: Any) -> str:
    """A cell as a person would write it: 19 %, 1234.50 EUR, whole numbers without a fraction, dates in ISO order."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value, cell.number_format or "")
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "minutes") if value.time() != datetime.time() else value.date().isoformat()
    if isinstance(value, datetime.time):
        return value.isoformat("minutes") if not value.second else value.isoformat("seconds")
    if isinstance(value, datetime.timedelta):
        return _hours(value)
    return str(value)


def _number(value: float, shown_as: str) -> str:
    if shown_as == "General":
        return _plain(value)
    if CODE.fullmatch(shown_as) and value >= 0 and value == int(value):
        return _code(int(value), shown_as)
    if "%" in shown_as:
        return f"{_plain(value * 100)} %"
    match = CURRENCIES.search(shown_as)
    if match is None:
        return _plain(value)
    return f"{_plain(value)} {next(name for name in match.groups() if name)}"


def _code(value: int, shown_as: str) -> str:
    """A postcode or a personnel number with the zeros before it that are part of it."""
    places = shown_as.count("0")
    digits = str(value).zfill(places)
    rest, last = digits[:-places], iter(digits[-places:])
    return rest + "".join(next(last) if each == "0" else each for each in shown_as)


def _plain(value: float) -> str:
    """Without the last digits of binary fractions: 0.30000000000000004 was never typed by anybody."""
    return str(int(value)) if isinstance(value, int) or value.is_integer() else f"{value:.15g}"


def _hours(value: datetime.timedelta) -> str:
    """37:30 for a day and thirteen and a half hours, as a sheet shows it."""
    minutes, seconds = divmod(round(abs(value.total_seconds())), 60)
    sign = "-" if value.total_seconds() < 0 else ""
    return f"{sign}{minutes // 60}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")
