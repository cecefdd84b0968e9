"""A call under way: it holds a reservation, is kept alive while it runs, and ends exactly once.

Rules:
- From its admission to its settlement the lease is renewed every `RENEW_SECONDS`, also while the provider is silent or
  asked a second time; each renewal asks again whether the person still belongs to the department.
- The first ending stands. Work that is going on for the call is cancelled by it.
- When the database is away the call goes on for as long as its lease is sure to stand, and not a second longer: after
  that others may have been given its tokens.
- No connection of ours is held between two renewals.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from django.conf import settings

from audit.database import TIMEOUT, DatabaseDown, connection
from audit.events import Outcome
from departments.access import astanding
from departments.calls import sentences
from departments.calls.booking import BROWSER_GONE, Booking
from departments.keys.reader import ProviderKey
from departments.limits import budget

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """How a call ended. `sentence` is for the person and empty for a whole answer; `reason` is for the record."""

    outcome: Outcome
    sentence: str = ""
    reason: str = ""
    label: str = ""


ABANDONED = Ending(Outcome.ABANDONED, sentences.CUT, BROWSER_GONE)
STOPPED = Ending(Outcome.STOPPED)
TIME_UP = Ending(Outcome.CUT, sentences.TIME_UP, "time_up")
LEASE_LOST = Ending(Outcome.CUT, sentences.LEASE_LOST, "lease_lapsed")
ACCESS_ENDED = Ending(Outcome.CUT, sentences.ACCESS_ENDED, "access_ended")


class CallOver(Exception):
    """The call has ended; its `ending` says why."""


class Hold:
    """One call from its admission to its settlement.

    `taken` says whether the provider may have worked on it, so that a call without reported usage costs its prompt;
    `attempts` counts requests to the provider; `booking.key` is the key of the last one.
    """

    def __init__(self, booking: Booking) -> None:
        self.booking = booking
        self.ending: Ending | None = None
        self.attempts = 0
        self.taken = False
        self.started = time.monotonic()
        self._to_tell: list[Callable[[], None]] = []
        self._working: asyncio.Task[Any] | None = None

    @property
    def call_id(self) -> UUID:
        return self.booking.call_id

    @property
    def milliseconds(self) -> int:
        """Since the call was admitted."""
        return round((time.monotonic() - self.started) * 1000)

    def end(self, ending: Ending) -> None:
        """The call is over, unless it was already."""
        if self.ending is not None:
            return
        self.ending = ending
        for tell in self._to_tell:
            tell()
        if self._working is not None:
            self._working.cancel()

    def stop(self) -> None:
        """End the call now, as the person asked."""
        self.end(STOPPED)

    def use(self, key: ProviderKey) -> None:
        """Go on with another key: the vault had a newer one."""
        self.booking = replace(self.booking, key=key)

    def when_over(self, tell: Callable[[], None]) -> None:
        """`tell` is called once, when the call ends; at once if it has ended."""
        if self.ending is None:
            self._to_tell.append(tell)
        else:
            tell()

    async def work(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of one piece of work. Raises CallOver where the call ends first; the work is cancelled then."""
        working = asyncio.create_task(coroutine)
        self._working = working
        if self.ending is not None:
            working.cancel()
        try:
            return await working
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.ending is None or (task is not None and task.cancelling()):
                raise
            raise CallOver from None
        finally:
            self._working = None


@asynccontextmanager
async def kept_alive(hold: Hold, written: Callable[[], int]) -> AsyncIterator[None]:
    """Renews the lease while the block runs. `written` tells how many tokens of the answer have arrived."""
    keeper = asyncio.create_task(_keep(hold, written))
    try:
        yield
    finally:
        keeper.cancel()
        # a renewal on its way has to be over before the call is settled
        await asyncio.wait((keeper,))


async def _keep(hold: Hold, written: Callable[[], int]) -> None:
    deadline = hold.started + settings.ANSWER_SECONDS
    renewed = hold.started
    while hold.ending is None:
        await asyncio.sleep(min(budget.RENEW_SECONDS, max(0.0, deadline - time.monotonic())))
        now = time.monotonic()
        if now >= deadline:
            hold.end(TIME_UP)
        elif ending := await _renew(hold, written(), renewed):
            hold.end(ending)
        else:
            renewed = now


async def _renew(hold: Hold, written: int, renewed: float) -> Ending | None:
    """Why the call has to end, if it has to."""
    while True:
        try:
            return await _verdict(hold.booking, written)
        except (DatabaseDown, psycopg.Error):
            logger.error("call %s: lease not renewed, the control database is away", hold.call_id)
        await asyncio.sleep(budget.RENEW_SECONDS)
        if time.monotonic() > renewed + budget.LEASE_SECONDS - budget.RENEW_SECONDS - TIMEOUT:
            return LEASE_LOST


async def _verdict(booking: Booking, written: int) -> Ending | None:
    async with connection() as held:
        lease = await budget.renew(held, booking.call_id, written)
    if lease is budget.Lease.STOP_REQUESTED:
        return STOPPED
    if lease is budget.Lease.LAPSED:
        return LEASE_LOST
    standing = await astanding(booking.caller.person_id, booking.department.pk)
    if not standing.is_member:
        return ACCESS_ENDED
    reason = standing.pause_reason
    return None if reason is None else Ending(Outcome.CUT, sentences.paused(reason), "paused")
