"""Budgets and rates, exact under any concurrency: reserve before the call, keep the lease alive, settle after it.

Rules:
- `ADMIT` checks the organization, the department, the person and the model in one atomic step
  (departments/limits/sql/step.sql) and reserves the prompt's estimate plus the answer's cap, which it fits to what is
  left. It is one expression of SQL, so that a caller can record its outcome in the same statement.
- A reservation is a lease of `LEASE_SECONDS`. `renew` keeps it while the call runs; a process that dies stops renewing,
  and its block shrinks by itself to what the call is known to have used.
- Settling replaces the reservation by what was used, once: the first settlement stands.
- A lease that lapsed cannot be renewed: the call has to end, because others may have been given its tokens.
- The counter is in the control database. When that cannot be reached there is no call: nothing here fails open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from audit.database import Connection

LEASE_SECONDS = 45
RENEW_SECONDS = 5.0
PAUSE_SECONDS = 600  # then one call may try again
SMALLEST_ANSWER = 64  # tokens; below this an answer would stop in its first sentence

ADMIT = "limits_admit(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::numeric, %s::numeric, %s)"
"""Takes `admit_parameters`; one row, which `decision` reads."""
DECISION = "admitted, answer_cap, refused_scope, refused_measure, refused_period, ceiling, used, resets_at"
SETTLE = "limits_settle_and_meter(%s, %s, %s, %s::numeric, %s, %s, %s, %s, %s)"
"""Takes `settle_parameters`; one row: whether it was the first settlement, then the columns of `METER`."""
METER = "scope, measure, period, used, ceiling, resets_at, moment"

_RENEW = """
    UPDATE limits_reservation
    SET lease_until = clock_timestamp() + make_interval(secs => %s), tokens_written = %s
    WHERE call_id = %s AND settled_at IS NULL AND lease_until > clock_timestamp()
    RETURNING stop_requested
"""
_REQUEST_STOP = "UPDATE limits_reservation SET stop_requested = true WHERE call_id = %s AND settled_at IS NULL"
_PAUSE = """
    INSERT INTO limits_providerpause (department_id, until, reason)
    VALUES (%s, clock_timestamp() + make_interval(secs => %s), %s)
    ON CONFLICT (department_id) DO UPDATE SET until = EXCLUDED.until, reason = EXCLUDED.reason
"""
_LAPSED = """
    SELECT call_id, tokens_prompt, tokens_written, price_input, price_output FROM limits_reservation
    WHERE settled_at IS NULL AND lease_until < clock_timestamp() ORDER BY lease_until LIMIT 1
    FOR UPDATE SKIP LOCKED
"""


@dataclass(frozen=True)
class Request:
    """What a call asks of the budget. Tokens; `wanted` is the longest answer it would like, 0 for an embedding.

    `counted` is the prompt as we counted it and `prompt` the same corrected for its model. Prices are US dollars for a
    million tokens; None: unknown. `smallest` is the shortest answer that is of any use.
    """

    call_id: UUID
    organization_id: UUID
    department_id: UUID
    person_id: UUID
    purpose: str
    time_zone: str
    prompt: int
    wanted: int
    model: str = ""
    counted: int = 0
    smallest: int = SMALLEST_ANSWER
    price_input: Decimal | None = None
    price_output: Decimal | None = None


@dataclass(frozen=True)
class Granted:
    """The call may be made; the answer may be `answer_cap` tokens long."""

    answer_cap: int


@dataclass(frozen=True)
class Refusal:
    """The call may not be made, with all that a page, a header and the record need to say why.

    `limit` and `used` are whole numbers, US dollars where the measure is money.
    """

    scope: str  # organization | department | person | member (a person in a department) | model | department_model
    # tokens | money | requests | answers | price (a budget in money, and the model's price is unknown) | provider (its
    # spend limit there is reached)
    measure: str
    period: str  # day | month | minute | now
    limit: int | Decimal
    used: int | Decimal
    resets_at: datetime


class Lease(Enum):
    """What a renewal found."""

    ALIVE = "go on"
    STOP_REQUESTED = "somebody asked to stop"
    LAPSED = "the lease had run out: end the call, others may have been given its tokens"


@dataclass(frozen=True)
class Lapsed:
    """A reservation whose process stopped renewing it. Prices as they were when it was admitted."""

    call_id: UUID
    prompt: int
    written: int
    price_input: Decimal | None
    price_output: Decimal | None

    @property
    def cost(self) -> Decimal | None:
        """US dollars of what is known; None without a price."""
        if self.price_input is None:
            return None
        return (self.prompt * self.price_input + self.written * (self.price_output or 0)) / 1_000_000


def admit_parameters(request: Request) -> list[Any]:
    return [
        request.call_id,
        request.organization_id,
        request.department_id,
        request.person_id,
        request.purpose,
        request.model,
        request.time_zone,
        request.counted,
        request.prompt,
        request.wanted,
        min(request.smallest, request.wanted),
        request.price_input,
        request.price_output,
        LEASE_SECONDS,
    ]


def decision(row: Sequence[Any]) -> Granted | Refusal:
    """What `limits_admit` said."""
    admitted, answer_cap, scope, measure, period, limit, used, resets_at = row
    if admitted:
        return Granted(answer_cap)
    return Refusal(scope, measure, period, figure(measure, limit), figure(measure, used), resets_at)


def figure(measure: str, value: Decimal) -> int | Decimal:
    """A ceiling or what counts against it: dollars stay as they are, everything else is counted in whole numbers."""
    return value if measure in {"money", "price"} else int(value)


def dollars(amount: int | Decimal) -> str:
    """As in "$1,250.00"; below one dollar with as many of four digits as say something: "$0.005"."""
    if amount >= 1:
        return f"${amount:,.2f}"
    cents, rest = f"{amount:.4f}"[:-2], f"{amount:.4f}"[-2:]
    return f"${cents}{rest.rstrip('0')}"


async def reserve(held: Connection, request: Request) -> Granted | Refusal:
    """Check every scope and reserve, in the transaction of `held`."""
    cursor = await held.execute(f"SELECT {DECISION} FROM {ADMIT}".encode(), admit_parameters(request))  # noqa: S608
    row = await cursor.fetchone()
    assert row is not None, "limits_admit always answers with one row"  # noqa: S101
    return decision(row)


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


async def settle(
    held: Connection, call_id: UUID, used: int, *, sent: int = 0, cost: Decimal | None = None, estimated: bool = False
) -> bool:
    """Book `used` tokens, of which `sent` went out, in place of the reservation.

    False where there is none, or where it is settled already.
    """
    values = [call_id, used, sent, cost, estimated]
    cursor = await held.execute("SELECT limits_settle(%s, %s, %s, %s::numeric, %s)", values)
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def pause_provider(held: Connection, department_id: UUID, reason: str) -> None:
    """Send nothing for this department for `PAUSE_SECONDS`: its provider has said that its money there is used up."""
    await held.execute(_PAUSE, [department_id, PAUSE_SECONDS, reason[:64]])


async def lapsed(held: Connection) -> Lapsed | None:
    """A reservation that nobody renews any more, locked for this transaction; others are passed by.

    One at a time: whoever held several would wait for the counters of several departments, in any order.
    """
    cursor = await held.execute(_LAPSED)
    row = await cursor.fetchone()
    return None if row is None else Lapsed(*row)
