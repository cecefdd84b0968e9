"""A leaked key: planted, found by the next comparison, named, and rotated by the click."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from audit.reconciliation import Reason
from departments.keys import usage_check
from departments.keys.models import KeyReference
from departments.keys.provisioning import apply
from departments.keys.reader import current_vault, key_name
from departments.keys.rotation_models import Rotation
from departments.keys.secret import Secret
from departments.keys.triggers import suspect_leak
from departments.models import Department
from tests.company import Company
from tests.departments.calls.calling import ask, whole
from tests.openai_admin import OpenAICompany
from tests.provider import Provider


@pytest.fixture
def openai(provider: Provider, company: Company) -> Iterator[OpenAICompany]:
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    apply(company.hr)
    yield there
    there.behave()


def the_key(department: Department) -> Secret:
    """As a thief has it."""
    department = Department.objects.select_related("organization").get(pk=department.pk)
    value = current_vault().get_current(key_name(department)).value
    return Secret(json.loads(value.reveal())["api_key"])


def alarms(company: Company) -> list[AuditEvent]:
    found = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.USAGE_UNEXPLAINED)
    return list(found.order_by("at"))


async def test_our_own_calls_raise_no_alarm(company: Company, openai: OpenAICompany) -> None:
    await whole(ask(company))
    assert usage_check.check(company.organization) == []
    assert alarms(company) == []


async def test_calls_with_a_stolen_key_are_found_named_and_rotated(company: Company, openai: OpenAICompany) -> None:
    await whole(ask(company))
    for _ in range(3):
        assert openai.asks(the_key(company.hr)) == 200
    (alarm,) = usage_check.check(company.organization)
    assert (alarm.reason, alarm.requests) == (Reason.LEAKED_KEY, 3)
    reference = KeyReference.objects.get(department=company.hr)
    assert alarm.key_id == reference.key_id
    (event,) = alarms(company)
    assert event.details["requests"] == 3
    assert event.details["hours"]
    (department,) = usage_check.departments_of([alarm])
    assert department == company.hr
    assert suspect_leak(department).mode == Rotation.Mode.EMERGENCY


async def test_the_same_leak_is_told_once_and_again_when_it_grows(company: Company, openai: OpenAICompany) -> None:
    openai.asks(the_key(company.hr))
    assert len(usage_check.check(company.organization)) == 1
    assert usage_check.check(company.organization) == []
    openai.asks(the_key(company.hr))
    assert len(usage_check.check(company.organization)) == 1
    assert [event.details["requests"] for event in alarms(company)] == [1, 2]


def test_a_key_that_was_rotated_away_and_still_works_has_its_own_reason(
    company: Company, openai: OpenAICompany
) -> None:
    reference = KeyReference.objects.get(department=company.hr)
    openai.asks(the_key(company.hr))
    KeyReference.objects.filter(pk=reference.pk).update(key_id="key_new", fingerprint="f" * 16)
    long_ago = timezone.now() - timedelta(days=2)
    Rotation.objects.create(
        department=company.hr,
        trigger=Rotation.Trigger.SCHEDULE,
        secret_name=reference.secret_name,
        project_id=reference.project_id,
        old_key_id=reference.key_id,
        old_fingerprint=reference.fingerprint,
        result=Rotation.Result.DONE,
        started_at=long_ago,
        step_since=long_ago,
        closed_at=long_ago,
    )
    assert [alarm.reason for alarm in usage_check.check(company.organization)] == [Reason.DELETED_KEY]


def test_a_provider_that_is_away_is_an_error_for_the_operator_and_no_alarm(
    company: Company, openai: OpenAICompany, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from departments.keys.admin_api import AdminUnavailable

    def away(*_: object) -> None:
        raise AdminUnavailable("OpenAI does not answer.")

    monkeypatch.setattr(usage_check, "read_usage", away)
    assert usage_check.check_all() == []
    assert "was not compared" in caplog.text
