"""Odd days and changes in the middle of them: zones, midnights, grants that cross one, limits below what is used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from departments.calls.grants import end_early
from departments.limits import forecast as forecasting
from departments.limits.forecast import forecast
from departments.limits.grant_models import Grant
from departments.limits.models import Limit, Refused, Reservation, Spent
from departments.models import Department
from tests.company import Company, set_limit
from tests.departments.limits.reserving import Clock, clock_at, request

NOON = datetime(2026, 11, 23, 11, tzinfo=UTC)  # in Berlin


def spend(clock: Clock, company: Company, used: int = 200, **changes: Any) -> bool:
    asked = request(company, **changes)
    return clock.admit(asked)[0] and clock.settle(asked, used)


def granted(company: Company, starts_at: datetime, ends_at: datetime, **changes: Any) -> Grant:
    fields: dict[str, Any] = {
        "organization": company.organization,
        "department": company.hr,
        "person": company.bob,
        "amount": 200,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "granted_by": company.alice.pk,
        "granted_by_name": "Alice",
    }
    return Grant.objects.create(**fields | changes)


@pytest.mark.parametrize(
    ("first", "last", "next_day"),
    [
        ("2026-10-24 22:00:00Z", "2026-10-25 22:59:59Z", "2026-10-25 23:00:00Z"),  # 25 hours
        ("2026-03-28 23:00:00Z", "2026-03-29 21:59:59Z", "2026-03-29 22:00:00Z"),  # 23 hours
    ],
)
def test_a_long_and_a_short_day_are_one_budget_from_end_to_end(
    company: Company, first: str, last: str, next_day: str
) -> None:
    set_limit(company, tokens_per_day=300)
    with clock_at(first) as clock:
        assert spend(clock, company)
        clock.set(last)
        assert not spend(clock, company)
        clock.set(next_day)
        assert spend(clock, company)


# zone, a moment of a day, the first moment of the next one
DAYS = [
    ("Atlantic/Azores", "2026-10-24 12:00:00Z", "2026-10-25 00:00:00Z"),  # at one it is midnight again
    ("America/Havana", "2026-10-31 12:00:00Z", "2026-11-01 04:00:00Z"),  # the same
    ("America/Havana", "2026-03-07 12:00:00Z", "2026-03-08 05:00:00Z"),  # there is no midnight: it is one at once
    ("America/Santiago", "2026-04-04 12:00:00Z", "2026-04-05 04:00:00Z"),  # at midnight it is eleven again
    ("America/Santiago", "2026-09-05 12:00:00Z", "2026-09-06 04:00:00Z"),  # there is no midnight
    ("Australia/Lord_Howe", "2026-04-04 12:00:00Z", "2026-04-04 13:00:00Z"),  # half an hour, in the night
    ("Australia/Lord_Howe", "2026-04-05 12:00:00Z", "2026-04-05 13:30:00Z"),
    ("Pacific/Chatham", "2026-04-04 12:00:00Z", "2026-04-05 11:15:00Z"),
    ("Pacific/Kiritimati", "2026-12-31 09:00:00Z", "2026-12-31 10:00:00Z"),
    ("Pacific/Apia", "2028-02-29 10:59:59Z", "2028-02-29 11:00:00Z"),
    ("Etc/GMT+12", "2028-02-29 11:59:59Z", "2028-02-29 12:00:00Z"),
]


@pytest.mark.parametrize(("zone", "moment", "next_day"), DAYS)
def test_a_day_begins_when_it_is_said_to_and_not_a_moment_before(
    company: Company, zone: str, moment: str, next_day: str
) -> None:
    set_limit(company, tokens_per_day=200)
    there: dict[str, Any] = {"time_zone": zone}
    begins = datetime.fromisoformat(next_day)
    with clock_at(moment) as clock:
        assert spend(clock, company, **there)
        assert clock.admit(request(company, **there)) == (False, begins)
        clock.set((begins - timedelta(seconds=1)).isoformat())
        assert clock.admit(request(company, **there)) == (False, begins)
        clock.set(next_day)
        assert spend(clock, company, **there)


def test_of_several_limits_in_the_way_the_one_that_lasts_longest_is_told(company: Company) -> None:
    """Whoever comes back when they were told to is not sent away by another one."""
    set_limit(company, tokens_per_month=200, person_requests_per_minute=1)
    set_limit(company, department=company.hr, tokens_per_day=200)
    with clock_at(NOON.isoformat()) as clock:
        assert spend(clock, company)
        assert clock.admit(request(company)) == (False, datetime(2026, 11, 30, 23, tzinfo=UTC))
        Limit.objects.filter(organization=company.organization, department=None).update(tokens_per_month=None)
        assert clock.admit(request(company)) == (False, datetime(2026, 11, 23, 23, tzinfo=UTC))
        Limit.objects.filter(department=company.hr).update(tokens_per_day=None, answers_at_once=0)
        assert clock.admit(request(company)) == (False, NOON + timedelta(seconds=5)), "nothing ever lasts longest"
        Limit.objects.filter(department=company.hr).delete()
        assert clock.admit(request(company)) == (False, NOON + timedelta(seconds=60))
    refused = Refused.objects.filter(organization_id=company.organization.pk).values_list("scope", "period", "count")
    assert set(refused) == {("organization", "month", 1), ("department", "day", 2)}, "each budget knows that it refused"


def test_a_free_model_is_refused_by_its_tokens_and_not_by_its_money(company: Company) -> None:
    set_limit(company, tokens_per_day=100, money_per_month=1)
    free: dict[str, Any] = {"price_input": Decimal(0), "price_output": Decimal(0)}
    with clock_at(NOON.isoformat()) as clock:
        assert clock.admit(request(company, **free)) == (False, datetime(2026, 11, 23, 23, tzinfo=UTC))


def test_a_zone_that_changes_in_the_middle_of_a_day_gives_no_month_twice(company: Company) -> None:
    set_limit(company, tokens_per_month=500, person_tokens_per_day=300)
    with clock_at("2026-11-23 15:00:00Z") as clock:
        assert spend(clock, company)
        auckland = {"time_zone": "Pacific/Auckland"}  # where it is tomorrow: a new day, the same month
        assert spend(clock, company, **auckland)
        assert not spend(clock, company, person_id=company.alice.pk), "the month has seen 400, some of it tomorrow"
        assert not spend(clock, company), "and today is used up as before"
    days = Spent.objects.filter(scope="organization", scope_id=company.organization.pk).values_list("day", "tokens")
    assert {str(day): tokens for day, tokens in days} == {"2026-11-23": 200, "2026-11-24": 200}


def test_a_zone_that_goes_back_a_day_gives_neither_day_twice(company: Company) -> None:
    set_limit(company, tokens_per_day=300)
    with clock_at("2026-11-22 15:00:00Z") as clock:
        assert spend(clock, company)
        clock.set("2026-11-23 04:00:00Z")
        assert spend(clock, company)
        running = request(company, prompt=40, wanted=40, smallest=10)
        assert clock.admit(running)[0], "it belongs to the 23rd, wherever it ends"
        honolulu = {"time_zone": "Pacific/Honolulu"}  # where it is still the 22nd
        admitted, resets_at = clock.admit(request(company, **honolulu))
        assert not admitted, "of which 200 are used"
        assert resets_at == datetime(2026, 11, 23, 10, tzinfo=UTC)
        assert clock.settle(running, 80)
        clock.set("2026-11-23 10:00:00Z")
        assert not clock.admit(request(company, **honolulu))[0], "the 23rd goes on with what was used on it"
        clock.set("2026-11-24 10:00:00Z")
        assert spend(clock, company, **honolulu)
    days = Spent.objects.filter(scope="organization", scope_id=company.organization.pk).values_list("day", "tokens")
    assert {str(day): tokens for day, tokens in days} == {"2026-11-22": 200, "2026-11-23": 280, "2026-11-24": 200}


def test_a_call_that_asked_before_midnight_sees_what_was_booked_after_it(company: Company) -> None:
    """Admissions wait for one another: of two, the one that asked before midnight may be looked at last."""
    set_limit(company, tokens_per_month=300)
    with clock_at("2026-11-23 23:00:01Z") as clock:
        assert spend(clock, company)
        clock.set("2026-11-23 22:59:59Z")
        assert not clock.admit(request(company))[0]


def test_the_next_month_is_nobodys_of_this_one(company: Company) -> None:
    set_limit(company, tokens_per_month=300)
    with clock_at("2026-11-30 23:00:01Z") as clock:
        early = request(company)
        assert clock.admit(early)[0]  # December's, and running
        clock.set("2026-11-30 22:59:59Z")
        assert spend(clock, company)
        clock.set("2026-11-30 23:00:02Z")
        assert clock.settle(early, 200)
        assert not clock.admit(request(company))[0]


def test_a_grant_of_several_days_counts_anew_after_each_midnight_until_it_ends(company: Company) -> None:
    set_limit(company, person_tokens_per_day=200)
    granted(company, NOON, NOON + timedelta(days=1, hours=11))
    with clock_at(NOON.isoformat()) as clock:
        assert [spend(clock, company) for _ in range(3)] == [True, True, False]
        clock.set((NOON + timedelta(hours=12)).isoformat())  # midnight in Berlin
        assert [spend(clock, company) for _ in range(3)] == [True, True, False]
        clock.set((NOON + timedelta(days=1, hours=12)).isoformat())
        assert [spend(clock, company) for _ in range(2)] == [True, False]


def test_a_grant_that_ends_while_more_is_used_than_is_left_refuses_and_takes_nothing_back(company: Company) -> None:
    set_limit(company, person_tokens_per_day=200)
    now = datetime.now(UTC)
    grant = granted(company, now - timedelta(hours=1), now + timedelta(hours=1), amount=1_000)
    running = request(company)
    with clock_at(now.isoformat()) as clock:
        assert spend(clock, company)
        assert clock.admit(running)[0]
        department = Department.objects.select_related("organization").get(pk=company.hr.pk)
        end_early(department, grant.pk, company.alice, "no need")
        clock.set((datetime.now(UTC) + timedelta(seconds=1)).isoformat())
        assert not clock.admit(request(company))[0]
        assert clock.renew(running, 50), "an answer that is being written goes on"
        assert clock.settle(running, 200)
    assert Spent.objects.get(scope="person", scope_id=company.bob.pk).tokens == 400


def test_a_grant_is_for_its_department_also_where_the_limit_is_for_all(company: Company) -> None:
    set_limit(company, person=company.carol, tokens_per_day=200)
    granted(company, NOON, NOON + timedelta(days=1), person=company.carol)
    carol: dict[str, Any] = {"person_id": company.carol.pk}
    finance = carol | {"department_id": company.finance.pk}
    with clock_at(NOON.isoformat()) as clock:
        assert spend(clock, company, **finance)
        assert not spend(clock, company, **finance)
        assert spend(clock, company, **carol), "what was granted in HR is there for HR"
        assert not spend(clock, company, **carol)


def test_a_limit_below_what_is_used_refuses_at_once_and_says_all_of_it(company: Company) -> None:
    limit = set_limit(company, department=company.hr, tokens_per_day=1_000, tokens_per_month=10_000)
    with clock_at(NOON.isoformat()) as clock:
        assert spend(clock, company, used=900)
        Limit.objects.filter(pk=limit.pk).update(tokens_per_day=100)
        admitted, again_at = clock.admit(request(company))
        assert (admitted, again_at) == (False, datetime(2026, 11, 23, 23, tzinfo=UTC))
        Limit.objects.filter(pk=limit.pk).update(tokens_per_day=2_000)
        assert spend(clock, company)


@pytest.mark.parametrize(("most", "calls"), [(100, 7), (4, 4), (3, 3), (0, 1)])
def test_of_very_many_calls_as_many_whole_days_are_looked_at_as_fit(
    company: Company, monkeypatch: pytest.MonkeyPatch, most: int, calls: int
) -> None:
    with clock_at(NOON.isoformat()) as clock:
        for days in range(7, 0, -1):
            clock.set((NOON - timedelta(days=days - 1)).isoformat())
            assert spend(clock, company, used=1)
    monkeypatch.setattr(forecasting, "MOST_CALLS", most)
    limit = Limit(organization=company.organization, tokens_per_day=0)
    found = forecast(limit, now=NOON + timedelta(hours=1))
    assert (found.calls, found.refused, found.is_shortened) == (calls, calls, most < 7)
    assert found.day == (NOON - timedelta(days=7 if most == 100 else calls - 1)).date()
    assert Reservation.objects.filter(organization_id=company.organization.pk).count() == 7
