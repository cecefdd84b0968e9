"""What the step costs: reserve and record before a call, settle and record after it. `make bench` prints it.

Alone, among 50 people in departments of their own, and among 50 people of one hot department; every kind of ceiling is
set. Each side is one round trip: admission with its request event, settlement with its response event and the meter.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from uuid import uuid4

import pytest

from audit.events import Outcome
from chatgrid.accounts.models import User
from departments.calls.booking import Booking, Result, reserve_and_record, settle_and_record
from departments.calls.caller import Caller, Purpose
from departments.calls.events import Usage
from departments.keys.reader import ProviderKey
from departments.keys.secret import Secret
from departments.models import Department
from tests.bench.load import percentile
from tests.company import Company, set_limit

PEOPLE = 50
ROUNDS = {"alone": (1, 300), "50 people": (PEOPLE, 20), "one hot department": (PEOPLE, 20)}
USED = Result(outcome=Outcome.ANSWERED, usage=Usage(100, 50), cost=Decimal("0.001"), model="m", attempts=1, total_ms=9)


def bounded(company: Company) -> None:
    """Every kind of ceiling at once, none of them reached."""
    every = {"tokens_per_day": 10**12, "tokens_per_month": 10**12, "money_per_day": 10**8, "money_per_month": 10**8}
    every |= {"requests_per_minute": 10**6, "answers_at_once": 10**6}
    each = {f"person_{name}": value for name, value in every.items()}
    set_limit(company, **every, **each)
    for department in Department.objects.filter(organization=company.organization):
        set_limit(company, department=department, **every, **each)


def departments(company: Company, count: int) -> list[Department]:
    made = [
        Department(organization=company.organization, slug=f"d{number}", name=f"D{number}") for number in range(count)
    ]
    return Department.objects.bulk_create(made)


def people(company: Company) -> list[User]:
    mark = uuid4().hex[:8]
    made = [
        User(email=f"p{number}-{mark}@x.example", name=f"P{number}", organization=company.organization)
        for number in range(PEOPLE)
    ]
    return User.objects.bulk_create(made)


async def person(department: Department, who: User, calls: int, times: dict[str, list[float]]) -> None:
    key = ProviderKey(Secret("x"), "version", "fingerprint")
    for _ in range(calls):
        booking = Booking(
            department=department,
            caller=Caller(who.pk, who.name),
            purpose=Purpose.CHAT,
            model="m",
            key=key,
            prompt=100,
            wanted=100,
            price_input=Decimal(1),
            price_output=Decimal(5),
        )
        started = time.perf_counter()
        await reserve_and_record(booking)
        reserved = time.perf_counter()
        assert await settle_and_record(booking, USED) is not None
        times["reserve"].append((reserved - started) * 1e3)
        times["settle"].append((time.perf_counter() - reserved) * 1e3)


@pytest.mark.parametrize("load", ROUNDS)
async def test_the_step(company: Company, load: str) -> None:
    count, calls = ROUNDS[load]
    places = [company.hr] if load == "one hot department" else departments(company, count)
    bounded(company)
    everybody = people(company)[:count]
    times: dict[str, list[float]] = {"reserve": [], "settle": []}
    await asyncio.gather(*(person(places[0], who, 8, {"reserve": [], "settle": []}) for who in everybody[:12]))  # warm
    started = time.perf_counter()
    await asyncio.gather(
        *(person(places[number % len(places)], who, calls, times) for number, who in enumerate(everybody))
    )
    seconds = time.perf_counter() - started
    told = ", ".join(
        f"{side} p50 {percentile(found, 50):.2f} ms p95 {percentile(found, 95):.2f} ms" for side, found in times.items()
    )
    print(f"\nthe step, {load}: {told}; {count * calls / seconds:.0f} calls a second")
