"""The ceilings at OpenAI follow ours: a changed limit is a plan, an applied plan is there, and drift is found."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from departments import provisioning
from departments.calls.caller import CallFailed, CallRefused
from departments.keys import drift
from departments.keys.models import Finding, ProviderProject
from departments.limits.models import Limit, ProviderPause
from departments.provisioning import Plan
from tests.company import Company, give_key, set_limit
from tests.departments.calls.calling import ask, events, requests_of, whole
from tests.openai_admin import OpenAICompany
from tests.provider import Provider


@pytest.fixture
def openai(provider: Provider, company: Company) -> Iterator[OpenAICompany]:
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    yield there
    there.behave()


def steps(plan: Plan) -> dict[str, Any]:
    return {change.step: change.after for change in plan.changes}


def row(company: Company) -> ProviderProject:
    return ProviderProject.objects.get(department=company.hr)


def test_a_changed_limit_is_planned_found_as_drift_and_applied(company: Company, openai: OpenAICompany) -> None:
    provisioning.apply(company.hr)
    assert steps(provisioning.plan(company.hr)) == {}
    limit = set_limit(company, department=company.hr, money_per_month=Decimal("123.45"), requests_per_minute=77)
    assert (row(company).monthly_cents, row(company).requests_per_minute) == (12_345, 77)
    assert {"spend_limit", "rate_limits"} <= set(steps(provisioning.plan(company.hr)))
    found = drift.check(company.hr)
    assert isinstance(found, list)
    assert {Finding.Kind.SPEND_LIMIT, Finding.Kind.RATE_LIMITS} <= {finding.kind for finding in found}
    provisioning.apply(company.hr)
    assert drift.check(company.hr) == []
    limit.money_per_month = Decimal(50)
    limit.save()
    assert set(steps(provisioning.plan(company.hr))) >= {"spend_limit"}


@pytest.mark.parametrize(("dollars", "cents"), [("0.0049", 1), ("12.345", 1_235), ("12.34", 1_234), ("0", 0)])
def test_a_part_of_a_cent_is_no_limit_of_nothing_there(
    company: Company, openai: OpenAICompany, dollars: str, cents: int
) -> None:
    provisioning.plan(company.hr)
    set_limit(company, department=company.hr, money_per_month=Decimal(dollars))
    assert row(company).monthly_cents == cents


def test_the_lower_one_of_department_and_company_is_carried_over(company: Company, openai: OpenAICompany) -> None:
    provisioning.plan(company.hr)
    set_limit(company, money_per_month=40, requests_per_minute=500)
    set_limit(company, department=company.hr, money_per_month=60, requests_per_minute=300)
    assert (row(company).monthly_cents, row(company).requests_per_minute) == (4_000, 300)
    set_limit(company, model=company.hr.model, requests_per_minute=20)
    assert row(company).requests_per_minute == 20
    Limit.objects.get(organization=company.organization, model=company.hr.model).delete()
    assert row(company).requests_per_minute == 300


def test_a_persons_limit_and_another_departments_change_nothing_there(company: Company, openai: OpenAICompany) -> None:
    provisioning.plan(company.hr)
    before = (row(company).monthly_cents, row(company).requests_per_minute)
    set_limit(company, person=company.bob, money_per_month=1, requests_per_minute=1)
    set_limit(company, department=company.finance, money_per_month=1, requests_per_minute=1)
    set_limit(company, department=company.hr, tokens_per_day=5)
    assert (row(company).monthly_cents, row(company).requests_per_minute) == before


async def test_after_the_providers_spend_limit_no_call_is_made_in_vain(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "error", status=429, code="project_spend_limit_exceeded")
    with pytest.raises(CallFailed, match="spend limit"):
        await whole(ask(company))
    sent = len(requests_of(provider, key))
    for _ in range(3):
        with pytest.raises(CallRefused, match="ChatGrid tries again at") as refused:
            await whole(ask(company))
        assert 500 < (refused.value.retry_after or 0) <= 600
    assert len(requests_of(provider, key)) == sent
    assert events(company)[-1].details["measure"] == "provider"
    provider.misbehave(key, "long", times=1)
    set_limit(company, department=company.hr, money_per_month=100)  # somebody raised it: it is tried at once
    assert not await ProviderPause.objects.filter(department=company.hr).aexists()
