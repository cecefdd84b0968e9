"""The two transactions around a call: reserve and record the request before it, settle and record the response after.

Rules:
- Each side is one transaction: what is in the ledger is in the record, and a call that is in neither was not made.
- Each side is one statement, and so one round trip to the database.
- Both run to their end once begun, also when the person leaves meanwhile.
- A call is settled once. Where the database is away at that moment, it is tried again for as long as the lease lasts;
  then `departments.calls.tasks` books what was known at the last renewal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg

from audit.database import DatabaseDown, connection, numbered, pipelined_transaction
from audit.events import Event, Outcome
from audit.writer import Entry, KeptText, insert_from, parameters_from, record_on
from departments.calls import sentences
from departments.calls.caller import Caller, CallFailed, CallRefused, Purpose
from departments.calls.events import NOT_USED, Usage
from departments.calls.meter import Meter, meter_from
from departments.keys.reader import ProviderKey
from departments.limits import budget
from departments.models import Department

RETRY_SECONDS = 2.0
BROWSER_GONE = "browser_gone"  # the reason of a call whose person left

# the refusal as the record keeps it: it is known only inside the statement
_REFUSAL = """jsonb_build_object(
    'scope', refused_scope, 'measure', refused_measure, 'period', refused_period, 'limit', ceiling, 'used', used,
    'resets_at', to_char(resets_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))"""
_REQUESTED_OR_REFUSED = {
    "id": "CASE WHEN admitted THEN %s::uuid ELSE %s::uuid END",
    "event": "CASE WHEN admitted THEN %s::text ELSE %s::text END",
    "outcome": "CASE WHEN admitted THEN '' ELSE %s::text END",
    "details": f"CASE WHEN admitted THEN '{{}}' ELSE {_REFUSAL} END",
}
_RESERVE_AND_RECORD = numbered(f"""
    WITH decision AS MATERIALIZED (SELECT {budget.DECISION} FROM {budget.ADMIT}),
    event AS ({insert_from("decision", _REQUESTED_OR_REFUSED)}),
    kept AS (
        INSERT INTO audit_text (event_id, salt, text)
        SELECT {_REQUESTED_OR_REFUSED["id"]}, %s::bytea, %s::text FROM decision WHERE %s::bytea IS NOT NULL
    )
    SELECT {budget.DECISION} FROM decision
""")  # noqa: S608
_SETTLE_AND_RECORD = numbered(f"""
    WITH settled AS MATERIALIZED (SELECT was_first, {budget.METER} FROM {budget.SETTLE}),
    event AS ({insert_from("settled WHERE was_first", {})})
    SELECT {budget.METER} FROM settled
""")  # noqa: S608

T = TypeVar("T")
logger = logging.getLogger(__name__)
_unfinished: set[asyncio.Task[Any]] = set()  # the event loop alone would let go of them


@dataclass(frozen=True, kw_only=True)
class Booking:
    """One call as ledger and record know it. `prompt`, `wanted` and `smallest` in tokens.

    `counted` is the prompt as we counted it, `prompt` the same corrected for its model. Prices are US dollars for a
    million tokens.
    """

    department: Department
    caller: Caller
    purpose: Purpose
    model: str
    key: ProviderKey
    prompt: int
    wanted: int
    counted: int = 0
    smallest: int = budget.SMALLEST_ANSWER
    price_input: Decimal | None = None
    price_output: Decimal | None = None
    call_id: UUID = field(default_factory=uuid4)
    text: KeptText | None = None  # the question, for the record
    query_hash: str = ""
    passages: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def entry(self, event: Event) -> Entry:
        """The fields that both events of the call share."""
        return Entry(
            event=event,
            call_id=self.call_id,
            **self.department.in_record,
            actor_id=self.caller.person_id,
            actor_name=self.caller.person_name,
            client_address=self.caller.address,
            purpose=self.purpose,
            model_asked=self.model,
            query_hash=self.text.digest if self.text else self.query_hash,
            passages=self.passages,
            labels=self.labels,
            key_fingerprint=self.key.fingerprint,
            key_version=self.key.version,
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a call ended. `usage` is what is booked; `estimated` says that we counted it ourselves."""

    outcome: Outcome
    usage: Usage
    estimated: bool = False
    cost: Decimal | None = None
    model: str = ""
    reason: str = ""
    attempts: int = 0
    provider_request_id: str = ""
    first_token_ms: int | None = None
    total_ms: int = 0
    labels: tuple[str, ...] = ()


