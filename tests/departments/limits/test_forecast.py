"""What a limit would have refused last week agrees with what it does refuse, and with a count by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from departments.limits.forecast import Forecast, forecast
from departments.limits.models import Limit
from tests.company import Company, set_limit
from tests.departments.limits.reserving import clock_at, request

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
PRICES = {"price_input": Decimal(1), "price_output": Decimal(1)}


def happened(company: Company, calls: list[tuple[datetime, dict[str, Any]]], used: int = 100) -> None:
    """Calls of the past: each is admitted at its moment and uses so many tokens."""
    with clock_at(NOW.isoformat()) as clock:
        for moment, changes in calls:
            clock.set(moment.isoformat())
            asked = request(company, **PRICES, **changes)
            assert clock.admit(asked)[0]
            clock.set((moment + timedelta(seconds=20)).isoformat())
            assert clock.settle(asked, used)


def would(company: Company, **fields: Any) -> Forecast:
    return forecast(Limit(organization=company.organization, **fields), now=NOW)


def minutes(count: int, start: datetime = NOW - timedelta(hours=3)) -> list[tuple[datetime, dict[str, Any]]]:
    return [(start + timedelta(minutes=number), {}) for number in range(count)]


def test_a_budget_refuses_what_does_not_fit_and_names_who_and_when(company: Company) -> None:
    calls = [*minutes(5), (NOW - timedelta(hours=1), {"person_id": company.alice.pk})]
    happened(company, calls)
    found = would(company, tokens_per_day=300)
    assert (found.calls, found.refused, found.by_field) == (6, 3, {"tokens_per_day": 3})
    assert found.people == ((company.bob.pk, 2), (company.alice.pk, 1))
    assert found.first == calls[3][0]
    assert would(company, tokens_per_day=600).refused == 0
    assert would(company).refused == 0


def test_a_day_is_one_of_the_organizations_and_a_week_has_seven_and_today(company: Company) -> None:
    midnight = datetime(2026, 11, 22, 23, tzinfo=UTC)  # in Berlin
    around = [midnight - timedelta(minutes=1), midnight + timedelta(minutes=1)]
    old = [datetime(2026, 11, 15, 22, 59, tzinfo=UTC), datetime(2026, 11, 15, 23, 1, tzinfo=UTC)]
    happened(company, [(moment, {}) for moment in old + around])
    assert would(company, tokens_per_day=100).refused == 0
    assert would(company, tokens_per_day=100).calls == 3


def test_a_month_counts_what_was_spent_before_the_week(company: Company) -> None:
    happened(company, minutes(4, datetime(2026, 11, 3, 12, tzinfo=UTC)) + minutes(2))
    assert would(company, tokens_per_month=500).refused == 1
    assert would(company, tokens_per_month=600).refused == 0
    assert would(company, person=company.bob, tokens_per_month=500).refused == 1
    assert would(company, department=company.hr, person_tokens_per_month=400).refused == 2
    assert would(company, department=company.finance, tokens_per_month=0).calls == 0


@pytest.mark.parametrize(("field", "ceiling", "refused"), [("requests_per_minute", 2, 4), ("answers_at_once", 1, 3)])
def test_rates_slide_and_answers_end(company: Company, field: str, ceiling: int, refused: int) -> None:
    # six questions ten seconds apart; each is answered after 20 s
    moments = [NOW - timedelta(hours=1) + timedelta(seconds=10 * number) for number in range(6)]
    calls = [request(company) for _ in moments]
    with clock_at(NOW.isoformat()) as clock:
        for moment, call in zip(moments, calls, strict=True):
            clock.set(moment.isoformat())
            assert clock.admit(call)[0]
        for moment, call in zip(moments, calls, strict=True):
            clock.set((moment + timedelta(seconds=20)).isoformat())
            assert clock.settle(call, 1)
    assert would(company, **{field: ceiling}).refused == refused
    assert would(company, **{f"person_{field}": ceiling}).refused == refused


def test_money_counts_at_the_price_of_then(company: Company) -> None:
    happened(company, minutes(3))
    assert would(company, money_per_day=Decimal("0.0004")).refused == 1  # reserved: $0.0002 each, nothing was billed
    assert would(company, money_per_day=Decimal("0.0006")).refused == 0


def test_an_allowance_passes_by_who_has_something_nearer(company: Company) -> None:
    happened(company, minutes(3) + [(NOW - timedelta(hours=1), {"person_id": company.carol.pk})] * 3)
    assert would(company, person_tokens_per_day=100).refused == 4
    set_limit(company, person=company.bob, tokens_per_day=10_000)
    assert would(company, person_tokens_per_day=100).people == ((company.carol.pk, 2),)
    set_limit(company, department=company.hr, person_tokens_per_day=10_000)
    assert would(company, person_tokens_per_day=100).refused == 0


def test_another_companys_calls_are_not_looked_at(company: Company, other_company: Company) -> None:
    happened(other_company, minutes(3))
    assert would(company, tokens_per_day=0).calls == 0


def test_a_model_of_the_past_counts_for_its_own_rate(company: Company) -> None:
    happened(company, [(moment, {"model": "m"}) for moment, _ in minutes(1)] + minutes(1))
    found = would(company, model="m", requests_per_minute=0)
    assert (found.calls, found.refused) == (1, 1)
