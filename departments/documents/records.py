"""What a store gives: frozen values without a way back into the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID


class State(StrEnum):
    """Where a version stands. Without a person nothing leads out of any state but the three of WORKING."""

    RECEIVED = "received"
    EXTRACTING = "extracting"
    EMBEDDING = "embedding"
    LIVE = "live"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"
    HELD = "held"  # until a person has read its text (departments/documents/held.py)
    REJECTED = "rejected"

    @property
    def label(self) -> str:
        """The word a person sees."""
        return LABELS[self]

    @property
    def is_working(self) -> bool:
        """Whether something still happens by itself."""
        return self in WORKING


WORKING = (State.RECEIVED, State.EXTRACTING, State.EMBEDDING)
LABELS = {
    State.RECEIVED: "Waiting",
    State.EXTRACTING: "Reading",
    State.EMBEDDING: "Indexing",
    State.LIVE: "Ready",
    State.FAILED: "Failed",
    State.CANCELLED: "Cancelled",
    State.DELETED: "Deleted",
    State.HELD: "In review",
    State.REJECTED: "Rejected",
}


@dataclass(frozen=True)
class DocumentVersion:
    """One uploaded file. `sentence` says why it waits or failed and what to do; `is_current`: it is searched now.

    `embedded` of `foreseen` passages have a vector; `cost` is what they cost, in US dollars; `folder` is where it stood
    in the folder that was dropped or is synchronised, for people to tell files of one name apart.
    """

    id: UUID
    document_id: UUID
    number: int
    title: str
    filename: str
    original_key: str
    sha256: str
    bytes: int
    kind: str
    uploader_id: UUID
    uploader_name: str
    uploaded_at: datetime
    state: State
    sentence: str
    retry_at: datetime | None
    pages: int | None
    passages: int
    attempts: int
    postponed: int
    finished_at: datetime | None
    labels: list[str]
    is_current: bool
    folder: str = ""
    foreseen: int = 0
    embedded: int = 0
    cost: Decimal = Decimal(0)
    started_at: datetime | None = None
    changed_at: datetime | None = None


@dataclass(frozen=True)
class Document:
    """A document with its newest version; `live` if any of its versions can be asked about.

    `review_on` is the day on which somebody wanted to look at it again.
    """

    id: UUID
    title: str
    filename: str
    created_at: datetime
    live: bool
    latest: DocumentVersion
    review_on: date | None = None


@dataclass(frozen=True)
class DocumentPage:
    """One page of a list; `total` counts all that match."""

    documents: list[Document]
    total: int
    offset: int
    limit: int


@dataclass(frozen=True)
class DocumentDetail:
    """A document and all its versions, newest first."""

    document: Document
    versions: list[DocumentVersion]


@dataclass(frozen=True)
class NewVersion:
    """A file that has been stored and now gets its row. `document_id` is None for a new document."""

    version_id: UUID
    document_id: UUID | None
    title: str
    filename: str
    original_key: str
    sha256: str
    bytes: int
    uploader_id: UUID
    uploader_name: str
    folder: str = ""


@dataclass(frozen=True)
class Room:
    """How many files, all versions counted, and how many bytes of them a department may keep."""

    files: int
    bytes: int


@dataclass(frozen=True)
class Claim:
    """A version that this worker, and no other, may work on while its lease lasts."""

    id: UUID
    version: DocumentVersion


@dataclass(frozen=True)
class Draft:
    """A passage with its vector, before it is published. `digest` tells whether a kept draft is still the same."""

    ordinal: int
    digest: str
    context: str
    text: str
    heading_path: list[str]
    locator: Mapping[str, Any]
    tokens: int
    embedding: list[float]


@dataclass(frozen=True)
class StoredPassage:
    """A passage as it is shown. `ordinal` counts from 0; `locator` may name page, slide, sheet, rows and section.

    `generation` says which cutting of the documents it belongs to (departments/documents/generations.py).
    """

    version_id: UUID
    generation: int
    ordinal: int
    text: str
    heading_path: list[str]
    locator: Mapping[str, Any]
    tokens: int

    @property
    def place(self) -> str:
        """Where it stands, in words; empty if the kind of file has no places."""
        return place_in_words(self.locator)


@dataclass(frozen=True)
class CitedPassage(StoredPassage):
    """A passage with what a citation says of its document. `is_current` is False if a newer version took its place."""

    document_id: UUID
    title: str
    filename: str
    version_number: int
    is_current: bool
    uploader_name: str
    uploaded_at: datetime


@dataclass(frozen=True)
class Recipe:
    """How the passages of a generation were made; `passages` is how many of them are searched."""

    generation: int
    model: str
    dimensions: int
    passage_tokens: int
    passages: int = 0


@dataclass(frozen=True)
class Counts:
    """How much a store holds. Passages are the searched ones; versions and bytes are those of all originals."""

    documents: int = 0
    live: int = 0
    working: int = 0
    failed: int = 0
    passages: int = 0
    bytes: int = 0
    versions: int = 0


@dataclass(frozen=True)
class Deletion:
    """A document that has been taken out of everything and whose originals remain to be removed."""

    document_id: UUID
    title: str
    passages: int
    person_id: UUID
    person_name: str
    deleted_at: datetime
    original_keys: list[str] = field(default_factory=list)


def place_in_words(locator: Mapping[str, Any]) -> str:
    """A locator for a person: "page 4", "sheet Budget, rows 3-9", "slide 2, Notes"."""
    parts = [f"{name} {locator[name]}" for name in ("page", "slide", "sheet") if name in locator]
    if "row_from" in locator:
        first, last = locator["row_from"], locator.get("row_to", locator["row_from"])
        parts.append(f"row {first}" if first == last else f"rows {first}\u2013{last}")
    if "section" in locator:
        parts.append(str(locator["section"]))
    return ", ".join(parts)
