"""The meter: what a person sees of their day, and which ceiling they are told about."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from departments.calls.meter import Meter, ameter_of, meter_of
from departments.limits.models import Spent
from departments.models import Department
from tests.company import Company, set_limit


def meter(company: Company) -> Meter:
    return meter_of(company.bob, company.organization, company.hr)


def spend(scope: str, scope_id: object, tokens: int) -> None:
    today = datetime.now(ZoneInfo("Europe/Berlin")).date()
    Spent.objects.create(scope=scope, scope_id=scope_id, day=today, tokens=tokens)


def test_without_a_limit_it_counts_and_never_warns(company: Company) -> None:
    spend("person", company.bob.pk, 1_000)
    assert (meter(company).used, meter(company).limit, meter(company).warning) == (1_000, None, False)


def test_a_person_sees_their_own_ceiling_first(company: Company) -> None:
    set_limit(company, tokens_per_day=1_000_000, person_tokens_per_day=10_000)
    spend("organization", company.organization.pk, 500_000)
    found = meter(company)
    assert (found.scope, found.used, found.limit, found.percent) == ("person", 0, 10_000, 0)


@pytest.mark.parametrize(("scope", "used"), [("department", 900), ("organization", 9_000)])
def test_a_ceiling_around_them_that_is_nearly_reached_comes_first(company: Company, scope: str, used: int) -> None:
    set_limit(company, tokens_per_day=10_000, person_tokens_per_day=5_000)
    set_limit(company, department=company.hr, tokens_per_day=1_000)
    spend(scope, company.hr.pk if scope == "department" else company.organization.pk, used)
    assert (meter(company).scope, meter(company).percent, meter(company).warning) == (scope, 90, True)


def test_the_persons_own_row_wins_over_the_defaults(company: Company) -> None:
    set_limit(company, person_tokens_per_day=10_000)
    set_limit(company, department=company.hr, person_tokens_per_day=20_000)
    assert meter(company).limit == 20_000
    set_limit(company, person=company.bob, tokens_per_day=5_000)
    assert meter(company).limit == 5_000


def test_it_resets_at_the_organizations_midnight(company: Company) -> None:
    resets = meter(company).resets_at
    assert (resets.hour, resets.minute) == (0, 0)
    assert str(resets.tzinfo) == "Europe/Berlin"


async def test_the_chat_path_reads_the_same(company: Company) -> None:
    set_limit(company, person_tokens_per_day=10_000)
    spend("person", company.bob.pk, 8_000)
    department = Department.objects.select_related("organization").get(pk=company.hr.pk)
    found = await ameter_of(company.bob, department)
    assert (found.used, found.limit, found.warning, found.exhausted) == (8_000, 10_000, True, False)
