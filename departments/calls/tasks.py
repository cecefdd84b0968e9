"""The door's background work."""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import uuid4

from celery import shared_task

from audit.database import connection
from audit.events import Event, Outcome
from audit.writer import Entry, read_request, record_on
from departments.calls import grants
from departments.calls.trial_job import run_due
from departments.limits import budget
from departments.loop import run

logger = logging.getLogger(__name__)


@shared_task
def settle_lost_calls() -> None:
    """Book and record the calls whose process stopped renewing them."""
    run(settle_lost())


@shared_task
def run_trials() -> None:
    """Run the trials that wait, or whose worker died."""
    run_due()


@shared_task
def end_grants() -> None:
    """Write the end of each grant into the record; that it ended needs nobody."""
    grants.record_ended()


async def settle_lost() -> int:
    """The same, for an event loop; returns how many there were.

    A lost call is booked with its prompt and with the text its process had last reported: more is not known. Each is a
    transaction of its own, so that a crash half-way loses none and books none twice.
    """
    settled = 0
    while await _settle_one():
        settled += 1
    return settled


async def _settle_one() -> bool:
    async with connection() as held, held.transaction():
        call = await budget.lapsed(held)
        if call is None:
            return False
        logger.warning("call %s was lost; booked with %d tokens", call.call_id, call.prompt + call.written)
        await budget.settle(
            held, call.call_id, call.prompt + call.written, sent=call.prompt, cost=call.cost, estimated=True
        )
        request = await read_request(held, call.call_id)
        if request is not None:  # else its month has left the record already
            await record_on(held, _lost(request, call))
    return True


def _lost(request: Entry, call: budget.Lapsed) -> Entry:
    return replace(
        request,
        id=uuid4(),
        event=Event.CALL_ANSWERED,
        outcome=Outcome.LOST,
        tokens_input=call.prompt,
        tokens_output=call.written,
        tokens_estimated=True,
        cost=call.cost,
        details={"reason": "process_died"},
    )