@asynccontextmanager
async def needs_the_record() -> AsyncIterator[None]:
    """What cannot be recorded is not done: turns a database that fails into a sentence. Raises CallFailed."""
    try:
        yield
    # not only one that is away: one that refuses the write, for want of a right, a partition or room on its disk
    except (DatabaseDown, psycopg.Error) as error:
        logger.error("no call is made: the record cannot be written (%s)", type(error.__cause__ or error).__name__)
        raise CallFailed(sentences.RECORD_DOWN, reason="record_unavailable") from error


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which runs to its end even if whoever waits for it is cancelled."""
    task = asyncio.create_task(work)
    _unfinished.add(task)
    task.add_done_callback(_unfinished.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


async def drain() -> None:
    """Wait for what is still being settled: for a process that ends, before it closes its connections."""
    if _unfinished:
        await asyncio.wait(_unfinished, timeout=budget.LEASE_SECONDS)


async def reserve_and_record(booking: Booking) -> budget.Granted:
    """Admit the call and write its request event, or write why not.

    Raises CallRefused, which is recorded, or CallFailed, because nothing could be recorded.
    """
    async with needs_the_record(), connection() as held:
        cursor = await held.execute_numbered(_RESERVE_AND_RECORD, _reserve_parameters(booking))
        row = await cursor.fetchone()
    assert row is not None, "limits_admit always answers with one row"  # noqa: S101
    decision = budget.decision(row)
    if isinstance(decision, budget.Refusal):
        time_zone = booking.department.organization.time_zone
        raise CallRefused(sentences.refused(decision, time_zone), refusal=decision)
    return decision


def _reserve_parameters(booking: Booking) -> list[Any]:
    refused = booking.entry(Event.CALL_REFUSED)
    ids = [booking.call_id, refused.id]
    chosen: dict[str, list[Any]] = {
        "id": ids,
        "event": [str(Event.CALL_REQUESTED), str(Event.CALL_REFUSED)],
        "outcome": [str(Outcome.REFUSED)],
        "details": [],
    }
    salt, text = (booking.text.salt, booking.text.text) if booking.text else (None, None)
    return [*budget.admit_parameters(_request(booking)), *parameters_from(refused, chosen), *ids, salt, text, salt]


async def admit(booking: Booking) -> budget.Granted:
    """Reserve and record the request. Raises CallRefused or CallFailed."""
    try:
        return await finished(reserve_and_record(booking))
    except asyncio.CancelledError:
        # the person left in this very moment; where the call was admitted all the same, it has used nothing
        nothing = Result(outcome=Outcome.ABANDONED, usage=NOT_USED, reason=BROWSER_GONE)
        await finished(settle_and_record(booking, nothing))
        raise


async def settle_and_record(booking: Booking, result: Result) -> Meter | None:
    """Book what was used and write the response event, unless the call is settled already. Does not raise.

    Where the person stands after it; None where that is not known yet, because the database is away.
    """
    meter = await _try_to_settle(booking, result)
    if meter is None:
        task = asyncio.create_task(_settle_later(booking, result))
        _unfinished.add(task)
        task.add_done_callback(_unfinished.discard)
    return meter


async def _settle_later(booking: Booking, result: Result) -> None:
    for _ in range(int(budget.LEASE_SECONDS // RETRY_SECONDS)):
        await asyncio.sleep(RETRY_SECONDS)
        if await _try_to_settle(booking, result) is not None:
            return
    logger.error("call %s is given up for lost: it will be booked with what its last renewal knew", booking.call_id)


async def _try_to_settle(booking: Booking, result: Result) -> Meter | None:
    try:
        async with connection() as held:
            cursor = await held.execute_numbered(_SETTLE_AND_RECORD, _settle_parameters(booking, result))
            row = await cursor.fetchone()
    except (DatabaseDown, psycopg.Error) as error:
        cause, used = type(error.__cause__ or error).__name__, result.usage.prompt + result.usage.output
        logger.error("call %s (%s, %d tokens) not settled yet: %s", booking.call_id, result.outcome, used, cause)
        return None
    assert row is not None, "limits_settle_and_meter always answers with one row"  # noqa: S101
    return meter_from(row, booking.department.organization)


def _settle_parameters(booking: Booking, result: Result) -> list[Any]:
    usage, department = result.usage, booking.department
    return [
        booking.call_id,
        usage.prompt + usage.output,
        usage.prompt,
        result.cost,
        result.estimated,
        department.organization_id,
        department.pk,
        booking.caller.person_id,
        department.organization.time_zone,
        *parameters_from(_answered_entry(booking, result), {}),
    ]


def _answered_entry(booking: Booking, result: Result) -> Entry:
    usage = result.usage
    return replace(
        booking.entry(Event.CALL_ANSWERED),
        outcome=result.outcome,
        model_answered=result.model,
        tokens_input=usage.prompt,
        tokens_cached=usage.cached,
        tokens_output=usage.output,
        tokens_reasoning=usage.reasoning,
        tokens_estimated=result.estimated,
        cost=result.cost,
        provider_request_id=result.provider_request_id,
        first_token_ms=result.first_token_ms,
        total_ms=result.total_ms,
        labels=(*booking.labels, *result.labels),
        details={"reason": result.reason, "attempts": result.attempts} | _written(usage),
    )


def _written(usage: Usage) -> dict[str, int]:
    """What was written to the provider's cache, which has a price of its own; nothing with most models."""
    return {"tokens_cache_written": usage.written} if usage.written else {}


async def record_not_made(
    department: Department, caller: Caller, purpose: Purpose, reason: str, labels: Sequence[str] = ()
) -> None:
    """A call that could not even be tried, for want of a key or of the secret manager, or that was not wanted."""
    entry = Entry(
        event=Event.CALL_REFUSED,
        **department.in_record,
        actor_id=caller.person_id,
        actor_name=caller.person_name,
        client_address=caller.address,
        purpose=purpose,
        model_asked=department.model,
        outcome=Outcome.FAILED,
        labels=[f"question:{label}" for label in labels],
        details={"reason": reason},
    )
    try:
        async with pipelined_transaction() as held:
            await record_on(held, entry)
    except (DatabaseDown, psycopg.Error):
        logger.error("no call for %s (%s), and no record of it: the database fails", department.pk, reason)


def _request(booking: Booking) -> budget.Request:
    organization = booking.department.organization
    return budget.Request(
        call_id=booking.call_id,
        organization_id=organization.pk,
        department_id=booking.department.pk,
        person_id=booking.caller.person_id,
        purpose=booking.purpose,
        time_zone=organization.time_zone,
        prompt=booking.prompt,
        wanted=booking.wanted,
        model=booking.model,
        counted=booking.counted or booking.prompt,
        smallest=booking.smallest,
        price_input=booking.price_input,
        price_output=booking.price_output,
    )
