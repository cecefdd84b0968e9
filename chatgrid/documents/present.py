"""Turns documents and passages into what the templates show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from departments.documents.listing import Facets, Queue
from departments.documents.quotas import Usage
from departments.documents.records import Document, DocumentVersion, State, StoredPassage

NEARLY_FULL = 80  # percent of what a department may keep


@dataclass(frozen=True)
class ShownRows:
    """Rows of a sheet as a table: its headers, and for each row its number in the file (or none) and its values."""

    headers: list[str]
    rows: list[tuple[int | None, list[str]]]


@dataclass(frozen=True)
class ShownPassage:
    """A passage of a document's page. `heading` and `place` are empty where they repeat those of the one before."""

    ordinal: int
    heading: str
    place: str
    text: str
    page: int | None = None
    rows: ShownRows | None = None

    @property
    def number(self) -> int:
        """As people count, and as the outline on the page says."""
        return self.ordinal + 1


@dataclass(frozen=True)
class PassageGroup:
    """Passages that stand on one page, beside which its picture is shown; `page` is None for other kinds of file.

    `mark` is the ordinal of the one among them that a citation led to.
    """

    page: int | None
    passages: list[ShownPassage]
    mark: int | None = None


@dataclass(frozen=True)
class Pager:
    """Which part of a long list is shown: `first` to `last` of `total`, counted from 1."""

    offset: int
    limit: int
    total: int

    @property
    def first(self) -> int:
        return min(self.offset + 1, self.total)

    @property
    def last(self) -> int:
        return min(self.offset + self.limit, self.total)

    @property
    def previous(self) -> int | None:
        """Offset of the part before, or None."""
        return max(0, self.offset - self.limit) if self.offset else None

    @property
    def next(self) -> int | None:
        """Offset of the part after, or None."""
        return self.offset + self.limit if self.offset + self.limit < self.total else None


def shown_passages(passages: Iterable[StoredPassage]) -> list[ShownPassage]:
    """The passages of one version in order, headings and places said once."""
    shown: list[ShownPassage] = []
    heading = place = ""
    for passage in passages:
        new_heading, new_place = heading_of(passage.heading_path), passage.place
        shown.append(
            ShownPassage(
                ordinal=passage.ordinal,
                heading=new_heading if new_heading != heading else "",
                place=new_place if new_place != place else "",
                text=passage.text,
                page=passage.locator.get("page"),
                rows=rows_of(passage),
            )
        )
        heading, place = new_heading, new_place
    return shown


def rows_of(passage: StoredPassage) -> ShownRows | None:
    """The rows of a passage of a sheet; None where it has none, or where its lines do not tell for sure.

    A line is "Header: value; Header: value" (departments/documents/extractors/tables.py). A value may hold the same
    signs, so each header has to stand in most lines.
    """
    if "row_from" not in passage.locator:
        return None
    lines = [dict(part.partition(": ")[::2] for part in line.split("; ")) for line in passage.text.split("\n")]
    times = Counter(header for line in lines for header in line)
    if not all(": " in part for line in passage.text.split("\n") for part in line.split("; ")):
        return None
    if min(times.values()) * 2 < len(lines) or len(times) < 2:
        return None
    first, last = passage.locator["row_from"], passage.locator.get("row_to")
    is_whole = last is not None and last - first + 1 == len(lines)
    return ShownRows(
        list(times),
        [
            (first + place if is_whole else None, [line.get(header, "") for header in times])
            for place, line in enumerate(lines)
        ],
    )


def grouped(passages: Iterable[ShownPassage], *, with_pages: bool, mark: int | None = None) -> list[PassageGroup]:
    """Passages by the page they stand on, in order; all in one group where there are no pages to show."""
    if not with_pages:
        return [PassageGroup(None, list(passages))]
    pages = [(page, list(those)) for page, those in groupby(passages, key=lambda each: each.page)]
    return [
        PassageGroup(page, those, mark if any(each.ordinal == mark for each in those) else None)
        for page, those in pages
    ]


def heading_of(path: Sequence[str]) -> str:
    """["Travel", "Meals"] as "Travel › Meals"."""
    return " › ".join(path)


@dataclass(frozen=True)
class ShownDocument:
    """A row of the list. `percent` is None where nothing is measured; `left` and `cost` are words, or empty."""

    document: Document
    percent: int | None
    left: str
    cost: str

    @property
    def version(self) -> DocumentVersion:
        return self.document.latest


@dataclass(frozen=True)
class Summary:
    """The line above the list: how far everything is, and how full the department is."""

    ready: int
    working: int
    failed: int
    total: int
    left: str
    room: str
    percent_full: int

    @classmethod
    def of(cls, facets: Facets, queue: Queue, usage: Usage) -> Summary:
        """The summary of one look at a store."""
        return cls(
            ready=facets.of("ready"),
            working=facets.of("working"),
            failed=facets.of("failed"),
            total=facets.total,
            left=duration(queue.seconds_left),
            room=f"{filesizeformat(usage.bytes)} of {filesizeformat(usage.room.bytes)}, "
            f"{usage.files:,} of {usage.room.files:,} files",
            percent_full=usage.percent,
        )

    @property
    def is_nearly_full(self) -> bool:
        return self.percent_full >= NEARLY_FULL


def shown_document(document: Document, queue: Queue) -> ShownDocument:
    """A document as its row shows it."""
    version = document.latest
    return ShownDocument(document, _percent(version), _left(version, queue), dollars(version.cost))


def dollars(amount: Decimal) -> str:
    """US dollars in words: "$1.20", "$0.0042", "under $0.0001"; empty for nothing."""
    if not amount:
        return ""
    if amount < Decimal("0.0001"):
        return "under $0.0001"
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.4f}"


def duration(seconds: float | None) -> str:
    """About how long, in words; empty where nobody can tell."""
    if seconds is None:
        return ""
    for size, word in ((3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = round(seconds / size)
            return f"about {number} {word}{'' if number == 1 else 's'}"
    return "less than a minute"


def _percent(version: DocumentVersion) -> int | None:
    if version.state is not State.EMBEDDING or not version.foreseen:
        return None
    return int(100 * version.embedded / version.foreseen)


def _left(version: DocumentVersion, queue: Queue) -> str:
    """How long until it is ready: from its own speed while it is indexed, from the queue's while it waits."""
    if version.state is State.RECEIVED and not version.retry_at:
        return duration(queue.seconds_until(version.id))
    if version.state is not State.EMBEDDING or not version.embedded or version.started_at is None:
        return ""
    spent = (timezone.now() - version.started_at).total_seconds()
    return duration(spent * (version.foreseen - version.embedded) / version.embedded)
