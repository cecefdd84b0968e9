"""What proves one event, step by step, as a person can follow it: its hash, the way to the seal, the seal's signature,
the seal before it, and the places outside that were given the seal.

Everything is computed again from what the database holds now; nothing here is remembered as true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection, sql

from audit.leaves import columns, copy_rows, leaf_of_row
from audit.merkle import leads_to
from audit.seals import proof_of, seals_after
from audit.signing import NO_PREVIOUS, Seal

_EVENT = sql.SQL("SELECT {columns} FROM audit_event e WHERE e.id = {id}")


@dataclass(frozen=True)
class AnchorMark:
    """How far the sealer has carried the seals to one place, and whether this seal is among them."""

    name: str
    seal: int
    at: datetime
    problem: str
    has_it: bool


@dataclass(frozen=True)
class Proof:
    """One event under its seal. `index` is its place there, from 0; `steps` lead from its hash to the seal's root."""

    seal: Seal
    index: int
    stored: bytes
    computed: bytes
    steps: Sequence[bytes]
    follows: bool
    anchors: Sequence[AnchorMark]

    @property
    def is_unchanged(self) -> bool:
        """The event as it is now has the hash that was sealed."""
        return self.stored == self.computed

    @property
    def reaches_root(self) -> bool:
        return leads_to(self.seal.root, self.computed, self.index, self.seal.count, self.steps)

    @property
    def is_signed(self) -> bool:
        return self.seal.is_signed()

    @property
    def holds(self) -> bool:
        return self.is_unchanged and self.reaches_root and self.is_signed and self.follows


def prove(connection: Connection[Any], event_id: UUID) -> Proof | None:
    """The proof of an event, or None while it waits for its seal. LookupError for an event that is not there."""
    rows = list(copy_rows(connection, _EVENT.format(columns=columns("e"), id=sql.Literal(event_id))))
    if not rows:
        raise LookupError(f"there is no event {event_id}")
    found = proof_of(connection, event_id)
    if found is None:
        return None
    seal, index, steps = found
    row = connection.execute("SELECT hash FROM audit_leaf WHERE event_id = %s", [event_id]).fetchone()
    assert row is not None  # noqa: S101 proof_of has just found this leaf, and no leaf is ever deleted with its event there
    return Proof(
        seal=seal,
        index=index,
        stored=row[0],
        computed=leaf_of_row(rows[0]),
        steps=steps,
        follows=_follows(connection, seal),
        anchors=anchor_marks(connection, seal.n),
    )


def anchor_marks(connection: Connection[Any], n: int) -> list[AnchorMark]:
    """What the sealer noted about each place outside, seen from seal `n`."""
    rows = connection.execute("SELECT anchor, seal, at, problem FROM audit_anchor_state ORDER BY anchor")
    return [AnchorMark(name, seal, at, problem, seal >= n) for name, seal, at, problem in rows]


def _follows(connection: Connection[Any], seal: Seal) -> bool:
    if seal.n == 1:
        return seal.previous == NO_PREVIOUS
    before = seals_after(connection, seal.n - 2, 1)
    return bool(before) and before[0].n == seal.n - 1 and before[0].digest == seal.previous
