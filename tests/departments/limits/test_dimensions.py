"""Every kind of ceiling in every scope: tokens and money, days and months, rates, answers at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.test import override_settings
from psycopg import AsyncCursor

from audit.events import Event
from audit.models import AuditEvent
from departments.calls import catalogue
from departments.calls.caller import CallRefused, Purpose
from departments.calls.embeddings import embed
from departments.calls.models import CatalogueModel
from departments.limits import budget
from departments.limits.budget import Granted, Refusal
from departments.limits.grant_models import Grant
from departments.limits.models import Refused, Reservation, Spent
from departments.models import Department
from tests.company import Company, give_key, give_store, set_limit, signed_in
from tests.departments.calls.calling import ask, events, whole
from tests.departments.limits.reserving import admit, clock_at, request, reserve, settle
from tests.provider import Provider

STREAM = {"Accept": "text/event-stream"}
PRICES = {"price_input": Decimal(1), "price_output": Decimal(5)}  # dollars for a million tokens


def refused(decision: Granted | Refusal) -> tuple[str, str, str]:
    assert isinstance(decision, Refusal)
    return decision.scope, decision.measure, decision.period


def scope_of(company: Company, scope: str) -> dict[str, Any]:
    """Which row a ceiling of this scope stands in; a model's has its name."""
    return {
        "organization": {},
        "department": {"department": company.hr},
        "person": {"person": company.bob},
        "member": {"person": company.bob, "department": company.hr},
        "model": {"model": "m"},
        "department_model": {"model": "m", "department": company.hr},
    }[scope]


# --- money -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["organization", "department", "person", "member"])
@pytest.mark.parametrize("period", ["day", "month"])
async def test_a_budget_in_money_fits_the_answer_and_then_refuses(company: Company, scope: str, period: str) -> None:
    # 100 tokens sent cost $0.0001, 100 written $0.0005: the second answer is fitted to 80 tokens
    set_limit(company, **scope_of(company, scope), **{f"money_per_{period}": Decimal("0.0011")})
    decisions = [await reserve(company, **PRICES) for _ in range(3)]
    assert decisions[:2] == [Granted(100), Granted(80)]
    assert refused(decisions[2]) == (scope, "money", period)
    assert isinstance(decisions[2], Refusal)
    assert (decisions[2].limit, decisions[2].used) == (Decimal("0.0011"), Decimal("0.0011"))


async def test_what_is_spent_in_money_is_what_the_record_says(company: Company, provider: Provider) -> None:
    give_key(company.hr)
    for _ in range(3):
        await whole(ask(company))
    ledger = Spent.objects.get(scope="organization", scope_id=company.organization.pk)
    answered = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.CALL_ANSWERED)
    assert ledger.cost == answered.aggregate(sum=Sum("cost"))["sum"] > 0
    assert ledger.requests == 3


async def test_a_model_without_a_price_is_refused_where_a_budget_is_in_money(
    company: Company, provider: Provider
) -> None:
    give_key(company.hr)
    company.hr.model = "somebodys-own"
    company.hr.save()
    set_limit(company, tokens_per_day=100_000)
    assert isinstance(await reserve(company), Granted)
    set_limit(company, department=company.hr, money_per_month=100)
    with pytest.raises(CallRefused, match="price of this department's model is not known"):
        await whole(ask(company))
    (event,) = [each for each in events(company) if each.event == Event.CALL_REFUSED]
    assert (event.details["measure"], event.details["scope"]) == ("price", "department")


async def test_a_free_model_is_never_in_the_way_of_a_budget_in_money(company: Company) -> None:
    set_limit(company, money_per_day=0)
    free = {"price_input": Decimal(0), "price_output": Decimal(0)}
    assert isinstance(await reserve(company, **free), Granted)
    assert isinstance(await reserve(company, **PRICES), Refusal)


