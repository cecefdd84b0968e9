"""Pushes sealed events to a SIEM: at least once, in their order, and none is left out.

Rules:
- Events have numbers without gaps only once they are sealed; a target's cursor is the last number that was taken there.
  It moves after the other side has taken a batch, so a crash on either side means the batch again, never a loss. A
  receiver tells a repetition by the event's id.
- What is sent waits nowhere but in the record: a slow target is read for slowly, one that is away is tried again with
  growing pauses, and neither holds anybody up.
- A batch that is refused for what is in it is halved at once, any other one with the next attempt; each success doubles
  it again. So a target that takes little at a time gets on, and an event that is never taken is named by its number.
  Nothing is left out for it: what comes after waits until the target takes it, or until an operator lets the target go
  on without that one event, for a reason. That is an event itself, which the target gets like any other.
- One process at a time pushes to a target; a second one finds it taken and goes away.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from psycopg import Connection, sql

from audit.events import Event
from audit.models import AuditSeal, PushState
from audit.rows import JOINED, sealed_event
from audit.siem import Target, TargetDown
from audit.writer import Entry, record_with

BATCH = 500
SMALL = BATCH.bit_length()  # failures in a row after which a batch was one event
LONGEST_PROBLEM = 300
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
_PASSED = "UPDATE audit_push_state SET seq = %s WHERE target = %s"
_FAILED = """
    UPDATE audit_push_state SET failures = failures + 1, problem = %s,
        not_before = clock_timestamp() + make_interval(secs => %s)
    WHERE target = %s
"""
_SKIPPING = "SELECT pg_try_advisory_xact_lock(hashtext('chatgrid push ' || %s))"
_STATE = "SELECT coalesce(max(seq), 0), coalesce(max(failures), 0), coalesce(max(problem), '') FROM audit_push_state"
_SKIPPED = "UPDATE audit_push_state SET seq = %s, failures = 0, not_before = NULL, problem = '' WHERE target = %s"
_ALONE = ", for event number {} alone"
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
    sent, newest, size = 0, _one(connection, _NEWEST, []), max(1, BATCH >> failures)
    while cursor < newest:
        last = min(cursor + size, newest)
        events = list(sealed_event(connection, _between(target, cursor, last)))
        try:
            if events:
                target.send(events)
        except TargetDown as error:
            if error.is_refusal and last > cursor + 1:
                size = (last - cursor) // 2
                continue
            pause = max(error.pause, min(LONGEST_PAUSE, 2.0**failures))
            words = str(error)[:LONGEST_PROBLEM] + (_ALONE.format(last) if error.is_refusal else "")
            connection.execute(_FAILED, [words, pause, target.name])
            logger.error("SIEM %s is behind by %d events: %s", target.name, newest - cursor, words)
            return sent
        # numbers of others' events say nothing about the target
        connection.execute(_TAKEN if events else _PASSED, [last, target.name])
        if events:
            failures, size = 0, min(BATCH, 2 * size)
        cursor, sent = last, sent + len(events)
    return sent


class NotSkipped(Exception):
    """The event was not left out; the message says why and what to do."""


def skip(connection: Connection[Any], target: str, number: int, reason: str, by: str) -> None:
    """Let a target go on without the one event that it does not take. Raises NotSkipped; then nothing has changed."""
    with connection.transaction():
        if not _one(connection, _SKIPPING, [target]):
            raise NotSkipped(f"Somebody pushes to {target} right now. Try again in a minute.")
        cursor, failures, problem = _row(connection, f"{_STATE} WHERE target = %s", [target])
        if not failures:
            raise NotSkipped(f"{target} refuses nothing: it is up to date, or the next try is still to come.")
        if number != cursor + 1:
            raise NotSkipped(f"{target} waits at event number {cursor + 1}, not at {number}.")
        if failures < SMALL and not problem.endswith(_ALONE.format(number)):
            raise NotSkipped(f"{target} takes nothing at all, whatever the event: {problem}. Mend that first.")
        about = sql.SQL("SELECT e.id, e.event, e.organization_id, e.organization_name FROM {} WHERE l.seq = {}")
        event = _row(connection, about.format(JOINED, sql.Literal(number)), [])
        connection.execute(_SKIPPED, [number, target])
        record_with(connection, _skipped(target, number, event, by, reason=reason, problem=problem))


def _skipped(target: str, number: int, event: tuple[Any, ...], by: str, **why: str) -> Entry:
    """An event of the organization whose event was left out, so that its auditors find it."""
    event_id, kind, organization_id, organization_name = event
    return Entry(
        event=Event.PUSH_SKIPPED,
        organization_id=organization_id,
        organization_name=organization_name,
        actor_name=by,
        subject_kind="siem",
        subject_id=target,
        details={"number": number, "left_out": str(event_id), "event": kind, **why},
    )


@dataclass(frozen=True)
class Standing:
    """How far a configured target is, as a page shows it. `problem` is "" while all is well.

    `refused` is the number of an event that it does not take, None where it takes none or all of them.
    """

    name: str
    is_behind: bool
    at: datetime | None
    problem: str
    failures: int
    refused: int | None = None


def standings(organization: UUID | None = None) -> list[Standing]:
    """Of every target that gets this organization's events; of all without one.

    From the setting as it stands: a page may not have the certificates that the targets name.
    """
    newest = AuditSeal.objects.order_by("-n").values_list("last_seq", flat=True).first() or 0
    states = {state.target: state for state in PushState.objects.all()}
    names = [
        str(each["name"])
        for each in settings.AUDIT_SIEM
        if not organization or each.get("organization") in {None, "", str(organization)}
    ]
    return [_standing(states.get(name, PushState(target=name)), newest) for name in names]


def _standing(state: PushState, newest: int) -> Standing:
    number = state.seq + 1
    refused = number if state.problem.endswith(_ALONE.format(number)) else None
    return Standing(state.target, state.seq < newest, state.at, state.problem, state.failures, refused)


def _between(target: Target, after: int, last: int) -> sql.Composable:
    numbers = sql.SQL("l.seq > {} AND l.seq <= {}").format(sql.Literal(after), sql.Literal(last))
    if target.organization is None:
        return numbers
    return sql.SQL("{} AND e.organization_id = {}").format(numbers, sql.Literal(target.organization))


def _row(connection: Connection[Any], statement: str | sql.Composed, values: list[Any]) -> Any:
    row = connection.execute(statement, values).fetchone()
    assert row is not None  # noqa: S101 each of these statements gives one row
    return row


def _one(connection: Connection[Any], statement: str, values: list[Any]) -> Any:
    return _row(connection, statement, values)[0]
