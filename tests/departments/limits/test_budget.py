"""Budgets and rates are exact, whoever asks at the same moment, and what is booked is what the provider counted."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db.models import F, Sum
from django.test import override_settings

from audit.database import connection
from audit.events import Event, Outcome
from audit.models import AuditEvent
from departments.calls.caller import CallRefused
from departments.calls.run import answering
from departments.calls.tasks import settle_lost
from departments.limits import budget
from departments.limits.budget import Granted, Lease, Refusal
from departments.limits.models import Reservation, Spent
from tests.company import Company, give_key, set_limit
from tests.departments.calls.calling import ask, events, whole
from tests.departments.limits.reserving import admit, clock_at, request, reserve, settle
from tests.provider import Provider


def booked(company: Company, scope: str = "organization") -> int:
    ids = {"organization": company.organization.pk, "department": company.hr.pk, "person": company.bob.pk}
    return Spent.objects.filter(scope=scope, scope_id=ids[scope]).aggregate(sum=Sum("tokens"))["sum"] or 0


def recorded(company: Company) -> int:
    answered = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.CALL_ANSWERED)
    return answered.aggregate(sum=Sum(F("tokens_input") + F("tokens_output")))["sum"] or 0


# --- exactness -------------------------------------------------------------------------------------------------------


async def test_a_budget_for_seven_admits_seven_of_two_hundred(company: Company) -> None:
    set_limit(company, tokens_per_day=7 * 200 + 163)  # too little of an answer is left for an eighth
    decisions = await asyncio.gather(*(reserve(company) for _ in range(200)))
    granted = [decision for decision in decisions if isinstance(decision, Granted)]
    assert [each.answer_cap for each in granted] == [100] * 7
    refusals = [decision for decision in decisions if isinstance(decision, Refusal)]
    assert {(each.scope, each.measure, each.limit, each.used) for each in refusals} == {
        ("organization", "tokens", 7 * 200 + 163, 1400)
    }


async def test_the_last_answer_is_fitted_to_what_is_left(company: Company) -> None:
    set_limit(company, department=company.hr, tokens_per_day=7 * 200 + 164)
    decisions = await asyncio.gather(*(reserve(company) for _ in range(50)))
    assert sorted(each.answer_cap for each in decisions if isinstance(each, Granted)) == [64] + [100] * 7


async def test_parallel_calls_never_spend_a_token_too_many_and_all_books_agree(
    company: Company, provider: Provider
) -> None:
    key = give_key(company.hr)
    ceiling = 9_000
    set_limit(company, person=company.bob, tokens_per_day=ceiling)

    async def call() -> bool:
        try:
            return bool(await whole(ask(company)))
        except CallRefused:
            return False

    with override_settings(ANSWER_TOKENS=120):
        answered = await asyncio.gather(*(call() for _ in range(200)))
    assert 3 < sum(answered) < 200
    sums = provider.journal()["keys"][key.fingerprint()]
    assert sums["requests"] == sum(answered)
    assert sums["total_tokens"] == booked(company) == booked(company, "person") == recorded(company)
    assert booked(company) <= ceiling
    assert not Reservation.objects.filter(organization_id=company.organization.pk, settled_at=None).exists()


async def test_four_processes_share_one_budget_to_the_token(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    ceiling = 12_000
    set_limit(company, tokens_per_day=ceiling)
    command = [sys.executable, "-m", "tests.departments.limits.many_calls"]
    command += [company.organization.slug, company.bob.email, "50", "50"]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "chatgrid.settings", "CHATGRID_ANSWER_TOKENS": "120"}
    processes = [
        await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
        for _ in range(4)
    ]
    answered = [int((await process.communicate())[0]) for process in processes]
    sums = provider.journal()["keys"][key.fingerprint()]
    assert 3 < sum(answered) < 200
    assert sums["requests"] == sum(answered)
    assert sums["total_tokens"] == booked(company) == recorded(company)
    assert booked(company) <= ceiling


async def test_admitting_settling_and_finding_the_lost_do_not_wait_for_each_other(
    company: Company, other_company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "LEASE_SECONDS", 0)
    people = [(company, each) for each in (company.alice, company.bob, company.carol)]
    people += [(other_company, each) for each in (other_company.alice, other_company.bob, other_company.carol)]

    async def turn() -> None:
        whose, person = random.choice(people)
        asked = request(whose, person_id=person.pk, department_id=random.choice((whose.hr, whose.finance)).pk)
        assert isinstance(await admit(asked), Granted)
        await (settle_lost() if random.random() < 0.2 else settle(asked, 10))

    async with asyncio.timeout(60):
        await asyncio.gather(*(turn() for _ in range(300)))
    await settle_lost()
    for each in (company, other_company):
        rows = Reservation.objects.filter(organization_id=each.organization.pk)
        assert not rows.filter(settled_at=None).exists()
        assert rows.aggregate(sum=Sum("tokens_used"))["sum"] == booked(each)


# --- requests per minute ---------------------------------------------------------------------------------------------


async def test_a_rate_admits_exactly_as_many_as_it_says(company: Company) -> None:
    set_limit(company, person=company.bob, requests_per_minute=5)
    decisions = await asyncio.gather(*(reserve(company) for _ in range(50)))
    assert sum(isinstance(each, Granted) for each in decisions) == 5
    refusal = next(each for each in decisions if isinstance(each, Refusal))
    assert (refusal.scope, refusal.measure, refusal.limit, refusal.used) == ("person", "requests", 5, 5)
    oldest = Reservation.objects.filter(person_id=company.bob.pk).earliest("admitted_at")
    assert refusal.resets_at == oldest.admitted_at + timedelta(seconds=60)


def test_the_minute_slides(company: Company) -> None:
    set_limit(company, department=company.hr, requests_per_minute=3)
    with clock_at("2026-11-23 12:00:00Z") as clock:
        for second in (0, 20, 40):
            clock.set(f"2026-11-23 12:00:{second:02}Z")
            assert clock.admit(request(company))[0]
        clock.set("2026-11-23 12:00:59.999Z")
        assert clock.admit(request(company)) == (False, datetime(2026, 11, 23, 12, 1, tzinfo=UTC))
        clock.set("2026-11-23 12:01:00Z")
        assert clock.admit(request(company))[0]
        assert clock.admit(request(company)) == (False, datetime(2026, 11, 23, 12, 1, 20, tzinfo=UTC))


def test_a_rate_that_was_lowered_says_when_there_will_really_be_room(company: Company) -> None:
    with clock_at("2026-11-23 12:00:00Z") as clock:
        for second in (0, 10, 20, 30):
            clock.set(f"2026-11-23 12:00:{second:02}Z")
            assert clock.admit(request(company))[0]
        set_limit(company, requests_per_minute=2)
        assert clock.admit(request(company)) == (False, datetime(2026, 11, 23, 12, 1, 20, tzinfo=UTC))


async def test_a_rate_of_nothing_refuses_in_words(company: Company) -> None:
    give_key(company.hr)
    set_limit(company, person=company.bob, requests_per_minute=0)
    with pytest.raises(CallRefused, match="limit of 0 questions a minute"):
        await whole(ask(company))


async def test_embeddings_are_not_counted_as_questions(company: Company) -> None:
    set_limit(company, requests_per_minute=2)
    for purpose in ("search", "ingest", "chat", "search", "chat", "search"):
        assert isinstance(await reserve(company, purpose=purpose), Granted)
    assert isinstance(await reserve(company), Refusal)


# --- whose limit -----------------------------------------------------------------------------------------------------

# rows of limits: (scope, field, value); which scope refuses 200 tokens after 100 are booked, and with which ceiling
PRECEDENCE: list[tuple[list[tuple[str, str, int]], tuple[str, int] | None]] = [
    ([], None),
    ([("organization", "person_tokens_per_day", 250)], ("person", 250)),
    ([("organization", "person_tokens_per_day", 250), ("department", "person_tokens_per_day", 9999)], None),
    ([("organization", "person_tokens_per_day", 9999), ("department", "person_tokens_per_day", 250)], ("member", 250)),
    ([("department", "person_tokens_per_day", 250), ("person", "tokens_per_day", 9999)], None),
    ([("department", "person_tokens_per_day", 9999), ("person", "tokens_per_day", 250)], ("person", 250)),
    ([("person", "tokens_per_day", 9999), ("department", "tokens_per_day", 250)], ("department", 250)),
    ([("person", "tokens_per_day", 9999), ("organization", "tokens_per_day", 250)], ("organization", 250)),
    ([("person", "tokens_per_day", 200), ("organization", "tokens_per_day", 250)], ("organization", 250)),
    ([("person", "tokens_per_day", 0)], ("person", 0)),
]


@pytest.mark.parametrize(("rows", "refused"), PRECEDENCE)
async def test_the_nearest_limit_wins_and_every_ceiling_above_holds(
    company: Company, rows: list[tuple[str, str, int]], refused: tuple[str, int] | None
) -> None:
    first = request(company, wanted=0)
    await admit(first)
    await settle(first, 100)
    for scope in {scope for scope, _, _ in rows}:
        owner = {"person": {"person": company.bob}, "department": {"department": company.hr}}.get(scope, {})
        set_limit(company, **owner, **{field: value for whose, field, value in rows if whose == scope})
    decision = await reserve(company)
    if refused is None:
        assert isinstance(decision, Granted)
    else:
        assert isinstance(decision, Refusal)
        assert (decision.scope, decision.limit, decision.used) == (*refused, 100)


async def test_one_companys_or_persons_spending_is_nobody_elses(company: Company, other_company: Company) -> None:
    for each in (company, other_company):
        set_limit(each, tokens_per_day=400, person_tokens_per_day=200)
    assert isinstance(await reserve(company), Granted)
    assert isinstance(await reserve(company), Refusal)
    assert isinstance(await reserve(company, person_id=company.alice.pk), Granted)
    assert isinstance(await reserve(company, person_id=company.carol.pk), Refusal)
    assert isinstance(await reserve(other_company), Granted)


# --- leases ----------------------------------------------------------------------------------------------------------


async def time_passes(company: Company, seconds: float) -> None:
    """For the leases of this company: whatever goes on meanwhile, they end so much sooner."""
    mine = Reservation.objects.filter(organization_id=company.organization.pk)
    await mine.aupdate(lease_until=F("lease_until") - timedelta(seconds=seconds))


async def test_a_lapsed_lease_frees_the_budget_by_itself(company: Company) -> None:
    set_limit(company, tokens_per_day=300)
    assert isinstance(await reserve(company), Granted)
    assert isinstance(await reserve(company), Refusal)
    await time_passes(company, budget.LEASE_SECONDS)
    assert isinstance(await reserve(company), Granted)


async def test_a_renewed_lease_holds_and_a_lapsed_one_cannot_be_renewed(company: Company) -> None:
    asked = request(company)
    await admit(asked)

    async def renew() -> Lease:
        async with connection() as held:
            return await budget.renew(held, asked.call_id, 5)

    for _ in range(3):
        await time_passes(company, budget.LEASE_SECONDS / 2)
        assert await renew() is Lease.ALIVE
    await time_passes(company, budget.LEASE_SECONDS)
    assert await renew() is Lease.LAPSED


async def test_a_lost_call_is_booked_and_recorded_exactly_once(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "long", tokens_per_second=200)
    monkeypatch.setattr(budget, "LEASE_SECONDS", 1)
    monkeypatch.setattr(budget, "RENEW_SECONDS", 0.3)
    async with answering(ask(company)) as (answer, text):
        async for _ in text:
            if Reservation.objects.get(call_id=answer.call_id).tokens_written:
                break
        # the process stands still here: no renewal, and the call is given up for lost meanwhile
        Reservation.objects.filter(call_id=answer.call_id).update(lease_until=datetime.now(UTC) - timedelta(seconds=1))
        await asyncio.gather(*(settle_lost() for _ in range(5)))
        assert [event.outcome for event in events(company)] == ["", Outcome.LOST]
        # it wakes up, and finds that the call is over
        async for _ in text:
            pass
    requested, lost = events(company)
    assert (lost.outcome, lost.tokens_estimated, lost.actor_name) == (Outcome.LOST, True, "Bob")
    assert lost.tokens_output > 0
    assert lost.key_fingerprint == requested.key_fingerprint == key.fingerprint()
    assert booked(company) == recorded(company) == lost.tokens_input + lost.tokens_output


async def test_the_first_settlement_stands(company: Company) -> None:
    asked = request(company)
    await admit(asked)
    outcomes = await asyncio.gather(*(settle(asked, 10) for _ in range(8)))
    assert sorted(outcomes) == [False] * 7 + [True]
    assert not await settle(asked, 99)
    assert booked(company) == 10


async def test_a_call_that_nobody_knows_is_not_booked(company: Company) -> None:
    assert not await settle(request(company), 10)
    assert booked(company) == 0


# --- days ------------------------------------------------------------------------------------------------------------


def test_a_call_belongs_to_the_day_it_was_admitted_in(company: Company) -> None:
    set_limit(company, tokens_per_day=300)
    late, early = request(company), request(company)
    with clock_at("2026-11-23 22:59:59Z") as clock:  # one second before midnight in Berlin
        assert clock.admit(late)[0]
        assert clock.admit(request(company)) == (False, datetime(2026, 11, 23, 23, tzinfo=UTC))
        clock.set("2026-11-23 23:00:00Z")
        assert clock.admit(early)[0]
        assert clock.settle(late, 150)
        assert clock.settle(early, 160)
    days = Spent.objects.filter(scope="organization", scope_id=company.organization.pk).order_by("day")
    assert [(str(row.day), row.tokens, row.requests) for row in days] == [
        ("2026-11-23", 150, 1),
        ("2026-11-24", 160, 1),
    ]


@pytest.mark.parametrize(
    ("time_zone", "now", "day", "resets_at"),
    [
        ("Europe/Berlin", "2026-10-24 22:30:00Z", "2026-10-25", "2026-10-25 23:00:00+00:00"),  # 25 hours long
        ("Europe/Berlin", "2026-10-25 22:59:00Z", "2026-10-25", "2026-10-25 23:00:00+00:00"),
        ("Europe/Berlin", "2026-03-28 23:30:00Z", "2026-03-29", "2026-03-29 22:00:00+00:00"),  # 23 hours long
        ("Pacific/Kiritimati", "2026-11-23 12:00:00Z", "2026-11-24", "2026-11-24 10:00:00+00:00"),
        ("Pacific/Pago_Pago", "2026-11-23 10:00:00Z", "2026-11-22", "2026-11-23 11:00:00+00:00"),
        ("Asia/Beirut", "2026-03-28 12:00:00Z", "2026-03-28", "2026-03-28 22:00:00+00:00"),  # midnight does not exist
    ],
)
def test_a_day_is_a_day_of_the_organizations_time_zone(
    company: Company, time_zone: str, now: str, day: str, resets_at: str
) -> None:
    set_limit(company, tokens_per_day=200)
    with clock_at(now) as clock:
        first = request(company, time_zone=time_zone)
        assert clock.admit(first)[0]
        assert clock.admit(request(company, time_zone=time_zone)) == (False, datetime.fromisoformat(resets_at))
    assert str(Reservation.objects.get(call_id=first.call_id).day) == day


# --- growth ----------------------------------------------------------------------------------------------------------


def test_an_admission_reads_no_more_rows_when_there_were_many_calls(company: Company) -> None:
    set_limit(company, tokens_per_day=10**9, requests_per_minute=10**6, person_tokens_per_day=10**9)
    set_limit(company, person=company.bob, tokens_per_day=10**9, requests_per_minute=10**6)
    with psycopg.connect(os.environ["CHATGRID_OWNER_DATABASE_URL"]) as owner:
        owner.execute(PAST_CALLS, [company.organization.pk, company.hr.pk, company.bob.pk])
        owner.execute("ANALYZE limits_reservation")
        before = _rows_read(owner)
        statement = f"SELECT {budget.DECISION} FROM {budget.ADMIT}"
        row = owner.execute(statement.encode(), budget.admit_parameters(request(company))).fetchone()
        assert row is not None
        assert row[0]
        assert _rows_read(owner) - before < 1_000, "of 20,000"
        owner.rollback()


PAST_CALLS = """
    INSERT INTO limits_reservation (call_id, organization_id, department_id, person_id, purpose, model, day,
        admitted_at, lease_until, tokens_counted, tokens_prompt, tokens_reserved, tokens_used, tokens_written,
        settled_at, estimated, stop_requested)
    SELECT gen_random_uuid(), %s, %s, %s, 'chat', '', (now() - past)::date, now() - past, now() - past, 1, 1, 2, 2, 1,
        now() - past, false, false
    FROM (SELECT make_interval(mins => number) + interval '2 minutes' AS past FROM generate_series(1, 20000) AS number)
"""


def _rows_read(held: psycopg.Connection[Any]) -> int:
    figures = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = %s"
    row = held.execute(figures, ["limits_reservation"]).fetchone()
    assert row is not None
    return int(row[0])