# --- months ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "owner"),
    [
        ("organization", "organization"),
        ("department", "department"),
        ("person", "person"),
        ("member", "member"),
    ],
)
def test_a_month_is_the_sum_of_its_days_and_starts_anew(company: Company, scope: str, owner: str) -> None:
    set_limit(company, **scope_of(company, owner), tokens_per_month=450)
    with clock_at("2026-10-15 12:00:00Z") as clock:
        first = request(company)
        assert clock.admit(first)[0]
        assert clock.settle(first, 200)
        clock.set("2026-10-30 12:00:00Z")
        assert clock.admit(request(company))[0]  # 200 + 200 of 450, reserved
        clock.set("2026-10-31 22:59:00Z")  # the last minute of October in Berlin
        assert clock.admit(request(company)) == (False, datetime(2026, 10, 31, 23, tzinfo=UTC))
        clock.set("2026-10-31 23:00:00Z")
        assert clock.admit(request(company))[0]


def test_a_call_of_last_month_is_booked_there_and_still_counts_as_an_answer_at_once(company: Company) -> None:
    set_limit(company, person=company.bob, answers_at_once=1, tokens_per_month=200)
    late = request(company)
    with clock_at("2026-10-31 22:59:50Z") as clock:
        assert clock.admit(late)[0]
        clock.set("2026-10-31 23:00:10Z")
        assert not clock.admit(request(company))[0]  # its lease is alive
        assert clock.settle(late, 200)
        assert clock.admit(request(company))[0]  # and November is untouched
    (row,) = Spent.objects.filter(scope="person", scope_id=company.bob.pk)
    assert (str(row.day), row.tokens) == ("2026-10-31", 200)


# --- rates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["organization", "department", "person", "member", "model", "department_model"])
async def test_a_rate_of_any_scope_is_exact_among_many_at_once(company: Company, scope: str) -> None:
    set_limit(company, **scope_of(company, scope), requests_per_minute=5)
    decisions = await asyncio.gather(*(reserve(company, model="m") for _ in range(40)))
    assert sum(isinstance(each, Granted) for each in decisions) == 5
    assert {refused(each) for each in decisions if isinstance(each, Refusal)} == {(scope, "requests", "minute")}


async def test_a_rate_of_a_model_is_nobody_elses(company: Company) -> None:
    set_limit(company, model="m", requests_per_minute=1)
    set_limit(company, model="n", department=company.finance, requests_per_minute=0)
    assert isinstance(await reserve(company, model="m"), Granted)
    assert isinstance(await reserve(company, model="m"), Refusal)
    assert isinstance(await reserve(company, model="n"), Granted)
    assert isinstance(await reserve(company, model="n", department_id=company.finance.pk), Refusal)


@pytest.mark.parametrize("step", [0.9, 7.3, 11.0])
def test_no_sixty_seconds_ever_hold_more_than_the_rate(company: Company, step: float) -> None:
    """Asked again and again for minutes: whichever 60 s are looked at, no more than the ceiling were admitted."""
    set_limit(company, department=company.hr, requests_per_minute=5)
    start, admitted = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC), []
    with clock_at(start.isoformat()) as clock:
        for number in range(200 if step < 1 else 30):
            moment = start + timedelta(seconds=number * step)
            clock.set(moment.isoformat())
            if clock.admit(request(company))[0]:
                admitted.append(moment)
    assert len(admitted) >= 5
    for first in admitted:
        window = [each for each in admitted if first <= each < first + timedelta(seconds=60)]
        assert len(window) <= 5
    # and the sixth is let in as soon as the first has left
    if step < 1:
        assert admitted[5] - admitted[0] < timedelta(seconds=60 + step)


# --- answers at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["organization", "department", "person", "member"])
async def test_no_more_answers_at_once_than_allowed(company: Company, scope: str) -> None:
    set_limit(company, **scope_of(company, scope), answers_at_once=2)
    calls = [request(company) for _ in range(30)]
    decisions = await asyncio.gather(*(admit(each) for each in calls))
    running = [call for call, each in zip(calls, decisions, strict=True) if isinstance(each, Granted)]
    assert len(running) == 2
    assert {refused(each) for each in decisions if isinstance(each, Refusal)} == {(scope, "answers", "now")}
    assert isinstance(await reserve(company, purpose="search", wanted=0), Granted), "an embedding is no answer"
    await settle(running[0], 10)
    assert isinstance(await reserve(company), Granted)


