"""A thousand calls of one person at once, from several processes; and what is left when every one of them is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import F, Sum
from django.utils import timezone

from audit.events import Event, Outcome
from audit.models import AuditEvent
from chatgrid.schedule import SCHEDULE
from departments.calls.tasks import settle_lost
from departments.keys.secret import Secret
from departments.limits import budget
from departments.limits.budget import Granted
from departments.limits.models import Reservation, Spent
from tests.company import Company, give_key, set_limit
from tests.departments.calls.calling import ask, until, whole
from tests.departments.limits.reserving import reserve
from tests.provider import Provider

PROCESSES, EACH = 4, 250
ANSWER = 120  # tokens, and each answer is written to its cap


@asynccontextmanager
async def many(company: Company, at_once: int) -> AsyncIterator[list[Process]]:
    """Processes that make calls; none of them outlives the block."""
    command = [sys.executable, "-m", "tests.departments.limits.many_calls"]
    command += [company.organization.slug, company.bob.email, str(EACH), str(at_once)]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "chatgrid.settings", "CHATGRID_ANSWER_TOKENS": str(ANSWER)}
    processes = [await asyncio.create_subprocess_exec(*command, stdout=PIPE, env=environment) for _ in range(PROCESSES)]
    try:
        yield processes
    finally:
        await kill(processes)


async def kill(processes: list[Process]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
    await asyncio.gather(*(process.wait() for process in processes))


@dataclass(frozen=True)
class Books:
    """The sums of tokens that must be the same."""

    ledger: int
    counters: tuple[int, ...]
    record: int
    provider: int

    def agree(self) -> bool:
        return {self.ledger, *self.counters, self.record} == {self.provider}


def books(company: Company, provider: Provider, key: Secret) -> Books:
    mine = {"organization_id": company.organization.pk}
    answered = AuditEvent.objects.filter(event=Event.CALL_ANSWERED, **mine)
    return Books(
        ledger=Reservation.objects.filter(**mine).aggregate(sum=Sum("tokens_used"))["sum"],
        counters=tuple(Spent.objects.filter(**mine).order_by("scope").values_list("tokens", flat=True)),
        record=answered.aggregate(sum=Sum(F("tokens_input") + F("tokens_output")))["sum"],
        provider=provider.journal()["keys"][key.fingerprint()]["total_tokens"],
    )


async def price_of_a_call(company: Company) -> int:
    """What one call reserves: its prompt and the whole of its cap."""
    await whole(ask(company))
    row = await Reservation.objects.aget(organization_id=company.organization.pk)
    return row.tokens_prompt + ANSWER


async def test_a_thousand_calls_on_four_processes_share_a_budget_for_a_hundred(
    company: Company, provider: Provider
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "long")
    need = await price_of_a_call(company)
    (spent,) = {row.tokens for row in Spent.objects.filter(organization_id=company.organization.pk)}
    ceiling = spent + 100 * need
    set_limit(company, person=company.bob, department=company.hr, tokens_per_day=ceiling)
    async with many(company, at_once=EACH) as processes:
        answered = sum([int((await process.communicate())[0]) for process in processes])

    found = books(company, provider, key)
    assert found.agree(), found
    assert len(found.counters) == 4
    assert found.ledger <= ceiling
    requests = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.CALL_REQUESTED)
    assert requests.count() == answered + 1 == provider.journal()["keys"][key.fingerprint()]["requests"]
    # the prompt is reserved at its upper edge: what that leaves over may let a few more in, and nobody fewer
    assert 100 <= answered <= 100 + 100 * need // ANSWER
    refusals = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.CALL_REFUSED)
    assert refusals.count() == PROCESSES * EACH - answered
    smallest = need - ANSWER + budget.SMALLEST_ANSWER
    for details in refusals.values_list("details", flat=True):
        assert details["limit"] - details["used"] < smallest, "it would have fitted"


def test_a_dead_workers_lease_and_the_sweep_after_it_end_within_a_minute() -> None:
    (sweep,) = [entry for entry in SCHEDULE.values() if entry["task"] == "departments.calls.tasks.settle_lost_calls"]
    assert budget.LEASE_SECONDS + sweep["schedule"] <= 60


async def test_every_worker_killed_during_a_thousand_calls_leaves_no_phantom_block(
    company: Company, provider: Provider
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "long", first_token_ms=100, tokens_per_second=12)
    ceiling = 1_000_000
    set_limit(company, department=company.hr, tokens_per_day=ceiling)
    mine = Reservation.objects.filter(organization_id=company.organization.pk)
    async with many(company, at_once=25) as processes:
        # some are done, and of some that run the first words are known
        await until(lambda: mine.exclude(settled_at=None).count() > 20, seconds=90)
        await until(lambda: mine.filter(settled_at=None, tokens_written__gt=0).count() > 20, seconds=60)
        await kill(processes)
    running = mine.filter(settled_at=None)
    assert running.count() > 20
    # 45 s later: the test's own clock goes on, so the leases are set back by as much
    running.update(lease_until=F("lease_until") - timedelta(seconds=budget.LEASE_SECONDS))
    assert not running.filter(lease_until__gt=timezone.now()).exists()

    # nobody has swept yet: what is held is what the calls are known to have used, and the rest is free to the token
    known = _known(running) + (mine.aggregate(sum=Sum("tokens_used"))["sum"] or 0)
    free = ceiling - known
    assert await reserve(company, prompt=free - 200, wanted=200) == Granted(200)
    assert not isinstance(await reserve(company, prompt=1, wanted=0), Granted)
    await mine.filter(tokens_prompt=free - 200).adelete()

    await asyncio.gather(*(settle_lost() for _ in range(3)))
    assert not mine.filter(settled_at=None).exists()
    assert mine.aggregate(sum=Sum("tokens_used"))["sum"] == known
    events = AuditEvent.objects.filter(organization_id=company.organization.pk)
    assert events.filter(event=Event.CALL_REQUESTED).count() == mine.count()
    assert events.filter(event=Event.CALL_ANSWERED).count() == mine.count()
    assert events.filter(outcome=Outcome.LOST).count() > 20
    recorded = events.filter(event=Event.CALL_ANSWERED).aggregate(sum=Sum(F("tokens_input") + F("tokens_output")))
    assert recorded["sum"] == known
    assert set(Spent.objects.filter(department_id=company.hr.pk).values_list("tokens", flat=True)) == {known}
    provider.behave()
    assert await whole(ask(company))


def _known(rows: Any) -> int:
    return sum(prompt + written for prompt, written in rows.values_list("tokens_prompt", "tokens_written"))
