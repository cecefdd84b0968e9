"""Documents that wait for a person: what holds one, and what lies in the store meanwhile.

Rules:
- A department that wants it (`Department.document_review`) has a document held whose text carries a label of the
  scanner, or hides characters in a way that no language needs (`HIDING`). A label alone, without that wish, holds
  nothing.
- It is held before any of it is embedded: nothing of a held document reaches the provider, the search or an answer.
- The text is kept as the file has it, with what nobody can see, until it is decided upon (`held_block`).
- The event is written in the transaction that holds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from audit.events import Event
from audit.writer import arecord
from departments.documents.events import document_entry
from departments.documents.extracted import Extracted
from departments.documents.records import Claim, place_in_words
from departments.documents.store import ClaimLost, Store
from departments.models import Department, DocumentReview
from departments.prompts.marks import Segment, segments
from departments.prompts.scanner import scan

SCANNED = "scan: "  # how a label of the scanner begins among those of a version
HIDING = frozenset({"tags", "variation_selectors", "bidi", "mixed_script"})
LONGEST_BLOCK = 8_000  # characters of a stretch of text on the page; a longer one is shown in parts
WAITS = "Somebody who runs this department's documents reads it first: it looks as if it gave the assistant orders."

_HOLD = """
    UPDATE version SET
        state = 'held', kind = %(kind)s, title = %(title)s, pages = %(pages)s, labels = %(labels)s,
        sentence = %(sentence)s, claimed_by = NULL, lease_until = NULL, finished_at = clock_timestamp()
    WHERE id = %(id)s AND claimed_by = %(claim)s AND state = 'extracting'
"""
_ADD = """
    INSERT INTO review (version_id, reasons) VALUES (%s, %s)
    ON CONFLICT (version_id) DO UPDATE SET held_at = clock_timestamp(), reasons = excluded.reasons
"""
_FORGET = "DELETE FROM held_block WHERE version_id = %s"
_COPY = "COPY held_block (version_id, ordinal, locator, text, is_marked) FROM STDIN"
_IS_APPROVED = "SELECT 1 FROM review WHERE version_id = %s AND decision = 'approved'"
_LIST = """
    SELECT
        shown.id AS version_id, shown.document_id, shown.title, shown.filename, shown.uploader_id, shown.uploader_name,
        shown.number, shown.state, review.held_at, review.reasons, review.decision, review.decided_at,
        review.decided_by_name, review.reason
    FROM review JOIN shown_version AS shown ON shown.id = review.version_id
    WHERE (%(id)s::uuid IS NULL AND shown.state = 'held') OR shown.id = %(id)s
    ORDER BY review.held_at, shown.id OFFSET %(offset)s LIMIT %(limit)s
"""
_COUNT = "SELECT count(*) AS held FROM shown_version WHERE state = 'held'"
_BLOCKS = """
    SELECT ordinal, locator, text, is_marked FROM held_block
    WHERE version_id = %s AND (is_marked OR NOT %s) ORDER BY ordinal OFFSET %s LIMIT %s
"""
_COUNT_BLOCKS = """
    SELECT count(*) AS blocks, count(*) FILTER (WHERE is_marked) AS marked FROM held_block WHERE version_id = %s
