"""Seals events: every 60 seconds, and at once after a critical one.

Rules:
- A pass takes every event that has no leaf yet, whenever it was committed, so a late commit is sealed late, never lost.
  An event older than `LATE` at that time is counted as late on its seal.
- One seal covers at most `BATCH` events, all of one month, so that a month can be dropped with whole seals. A pass
  makes as many seals as it takes.
- A pass that finds nothing writes an empty seal: silence is visible.
- Each seal names the digest of the one before it and is signed. Leaves and seal are one transaction.
- One sealer at a time: a second one waits for the lock and then sees what the first has written.
- A key that was rolled meanwhile makes no seal: the verifier would take it for a forgery.
- What a seal holds never changes; a crash leaves either a whole seal or none, and its events for the next pass.
"""

from __future__ import annotations

import calendar
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection, sql

from audit.events import Event
from audit.leaves import (
    AT,
    COPY_HEADER,
    COPY_TRAILER,
    EPOCH,
    ID,
    columns,
    copy_rows,
    leaf_of_row,
    microseconds,
    time_of,
)
from audit.merkle import levels, path, root
from audit.signing import NO_PREVIOUS, Announcement, Seal, Signer, key_id
from audit.writer import Entry, record_with

BATCH = 20_000
LATE = timedelta(minutes=15)
# how far before the last seal a pass looks for late commits, unless it looks at everything
LOOK_BACK = timedelta(hours=1)
EVERYTHING = datetime(2000, 1, 1, tzinfo=EPOCH.tzinfo)

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('chatgrid sealer'))"
_LAST = """
    SELECT n, at, first_seq, last_seq, root, previous, public_key, signature FROM audit_seal ORDER BY n DESC LIMIT 1
"""
_UNSEALED = sql.SQL("""
    SELECT {columns} FROM audit_event e
    WHERE e.at >= {since} AND NOT EXISTS (SELECT FROM audit_leaf l WHERE l.event_id = e.id AND l.at = e.at)
    ORDER BY e.at, e.id LIMIT {batch}
""")
_INSERT = """
    INSERT INTO audit_seal (n, at, first_seq, last_seq, late, root, previous, public_key, signature)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

Leaf = tuple[bytes, bytes, bytes]
"""An event's id, its time and its leaf hash, the first two as the database's bytes."""


class KeyRolled(Exception):
    """The newest seal has another key, and that one did not announce this one: somebody has rolled it."""


def seal_once(connection: Connection[Any], signer: Signer, *, sweep: bool = True, any_key: bool = True) -> list[Seal]:
    """Seal all that waits; the seals made, at least one. `sweep` looks for late commits of any age.

    `connection` is the sealer's role, in autocommit mode and not in a transaction. Without `any_key` a signer whose key
    may not follow the newest seal's raises KeyRolled.
    """
    made: list[Seal] = []
    more = True
    while more:
        seal, more = _seal_batch(connection, signer, sweep=sweep, any_key=any_key, may_be_empty=not made)
        made += [seal] if seal else []
    return made


def roll_key(connection: Connection[Any], old: Signer, new: bytes) -> list[Seal]:
    """Let the old key announce the new one (a public key), and seal that; from then on the new one may sign."""
    word = Announcement.by(old, new)
    with connection.transaction():
        connection.execute(
            "INSERT INTO audit_seal_key (old, new, signature) VALUES (%s, %s, %s)", [word.old, word.new, word.signature]
        )
        record_with(
            connection,
            Entry(
                event=Event.SEAL_KEY_CHANGED,
                subject_kind="seal_key",
                subject_id=key_id(new),
                details={"old": old.public_key.hex(), "new": new.hex(), "signature": word.signature.hex()},
            ),
        )
    return seal_once(connection, old)


def last_seal(connection: Connection[Any]) -> Seal | None:
    """The newest seal."""
    row = connection.execute(_LAST).fetchone()
    return None if row is None else Seal(*row)


def seals_after(connection: Connection[Any], n: int, limit: int) -> list[Seal]:
    """Up to `limit` seals with numbers above `n`, in their order."""
    rows = connection.execute(
        "SELECT n, at, first_seq, last_seq, root, previous, public_key, signature FROM audit_seal"
        " WHERE n > %s ORDER BY n LIMIT %s",
        [n, limit],
    )
    return [Seal(*row) for row in rows]


def _seal_batch(
    connection: Connection[Any], signer: Signer, *, sweep: bool, any_key: bool, may_be_empty: bool
) -> tuple[Seal | None, bool]:
    """One seal, and whether more waited already. What comes meanwhile is for the next pass, or none would end."""
    with connection.transaction():
        connection.execute(_LOCK)
        previous = last_seal(connection)
        if previous and not any_key and not _may_follow(connection, previous, signer):
            raise KeyRolled
        since = EVERYTHING if sweep or previous is None else previous.at - LOOK_BACK
        waiting = _unsealed(connection, since)
        batch = list(_one_month(waiting))
        if not batch and not may_be_empty:
            return None, False
        more = len(waiting) == BATCH or len(batch) < len(waiting)
        return _write(connection, signer, previous, batch), more


def _may_follow(connection: Connection[Any], previous: Seal, signer: Signer) -> bool:
    if previous.public_key == signer.public_key:
        return True
    announced = "SELECT FROM audit_seal_key WHERE old = %s AND new = %s"
    return connection.execute(announced, [previous.public_key, signer.public_key]).fetchone() is not None


def _unsealed(connection: Connection[Any], since: datetime) -> list[Leaf]:
    # the two tables have partitions of the same months: joined month by month, only what is looked at is read
    connection.execute("SET LOCAL enable_partitionwise_join = on")
    query = _UNSEALED.format(columns=columns("e"), since=sql.Literal(since), batch=sql.Literal(BATCH))
    return [(row[ID], row[AT], leaf_of_row(row)) for row in copy_rows(connection, query)]


def _one_month(leaves: list[Leaf]) -> Iterator[Leaf]:
    """The leaves up to the end of the first one's month."""
    end = _end_of_month(leaves[0][1]) if leaves else 0
    for leaf in leaves:
        if time_of(leaf[1]) >= end:
            return
        yield leaf


