"""Estimates are corrected by what was reported, and the ledger keeps what is needed and no more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from departments.calls import catalogue
from departments.calls.caller import CallFailed
from departments.limits import upkeep
from departments.limits.models import Correction, Reservation, Spent
from tests.company import Company, give_key
from tests.departments.calls.calling import ask, whole
from tests.provider import Provider


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    """What these tests teach about models holds for every company: other tests count on their estimates as they are."""
    yield
    Correction.objects.all().delete()
    catalogue._read_at = float("-inf")


def past(company: Company, age: timedelta, **changes: Any) -> Reservation:
    now = timezone.now()
    return Reservation.objects.create(
        **{
            "call_id": uuid4(),
            "organization_id": company.organization.pk,
            "department_id": company.hr.pk,
            "person_id": company.bob.pk,
            "purpose": "chat",
            "day": (now - age).date(),
            "admitted_at": now - age,
            "lease_until": now - age,
            "tokens_prompt": 100,
            "tokens_reserved": 200,
            "tokens_counted": 100,
            "tokens_input": 100,
            "settled_at": now - age,
        }
        | changes
    )


async def test_an_estimate_is_corrected_by_the_largest_recent_ratio(company: Company, provider: Provider) -> None:
    model = f"local-{company.hr.pk}"
    minute = timedelta(minutes=1)
    for number in range(upkeep.FEWEST_CALLS):
        past(company, number * minute, model=model, tokens_input=120 + number)
    past(company, minute, model=model, tokens_input=900, estimated=True)  # our own count teaches nothing
    past(company, timedelta(days=20), model=model, tokens_input=900)  # nor what is long ago
    past(company, minute, model=f"rare-{company.hr.pk}", tokens_input=300)
    upkeep.learn_corrections()
    learned = await Correction.objects.aget(model=model)
    assert abs(learned.ratio - 1.39 * upkeep.MARGIN) < 0.001
    assert not await Correction.objects.filter(model=f"rare-{company.hr.pk}").aexists()

    give_key(company.hr)
    company.hr.model = model
    company.hr.save()
    catalogue._read_at = float("-inf")
    with pytest.raises(CallFailed):  # admitted; the provider does not know the model
        await whole(ask(company))
    row = await Reservation.objects.filter(person_id=company.bob.pk).alatest("admitted_at")
    assert row.tokens_prompt == -int(-row.tokens_counted * learned.ratio // 1)


def test_old_reservations_are_pruned_and_running_ones_and_counters_stay(company: Company) -> None:
    kept = past(company, timedelta(days=upkeep.RESERVATION_DAYS - 1))
    running = past(company, timedelta(days=upkeep.RESERVATION_DAYS + 1), settled_at=None)
    past(company, timedelta(days=upkeep.RESERVATION_DAYS + 1))
    today = timezone.now().date()
    for age in (0, upkeep.COUNTER_DAYS - 1, upkeep.COUNTER_DAYS + 1):
        Spent.objects.create(scope="person", scope_id=company.bob.pk, day=today - timedelta(days=age), tokens=1)
    assert upkeep.prune() >= 2
    left = Reservation.objects.filter(organization_id=company.organization.pk).values_list("pk", flat=True)
    assert set(left) == {kept.pk, running.pk}
    assert Spent.objects.filter(scope_id=company.bob.pk).count() == 2
    running.delete()