async def test_each_person_has_an_allowance_and_the_department_a_pool(company: Company) -> None:
    set_limit(company, department=company.hr, tokens_per_day=500, person_tokens_per_day=200)
    assert isinstance(await reserve(company), Granted)
    assert refused(await reserve(company)) == ("member", "tokens", "day")
    assert isinstance(await reserve(company, person_id=company.alice.pk), Granted)
    # Carol has an allowance of her own, and the pool has 100 left: too little for her prompt and an answer
    assert refused(await reserve(company, person_id=company.carol.pk)) == ("department", "tokens", "day")
    # in Finance nothing of it counts
    assert isinstance(await reserve(company, person_id=company.carol.pk, department_id=company.finance.pk), Granted)


async def test_a_persons_own_limit_and_their_limit_in_a_department_both_hold(company: Company) -> None:
    set_limit(company, person=company.carol, tokens_per_day=600)
    set_limit(company, person=company.carol, department=company.hr, tokens_per_day=200)
    carol = {"person_id": company.carol.pk}
    finance = carol | {"department_id": company.finance.pk}
    assert isinstance(await reserve(company, **carol), Granted)
    assert refused(await reserve(company, **carol)) == ("member", "tokens", "day")
    assert [await reserve(company, **finance) for _ in range(2)] == [Granted(100), Granted(100)]
    assert refused(await reserve(company, **finance)) == ("person", "tokens", "day")


# --- grants ----------------------------------------------------------------------------------------------------------


def grant(company: Company, amount: int, begins: timedelta, ends: timedelta) -> Grant:
    now = datetime.now(UTC)
    return Grant.objects.create(
        organization=company.organization,
        department=company.hr,
        person=company.bob,
        amount=amount,
        starts_at=now + begins,
        ends_at=now + ends,
        granted_by=company.alice.pk,
        granted_by_name="Alice",
    )


async def test_a_grant_holds_until_it_ends_and_the_ceilings_above_hold_all_the_same(company: Company) -> None:
    hour = timedelta(hours=1)
    set_limit(company, tokens_per_day=600, person_tokens_per_day=200)
    grant(company, 1_000, -2 * hour, -hour)
    grant(company, 1_000, hour, 2 * hour)
    assert [isinstance(await reserve(company), Granted) for _ in range(2)] == [True, False]
    grant(company, 200, -hour, hour)
    assert isinstance(await reserve(company), Granted)
    assert refused(await reserve(company)) == ("person", "tokens", "day")
    grant(company, 10_000, -hour, hour)
    assert isinstance(await reserve(company), Granted)
    assert refused(await reserve(company)) == ("organization", "tokens", "day")


# --- leases ----------------------------------------------------------------------------------------------------------


