"""What the tests of the door share: a question, a call, and what it has left behind everywhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from audit.events import Event, Outcome
from audit.models import AuditEvent
from departments.calls.answer import Answer
from departments.calls.caller import Caller
from departments.calls.run import Ask, answering, running
from departments.keys.secret import Secret
from departments.limits.models import Reservation, Spent
from departments.models import Department
from tests.company import Company
from tests.provider import Provider

QUESTION = "How many days of leave does the Zanzibar office have?"
CALLS = (Event.CALL_REQUESTED, Event.CALL_ANSWERED, Event.CALL_REFUSED)


def ask(company: Company, **changes: Any) -> Ask:
    """Bob of HR asks `QUESTION`, unless told otherwise."""
    department = Department.objects.select_related("organization").get(pk=company.hr.pk)
    caller = Caller(company.bob.pk, company.bob.name, "192.0.2.7")
    return Ask(**{"department": department, "caller": caller, "question": QUESTION} | changes)


async def made(question: Ask) -> tuple[str, Answer]:
    """The whole text, and the answer with its ending."""
    async with answering(question) as (answer, text):
        return "".join([flush async for flush in text]), answer


async def whole(question: Ask) -> str:
    return (await made(question))[0]


def events(company: Company) -> list[AuditEvent]:
    """What the record holds about the company's calls, in order."""
    found = AuditEvent.objects.filter(organization_id=company.organization.pk, event__in=CALLS)
    return list(found.order_by("at"))


def requests_of(provider: Provider, key: Secret) -> list[dict[str, Any]]:
    """What the provider's own books say of this key."""
    return list(provider.journal(key)["requests"])


async def asked(provider: Provider, key: Secret, *, answered: bool = False) -> None:
    """Returns when the provider has a request with this key, or has answered one."""
    deadline = time.monotonic() + 30
    while not any(entry["finished"] or not answered for entry in requests_of(provider, key)):
        assert time.monotonic() < deadline, "the provider was not asked"
        await asyncio.sleep(0.01)


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Returns when the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def disconnected(provider: Provider, key: Secret) -> bool:
    """Whether the provider has seen us leave, sooner or later."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if requests_of(provider, key)[-1]["finished"]:
            return bool(requests_of(provider, key)[-1]["disconnected"])
        await asyncio.sleep(0.02)
    return False


def assert_ended(company: Company, outcome: Outcome, reason: str, **expected: Any) -> AuditEvent:
    """One call: its two events, its ledger row and the three counters say the same. Returns the second event."""
    requested, answered = events(company)
    assert (requested.event, answered.event) == (Event.CALL_REQUESTED, Event.CALL_ANSWERED)
    assert requested.id == requested.call_id == answered.call_id
    assert (answered.outcome, answered.details["reason"]) == (outcome, reason)
    for name, value in expected.items():
        known = answered.details[name] if name in answered.details else getattr(answered, name)
        assert known == value, name
    reservation = Reservation.objects.get(call_id=answered.call_id)
    assert reservation.settled_at is not None
    assert reservation.tokens_used == answered.tokens_input + answered.tokens_output
    assert spent(company) == dict.fromkeys(("organization", "department", "person"), reservation.tokens_used)
    assert running() == 0
    return answered


def spent(company: Company) -> dict[str, int]:
    ids = [company.organization.pk, company.hr.pk, company.bob.pk]
    return {row.scope: row.tokens for row in Spent.objects.filter(scope_id__in=ids)}


def assert_told(logs: pytest.LogCaptureFixture, key: Secret | None, *words: str) -> None:
    """The operator has a line with these words, at warning or above, and no line holds the key or the question."""
    lines = [record.getMessage() for record in logs.records if record.levelno >= logging.WARNING]
    for word in words:
        assert any(word in line for line in lines), f"{word!r} in {lines}"
    everything = "\n".join([*lines, logs.text])
    assert "Zanzibar" not in everything
    assert key is None or key.reveal() not in everything
    assert key is None or key.reveal()[-12:] not in everything