def _end_of_month(at: bytes) -> int:
    first = (EPOCH + timedelta(microseconds=time_of(at))).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return microseconds(first + timedelta(days=calendar.monthrange(first.year, first.month)[1]))


def _write(connection: Connection[Any], signer: Signer, previous: Seal | None, batch: list[Leaf]) -> Seal:
    row = connection.execute("SELECT audit_now()").fetchone()
    assert row is not None  # noqa: S101 a SELECT of one value has one row
    first = previous.last + 1 if previous else 1
    unsigned = Seal(
        n=previous.n + 1 if previous else 1,
        at=row[0],
        first=first,
        last=first + len(batch) - 1,
        root=root([leaf for _, _, leaf in batch]),
        previous=previous.digest if previous else NO_PREVIOUS,
        public_key=signer.public_key,
    )
    seal = replace(unsigned, signature=signer.sign(unsigned.statement))
    _copy_leaves(connection, seal, batch)
    latest = microseconds(seal.at - LATE)
    late = sum(1 for _, at, _ in batch if time_of(at) < latest)
    connection.execute(
        _INSERT,
        [seal.n, seal.at, seal.first, seal.last, late, seal.root, seal.previous, seal.public_key, seal.signature],
    )
    return seal


def _copy_leaves(connection: Connection[Any], seal: Seal, batch: Iterable[Leaf]) -> None:
    statement = "COPY audit_leaf (seq, seal, event_id, at, hash) FROM STDIN (FORMAT binary)"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(COPY_HEADER)
        rows = [
            struct.pack(">hiqiqi16si8si32s", 5, 8, seq, 8, seal.n, 16, event_id, 8, at, 32, leaf)
            for seq, (event_id, at, leaf) in enumerate(batch, seal.first)
        ]
        copy.write(b"".join(rows))
        copy.write(COPY_TRAILER)


def proof_of(connection: Connection[Any], event_id: UUID) -> tuple[Seal, int, list[bytes]] | None:
    """What proves one event: its seal, its place in it (from 0) and the path to the root. None while it is unsealed."""
    row = connection.execute("SELECT seal, seq FROM audit_leaf WHERE event_id = %s", [event_id]).fetchone()
    if row is None:
        return None
    seal = seals_after(connection, row[0] - 1, 1)[0]
    hashes = connection.execute(
        "SELECT hash FROM audit_leaf WHERE seq BETWEEN %s AND %s ORDER BY seq", [seal.first, seal.last]
    )
    index = row[1] - seal.first
    return seal, index, path(levels([each for (each,) in hashes]), index)
