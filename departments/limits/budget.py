"""Budgets and rates, exact under any concurrency: reserve before the call, keep the lease alive, settle after it.

Rules:
- `reserve` checks the organization, the department and the person in one atomic step (departments/limits/sql/admit.sql)
  and reserves the prompt's estimate plus the answer's cap, which it fits to what is left.
- A reservation is a lease of `LEASE_SECONDS`. `renew` keeps it while the call runs; a process that dies stops renewing,
  and its block ends by itself.
- `settle` replaces the reservation by what was used, once: the first settlement stands.
- A lease that lapsed cannot be renewed: the call has to end, because others may have been given its tokens.
- The counter is in the control database. When that cannot be reached there is no call: nothing here fails open.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from audit.database import Connection

LEASE_SECONDS = 45
RENEW_SECONDS = 5.0
SMALLEST_ANSWER = 64  # tokens; below this an answer would stop in its first sentence

_ADMIT = "SELECT * FROM limits_admit(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_RENEW = """
    UPDATE limits_reservation
    SET lease_until = clock_timestamp() + make_interval(secs => %s), tokens_written = %s
    WHERE call_id = %s AND settled_at IS NULL AND lease_until > clock_timestamp()
    RETURNING stop_requested
"""
_REQUEST_STOP = "UPDATE limits_reservation SET stop_requested = true WHERE call_id = %s AND settled_at IS NULL"
_LAPSED = """
    SELECT call_id, tokens_prompt, tokens_written FROM limits_reservation
    WHERE settled_at IS NULL AND lease_until < clock_timestamp() ORDER BY lease_until LIMIT 1
    FOR UPDATE SKIP LOCKED
"""


@dataclass(frozen=True)
class Request:
    """What a call asks of the budget. Tokens; `wanted` is the longest answer it would like, 0 for an embedding."""

    call_id: UUID
    organization_id: UUID
    department_id: UUID
    person_id: UUID
    purpose: str
    time_zone: str
    prompt: int
    wanted: int


@dataclass(frozen=True)
class Granted:
    """The call may be made; the answer may be `answer_cap` tokens long."""

    answer_cap: int


@dataclass(frozen=True)
class Refusal:
    """The call may not be made, with all that a page, a header and the record need to say why."""

    scope: str  # organization | department | person
    measure: str  # tokens | requests
    limit: int
    used: int
    resets_at: datetime


class Lease(Enum):
    """What a renewal found."""

    ALIVE = "go on"
    STOP_REQUESTED = "somebody asked to stop"
    LAPSED = "the lease had run out: end the call, others may have been given its tokens"


@dataclass(frozen=True)
class Lapsed:
    """A reservation whose process stopped renewing it."""

    call_id: UUID
    prompt: int
    written: int


async def reserve(held: Connection, request: Request) -> Granted | Refusal:
    """Check every scope and reserve, in the transaction of `held`; the locks end with that transaction."""
    cursor = await held.execute(
        _ADMIT,
        [
            request.call_id,
            request.organization_id,
            request.department_id,
            request.person_id,
            request.purpose,
            request.time_zone,
            request.prompt,
            request.wanted,
            min(SMALLEST_ANSWER, request.wanted),
            LEASE_SECONDS,
        ],
    )
    row = await cursor.fetchone()
    assert row is not None, "limits_admit always answers with one row"  # noqa: S101
    admitted, answer_cap, *refusal = row
    return Granted(answer_cap) if admitted else Refusal(*refusal)


async def renew(held: Connection, call_id: UUID, written: int) -> Lease:
    """Extend the lease of a running call that has `written` tokens so far; see whether somebody asked it to stop."""
    cursor = await held.execute(_RENEW, [LEASE_SECONDS, written, call_id])
    row = await cursor.fetchone()
    if row is None:
        return Lease.LAPSED
    return Lease.STOP_REQUESTED if row[0] else Lease.ALIVE


async def request_stop(held: Connection, call_id: UUID) -> None:
    """Ask the process that holds the call, whichever it is, to end it at its next renewal."""
    await held.execute(_REQUEST_STOP, [call_id])


async def settle(held: Connection, call_id: UUID, used: int) -> bool:
    """Book `used` tokens in place of the reservation. False where there is none, or where it is settled already."""
    cursor = await held.execute("SELECT limits_settle(%s, %s)", [call_id, used])
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def lapsed(held: Connection) -> Lapsed | None:
    """A reservation that nobody renews any more, locked for this transaction; others are passed by.

    One at a time: whoever held several would wait for the counters of several organizations, in any order.
    """
    cursor = await held.execute(_LAPSED)
    row = await cursor.fetchone()
    return None if row is None else Lapsed(*row)