"""


@dataclass(frozen=True)
class Held:
    """A version that waits, or that was decided upon: `decision` is "", "approved" or "rejected"."""

    version_id: UUID
    document_id: UUID
    title: str
    filename: str
    uploader_id: UUID
    uploader_name: str
    number: int
    state: str
    held_at: datetime
    reasons: list[str]
    decision: str
    decided_at: datetime | None
    decided_by_name: str
    reason: str


@dataclass(frozen=True)
class HeldBlock:
    """A stretch of the text as the file has it. `ordinal` counts from 0 through the whole file."""

    ordinal: int
    locator: Mapping[str, Any]
    text: str
    is_marked: bool

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return place_in_words(self.locator)

    @property
    def segments(self) -> list[Segment]:
        """The text in pieces, with what was met marked and what is hidden made visible."""
        return segments(self.text)


def reasons_to_hold(department: Department, labels: Sequence[str]) -> list[str]:
    """Why a version with these labels waits in this department; empty: it does not."""
    if department.document_review != DocumentReview.LABELLED:
        return []
    return [label for label in labels if label.startswith(SCANNED) or label in HIDING]


async def must_wait(store: Store, claim: Claim, labels: Sequence[str]) -> list[str]:
    """The reasons for which a version has to wait now: none once somebody has approved it."""
    reasons = reasons_to_hold(store.department, labels)
    return [] if not reasons or await _one(store, _IS_APPROVED, [claim.version.id]) else reasons


async def hold(
    store: Store, claim: Claim, extracted: Extracted, title: str, labels: list[str], reasons: list[str]
) -> None:
    """Puts a version aside with its text. Raises ClaimLost, StoreDown or DatabaseDown; then nothing was changed."""
    version = claim.version
    found = {"kind": extracted.kind, "title": title, "pages": extracted.pages, "labels": labels, "sentence": WAITS}
    async with store.connection() as held, held.transaction():
        cursor = await held.execute(_HOLD, {"id": version.id, "claim": claim.id, **found})
        if cursor.rowcount == 0:
            raise ClaimLost
        await held.execute(_ADD, [version.id, reasons])
        await held.execute(_FORGET, [version.id])
        async with held.cursor().copy(_COPY) as copy:
            for ordinal, (locator, text, is_marked) in enumerate(_parts(extracted)):
                await copy.write_row((version.id, ordinal, Jsonb(locator), text, is_marked))
        await arecord(document_entry(Event.DOCUMENT_HELD, store.department, version, details={"labels": reasons}))


async def list_held(store: Store, *, offset: int = 0, limit: int = 50) -> list[Held]:
    """What waits, the oldest first."""
    return [Held(**row) for row in await _all(store, _LIST, {"id": None, "offset": offset, "limit": limit})]


async def get_held(store: Store, version_id: UUID) -> Held | None:
    """What is known of a version's review; None if there is none or it is not this department's."""
    row = await _one(store, _LIST, {"id": version_id, "offset": 0, "limit": 1})
    return Held(**row) if row else None


async def count_held(store: Store) -> int:
    row = await _one(store, _COUNT)
    return int(row["held"]) if row else 0


async def list_blocks(
    store: Store, version_id: UUID, *, only_marked: bool, offset: int = 0, limit: int = 100
) -> list[HeldBlock]:
    """The kept text in reading order, or only what is marked in it."""
    return [HeldBlock(**row) for row in await _all(store, _BLOCKS, [version_id, only_marked, offset, limit])]


async def count_blocks(store: Store, version_id: UUID) -> tuple[int, int]:
    """How many stretches of text are kept, and how many of them are marked."""
    row = await _one(store, _COUNT_BLOCKS, [version_id])
    return (row["blocks"], row["marked"]) if row else (0, 0)


def _parts(extracted: Extracted) -> Iterator[tuple[dict[str, Any], str, bool]]:
    for block in extracted.blocks:
        text = block.unclean or block.text
        for at in range(0, len(text), LONGEST_BLOCK):
            part = _storable(text[at : at + LONGEST_BLOCK])
            yield block.locator.to_json(), part, bool(scan(block.text)) or any(each.hidden for each in segments(part))


def _storable(text: str) -> str:
    """PostgreSQL holds no NUL, UTF-8 no half of a character: both are shown as a replacement character."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


async def _one(store: Store, query: LiteralString, values: Any = ()) -> dict[str, Any] | None:
    async with store.connection() as held:
        return await (await held.execute(query, values)).fetchone()


async def _all(store: Store, query: LiteralString, values: Any = ()) -> list[dict[str, Any]]:
    async with store.connection() as held:
        return await (await held.execute(query, values)).fetchall()
