"""Pushes sealed events to a SIEM: at least once, in their order, and none is left out.

Rules:
- Events have numbers without gaps only once they are sealed; a target's cursor is the last number that was taken there.
  It moves after the other side has taken a batch, so a crash on either side means the batch again, never a loss. A
  receiver tells a repetition by the event's id.
- What is sent waits nowhere but in the record: a slow target is read for slowly, one that is away is tried again with
  growing pauses, and neither holds anybody up.
- One process at a time pushes to a target; a second one finds it taken and goes away.
"""

from __future__ import annotations

import logging
from typing import Any

from psycopg import Connection, sql

from audit.rows import sealed_event
from audit.siem import Target, TargetDown

BATCH = 500
LONGEST_PAUSE = 300.0  # seconds between two tries at a target that is away

_TAKE = "SELECT pg_try_advisory_lock(hashtext('chatgrid push ' || %s))"
_LEAVE = "SELECT pg_advisory_unlock(hashtext('chatgrid push ' || %s))"
_CURSOR = """
    INSERT INTO audit_push_state (target, seq, failures, problem) VALUES (%s, 0, 0, '')
    ON CONFLICT (target) DO UPDATE SET target = EXCLUDED.target
    RETURNING seq, failures, coalesce(not_before > clock_timestamp(), false)
"""
_TAKEN = """
    UPDATE audit_push_state SET seq = %s, at = clock_timestamp(), failures = 0, not_before = NULL, problem = ''
    WHERE target = %s
"""
_FAILED = """
    UPDATE audit_push_state SET failures = failures + 1, problem = %s,
        not_before = clock_timestamp() + make_interval(secs => %s)
    WHERE target = %s
"""
_NEWEST = "SELECT coalesce(max(last_seq), 0) FROM audit_seal"

logger = logging.getLogger(__name__)


def push(connection: Connection[Any], target: Target, *, patient: bool = True) -> int:
    """Send what the target has not got; the number of events taken. Does not raise for a target that is away.

    `connection` is the application's role, in autocommit mode. With `patient`, a target that asked for a pause, or that
    failed a moment ago, is left alone.
    """
    if not _one(connection, _TAKE, [target.name]):
        return 0
    try:
        cursor, failures, is_resting = _row(connection, _CURSOR, [target.name])
        if is_resting and patient:
            return 0
        return _push_from(connection, target, cursor, failures)
    finally:
        connection.execute(_LEAVE, [target.name])


def _push_from(connection: Connection[Any], target: Target, cursor: int, failures: int) -> int:
    sent, newest = 0, _one(connection, _NEWEST, [])
    while cursor < newest:
        last = min(cursor + BATCH, newest)
        events = list(sealed_event(connection, _between(target, cursor, last)))
        try:
            if events:
                target.send(events)
        except TargetDown as error:
            pause = max(error.pause, min(LONGEST_PAUSE, 2.0**failures))
            connection.execute(_FAILED, [str(error)[:400], pause, target.name])
            logger.error("SIEM %s is behind by %d events: %s", target.name, newest - cursor, error)
            return sent
        connection.execute(_TAKEN, [last, target.name])
        cursor, failures, sent = last, 0, sent + len(events)
    return sent


def _between(target: Target, after: int, last: int) -> sql.Composable:
    numbers = sql.SQL("l.seq > {} AND l.seq <= {}").format(sql.Literal(after), sql.Literal(last))
    if target.organization is None:
        return numbers
    return sql.SQL("{} AND e.organization_id = {}").format(numbers, sql.Literal(target.organization))


def _row(connection: Connection[Any], statement: str, values: list[Any]) -> Any:
    row = connection.execute(statement, values).fetchone()
    assert row is not None  # noqa: S101 each of these statements gives one row
    return row


def _one(connection: Connection[Any], statement: str, values: list[Any]) -> Any:
    return _row(connection, statement, values)[0]
