"""What the documents pages ask of a store: lists with filters, how the queue moves, what has changed.

Rules:
- A list is bounded by its filter's page; nothing here reads a whole store into memory.
- How long something will take is told from what the last files took, and not told where too few have ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from departments.documents import statements
from departments.documents.records import WORKING, Document, DocumentPage, State
from departments.documents.rows import with_latest
from departments.documents.store import Store

LONGEST_MATCHING = 200
ENOUGH_TO_TELL = 2  # files that ended lately, each after another one
STALE_AFTER = timedelta(days=365)
# what a person chooses, and the states that it means
GROUPS: Mapping[str, tuple[State, ...]] = {
    "ready": (State.LIVE,),
    "working": WORKING,
    "failed": (State.FAILED,),
    "cancelled": (State.CANCELLED,),
    "held": (State.HELD, State.REJECTED),
}
ORDERS = ("newest", "oldest", "name", "largest", "costly")


@dataclass(frozen=True)
class Filter:
    """Which documents of a list are wanted. `group` is a key of GROUPS or empty, `order` one of ORDERS."""

    matching: str = ""
    group: str = ""
    kind: str = ""
    uploader: UUID | None = None
    due: bool = False
    order: str = "newest"

    def values(self) -> dict[str, Any]:
        """As parameters of the statements."""
        states = GROUPS.get(self.group)
        return {
            "matching": self.matching.replace("\x00", "")[:LONGEST_MATCHING],
            "states": [state.value for state in states] if states else None,
            "kind": self.kind.replace("\x00", ""),
            "uploader": self.uploader,
            "due": self.due,
            "order": self.order if self.order in ORDERS else "newest",
            **_days(),
        }


@dataclass(frozen=True)
class Facets:
    """What there is to choose from: documents by state, by kind, and by uploader (id, name, documents)."""

    states: Mapping[State, int]
    kinds: Mapping[str, int]
    uploaders: Sequence[tuple[UUID, str, int]]

    @property
    def total(self) -> int:
        return sum(self.states.values())

    def of(self, group: str) -> int:
        """Documents of a group."""
        return sum(self.states.get(state, 0) for state in GROUPS[group])


@dataclass(frozen=True)
class Queue:
    """How the reading of files moves. `pace` is seconds from one end to the next, None where nobody can tell."""

    working: int = 0
    postponed: int = 0
    pace: float | None = None
    before: Mapping[UUID, int] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float | None:
        """Until everything that can be read now has been read."""
        moving = self.working - self.postponed
        return moving * self.pace if self.pace is not None and moving else None

    def seconds_until(self, version_id: UUID) -> float | None:
        """Until a waiting version has been read."""
        before = self.before.get(version_id)
        return (before + 1) * self.pace if before is not None and self.pace is not None else None


async def list_fitting(store: Store, wanted: Filter, *, offset: int = 0, limit: int = 100) -> DocumentPage:
    """One page of the documents that fit."""
    asked = wanted.values() | {"offset": offset, "limit": limit}
    async with store.connection() as held:
        total = await (await held.execute(statements.COUNT_FITTING, asked)).fetchone()
        rows = await (await held.execute(statements.LIST_FITTING, asked)).fetchall()
        return DocumentPage(await with_latest(held, rows), total["total"] if total else 0, offset, limit)


async def list_changed(
    store: Store, since: datetime | None, ids: Sequence[UUID], *, limit: int
) -> tuple[list[Document], datetime]:
    """Documents that changed since that moment or are named, newest change first; and the moment to ask from next.

    The moment is the store's own clock: a page gives it back as it got it.
    """
    async with store.connection() as held:
        now = await (await held.execute(statements.NOW)).fetchone()
        assert now is not None  # noqa: S101 - a row without a table
        asked = {"since": since or now["now"], "ids": list(ids), "limit": limit}
        rows = await (await held.execute(statements.CHANGED, asked)).fetchall()
        return await with_latest(held, rows), now["now"]


async def count_facets(store: Store) -> Facets:
    """What the list could be narrowed to."""
    states: Counter[State] = Counter()
    kinds: Counter[str] = Counter()
    people: dict[UUID, tuple[UUID, str, int]] = {}
    async with store.connection() as held:
        for row in await (await held.execute(statements.FACETS)).fetchall():
            states[State(row["state"])] += row["documents"]
            kinds[row["kind"]] += row["documents"]
            _, name, before = people.get(row["uploader_id"], (None, row["uploader_name"], 0))
            people[row["uploader_id"]] = (row["uploader_id"], name, before + row["documents"])
    return Facets(states, kinds, sorted(people.values(), key=lambda person: person[1].lower()))


async def look_at_queue(store: Store, version_ids: Sequence[UUID]) -> Queue:
    """How the queue moves, and how many files wait before each of these versions."""
    async with store.connection() as held:
        row = await (await held.execute(statements.QUEUE)).fetchone() or {}
        before = await (await held.execute(statements.BEFORE, [list(version_ids)])).fetchall() if version_ids else []
    finished, seconds = row.get("finished", 0), row.get("seconds")
    pace = seconds / finished if finished >= ENOUGH_TO_TELL and seconds else None
    return Queue(row["working"], row["postponed"], pace, {each["id"]: each["before"] for each in before})


async def count_due(store: Store) -> tuple[int, int]:
    """Documents whose review is due, and documents without a review date that nobody renewed for long."""
    async with store.connection() as held:
        row = await (await held.execute(statements.DUE, _days())).fetchone()
    return (row["review"], row["stale"]) if row else (0, 0)


async def set_review(store: Store, document_id: UUID, review_on: date | None) -> bool:
    """Notes when somebody wants to look at a document again; False if there is no such document."""
    async with store.connection() as held:
        changed = await held.execute(statements.SET_REVIEW, {"id": document_id, "review_on": review_on})
        return changed.rowcount > 0


def _days() -> dict[str, Any]:
    return {"today": _today(), "stale_before": timezone.now() - STALE_AFTER}


def _today() -> date:
    return timezone.localdate()