async def test_a_lapsed_lease_holds_what_it_will_be_booked_with_and_no_more(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limit(company, tokens_per_day=364)
    monkeypatch.setattr(budget, "LEASE_SECONDS", 0)
    asked = request(company)
    await admit(asked)
    Reservation.objects.filter(call_id=asked.call_id).update(tokens_written=37)
    assert await reserve(company) == Granted(100)  # and lapses at once: it holds its 100 of prompt
    assert refused(await reserve(company, wanted=200)) == ("organization", "tokens", "day")


async def test_a_refusal_of_a_budget_is_counted_for_its_day(company: Company) -> None:
    set_limit(company, department=company.hr, tokens_per_day=0)
    for _ in range(3):
        assert isinstance(await reserve(company), Refusal)
    (row,) = Refused.objects.filter(organization_id=company.organization.pk)
    assert (row.scope, row.scope_id, row.count, row.person_id) == ("department", company.hr.pk, 3, None)


# --- the door --------------------------------------------------------------------------------------------------------


async def test_embeddings_count_against_tokens_and_money(company: Company, provider: Provider) -> None:
    give_key(company.hr)
    department = Department.objects.select_related("organization").get(pk=company.hr.pk)
    caller = ask(company).caller
    await embed(department, caller, ["How much leave is there?"] * 3, purpose=Purpose.SEARCH)
    spent = Spent.objects.get(scope="member", person_id=company.bob.pk)
    assert spent.tokens > 0
    assert spent.cost > 0
    set_limit(company, department=company.hr, tokens_per_day=spent.tokens)
    with pytest.raises(CallRefused, match="This department's budget for today"):
        await embed(department, caller, ["once more"], purpose=Purpose.INGEST)


async def test_a_model_that_thinks_first_is_not_begun_with_too_little(company: Company, provider: Provider) -> None:
    give_key(company.hr)
    thinking = CatalogueModel.objects.create(
        name=f"thinker-{company.hr.pk}", context_tokens=9_000, output_tokens=2_000, kind="chat", smallest_answer=900
    )
    company.hr.model = thinking.name
    company.hr.save()
    catalogue._read_at = float("-inf")
    set_limit(company, person=company.bob, tokens_per_day=1_000)
    with override_settings(ANSWER_TOKENS=1_500), pytest.raises(CallRefused, match="Your budget for today"):
        await whole(ask(company))


# limit -> what the response's fields say; {seconds} is Retry-After
FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"tokens_per_day": 10}, '"member-tokens-day";q=10;qu="tokens";w=86400', '"member-tokens-day";r=10;t={seconds}'),
    ({"money_per_month": 0}, '"member-money-month";q=0;qu="us-cents"', '"member-money-month";r=0;t={seconds}'),
    (
        {"requests_per_minute": 0},
        '"member-requests-minute";q=0;qu="requests";w=60',
        '"member-requests-minute";r=0;t={seconds}',
    ),
    (
        {"answers_at_once": 0},
        '"member-answers-now";q=0;qu="concurrent-requests"',
        '"member-answers-now";r=0;t={seconds}',
    ),
]


async def test_a_refusal_tells_programs_and_people_and_the_record_the_same(
    company: Company, provider: Provider
) -> None:
    give_key(company.hr)
    give_store(company.hr)
    client = await signed_in(company.bob)
    for ceilings, policy, left in FIELDS:
        limit = set_limit(company, person=company.bob, department=company.hr, **ceilings)
        for headers in (STREAM, {}):
            response = await client.post("/d/hr/ask", {"question": "How much leave?"}, headers=headers)
            assert response.status_code == 429
            assert response.headers["RateLimit-Policy"] == policy
            assert response.headers["RateLimit"] == left.format(seconds=response.headers["Retry-After"])
            assert "Limit reached" in response.content.decode()
        refusal = events(company)[-1]
        (name,) = ceilings
        assert refusal.details["measure"] == name.split("_")[0]
        assert refusal.details["limit"] == ceilings[name]
        assert refusal.outcome == "refused"
        limit.delete()
    assert (await client.post("/d/hr/ask", {"question": "How much leave?"}, headers=STREAM)).status_code == 200


@pytest.mark.parametrize("field", ["tokens_per_day", "money_per_day", "answers_at_once", "person_requests_per_minute"])
def test_a_models_limit_is_a_rate_and_nothing_else(company: Company, field: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        set_limit(company, model="m", **{field: 1})


async def test_the_admission_and_the_settlement_are_one_round_trip_each(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_key(company.hr)
    await whole(ask(company))  # the key and the catalogue are read
    seen: list[str] = []
    execute = AsyncCursor.execute

    async def counted(cursor: AsyncCursor[Any], statement: Any, *more: Any, **named: Any) -> Any:
        seen.append(statement.decode() if isinstance(statement, bytes) else str(statement))
        return await execute(cursor, statement, *more, **named)

    monkeypatch.setattr(AsyncCursor, "execute", counted)
    await whole(ask(company))
    step = [statement for statement in seen if "limits_" in statement or "audit_" in statement or "COMMIT" in statement]
    assert len(step) == 2
    assert "limits_admit" in step[0]
    assert "audit_event" in step[0]
    assert "limits_settle" in step[1]
    assert "audit_event" in step[1]
