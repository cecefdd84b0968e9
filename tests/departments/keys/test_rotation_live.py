"""Rotation while people chat, against the simulator over HTTP: no call fails, and figures for an emergency."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections

from audit.events import Event, Outcome
from audit.models import AuditEvent
from departments.calls.caller import CallEndedEarly, Caller
from departments.calls.run import Ask, answering
from departments.keys import rotation as rotating
from departments.keys import triggers
from departments.keys.provisioning import apply
from departments.keys.reader import current_vault, key_name
from departments.keys.rotation import default_tools
from departments.keys.rotation_models import Rotation
from departments.keys.secret import Secret
from departments.models import Department
from tests.company import Company
from tests.openai_admin import OpenAICompany
from tests.provider import Provider

Result, Step = Rotation.Result, Rotation.Step
PEOPLE = 8


@pytest.fixture
def openai(provider: Provider, company: Company, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAICompany]:
    """The company's own organization at OpenAI, and HR's project and key in it."""
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)  # the tests are the worker
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    apply(company.hr)
    yield there
    there.behave()


def current_key(department: Department) -> Secret:
    return Secret(json.loads(current_vault().get_current(key_name(department)).value.reveal())["api_key"])


def turned_ahead(rotation: Rotation) -> None:
    """A worker whose clock is where the rotation wants it, so that an hour of waiting takes no time."""
    clock = Ahead()
    for _ in range(100):
        rotating.advance(rotation.pk, replace(default_tools(), now=clock.now))
        rotation.refresh_from_db()
        if rotation.closed_at:
            return
        clock.reach(rotation.not_before or datetime.now(UTC))
    raise AssertionError(f"{rotation.step}: {rotation.problem}")


class Ahead:
    """A clock that goes as the real one does, and can be put forward."""

    by = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by

    def reach(self, moment: datetime) -> None:
        self.by = max(self.by, moment - datetime.now(UTC) + timedelta(seconds=1))


def in_real_time(rotation: Rotation, seconds: float) -> None:
    """What the Celery task does: come back after as many seconds as the rotation asks for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        wait = rotating.advance(rotation.pk)
        if wait is None:
            break
        time.sleep(max(0.2, wait))
    rotation.refresh_from_db()


async def test_five_rotations_during_a_run_of_chats_fail_no_call(company: Company, openai: OpenAICompany) -> None:
    stop = asyncio.Event()
    talks = [asyncio.create_task(chat(company, stop)) for _ in range(PEOPLE)]
    rotations = []
    for trigger in ("button", "leak", "person_left", "leak", "schedule"):
        await asyncio.sleep(0.5)
        rotations.append(await asyncio.to_thread(_rotate, company.hr, trigger))
    await asyncio.sleep(0.5)
    stop.set()
    outcomes = [outcome for talk in await asyncio.gather(*talks) for outcome in talk]
    assert [rotation.result for rotation in rotations] == [Result.DONE] * 5
    assert set(outcomes) == {Outcome.ANSWERED}
    assert len(outcomes) > 5 * PEOPLE, "there was hardly any load"
    used = AuditEvent.objects.filter(department_id=company.hr.pk, event=Event.CALL_REQUESTED, purpose="chat")
    assert used.values("key_version").distinct().order_by().count() > 3, "the calls did not meet the rotations"


def _rotate(department: Department, trigger: str) -> Rotation:
    try:
        rotation = rotating.start(department, trigger)
        turned_ahead(rotation)
        return rotation
    finally:
        connections.close_all()


# seconds between two questions: without it the project's own 600 requests a minute would be the load's limit
READING = 0.15


async def chat(company: Company, stop: asyncio.Event) -> list[str]:
    """One person's questions, one after the other, and how each ended."""
    outcomes: list[str] = []
    caller = Caller(company.bob.pk, company.bob.name)
    while not stop.is_set():
        department = await Department.objects.select_related("organization").aget(pk=company.hr.pk)
        try:
            async with answering(Ask(department=department, caller=caller, question="How much leave?")) as (
                answer,
                text,
            ):
                async for _ in text:
                    pass
            outcomes.append(answer.ending.outcome if answer.ending else "no ending")
        except CallEndedEarly as failure:
            outcomes.append(failure.reason)
        await asyncio.sleep(READING)
    return outcomes


@pytest.mark.parametrize("stale_seconds", [0.0, 3.0])
def test_in_an_emergency_the_new_key_lives_within_30_seconds_and_the_old_one_dies_within_60(
    company: Company, openai: OpenAICompany, stale_seconds: float
) -> None:
    openai.settle(stale_seconds=stale_seconds)
    old = current_key(company.hr)
    pressed = time.monotonic()
    rotation = triggers.suspect_leak(company.hr)
    in_real_time(rotation, 60)
    assert rotation.result == Result.DONE
    live = (rotation.announced_at - rotation.started_at).total_seconds()
    print(f"new key live after {live:.1f} s, old key refused after {time.monotonic() - pressed:.1f} s")  # noqa: T201
    assert live < 30
    assert time.monotonic() - pressed < 60
    assert openai.asks(old) == 401
    assert openai.asks(current_key(company.hr)) == 200


def test_the_trial_of_a_new_key_is_in_the_record_like_every_call(company: Company, openai: OpenAICompany) -> None:
    rotation = rotating.start(company.hr, "leak")
    in_real_time(rotation, 60)
    trials = AuditEvent.objects.filter(department_id=company.hr.pk, purpose="key_check").order_by("at")
    assert [event.event for event in trials] == [Event.CALL_REQUESTED, Event.CALL_ANSWERED] * 2
    assert all(event.key_version == str(rotation.pk) for event in trials)
    assert trials[1].tokens_input > 0


@pytest.mark.parametrize(
    ("when", "how", "method", "path"),
    [
        ("after", "cut", "POST", "api_keys$"),
        ("before", "cut", "POST", "api_keys$"),
        ("after", "error", "POST", "api_keys$"),
        ("after", "cut", "DELETE", "api_keys"),
        ("before", "error", "DELETE", "api_keys"),
    ],
)
def test_one_key_remains_whatever_the_admin_api_does(
    company: Company, openai: OpenAICompany, when: str, how: str, method: str, path: str
) -> None:
    openai.order(when, how, method=method, path=path)
    rotation = rotating.start(company.hr, "leak")
    in_real_time(rotation, 60)
    assert rotation.result == Result.DONE
    keys = openai.get(f"projects/{rotation.project_id}/api_keys?owner_project_access=any")["data"]
    assert [key["id"] for key in keys] == [rotation.new_key_id]


def test_where_keys_cannot_be_deleted_alone_the_account_goes(company: Company, openai: OpenAICompany) -> None:
    old = current_key(company.hr)
    openai.settle(refuses_key_deletion=True)
    first = rotating.start(company.hr, "leak")
    in_real_time(first, 30)
    assert first.result == Result.SUPERSEDED
    second = Rotation.objects.get(department=company.hr, closed_at=None)
    in_real_time(second, 30)
    assert second.result == Result.DONE
    assert openai.asks(old) == 401
    keys = openai.get(f"projects/{second.project_id}/api_keys?owner_project_access=any")["data"]
    assert [key["id"] for key in keys] == [second.new_key_id]


def test_a_key_of_one_department_never_reaches_another(company: Company, openai: OpenAICompany) -> None:
    apply(company.finance)
    finance = current_key(company.finance)
    in_real_time(rotating.start(company.hr, "leak"), 60)
    assert current_key(company.finance) == finance
    assert openai.asks(finance) == 200
