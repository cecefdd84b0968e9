"""A leaked key: planted, found by the next comparison, named, and rotated by the click."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.urls import reverse
from django.utils import timezone

from audit.differences import Reason
from audit.events import Event
from audit.models import AuditEvent
from audit.writer import Entry, record
from departments.keys import drift, rotation_worker, usage_check, usage_findings
from departments.keys import rotation as rotating
from departments.keys.models import Finding, KeyReference, ProviderProject
from departments.keys.provisioning import apply
from departments.keys.reader import current_vault, key_name
from departments.keys.rotation import By
from departments.keys.rotation_models import Rotation
from departments.keys.secret import Secret
from departments.keys.trial import Verdict
from departments.models import Department
from tests.company import Company, freshly_signed_in
from tests.departments.calls.calling import ask, whole
from tests.departments.keys.rotating import run
from tests.openai_admin import OpenAICompany
from tests.provider import Provider


@pytest.fixture
def openai(provider: Provider, company: Company, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAICompany]:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)  # the tests are the worker
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    apply(company.hr)
    yield there
    there.behave()


def the_key(department: Department) -> Secret:
    """As a thief has it."""
    department = Department.objects.select_related("organization").get(pk=department.pk)
    value = current_vault().get_current(key_name(department)).value
    return Secret(json.loads(value.reveal())["api_key"])


def to_its_end(rotation: Rotation) -> None:
    """For a thread of its own, which closes what it opens."""
    try:
        assert run(rotation).result == Rotation.Result.DONE
    finally:
        connections.close_all()


def paste(company: Company, openai: OpenAICompany) -> Secret:
    """A key that somebody makes in OpenAI's dashboard and pastes, until the department uses it."""
    row = ProviderProject.objects.get(department=company.hr)
    with openai.colleague("alice@acme.example").api() as api:
        made = api.create_key(row.project_id, row.service_account_id, "by hand", expires_in=timedelta(days=90))
    run(rotating.start_pasted(company.hr, made.value, By(company.alice.pk, "Alice")))
    return made.value


def hand_over(first: Rotation, company: Company) -> Rotation:
    """Somebody suspects the new key while the first exchange has only its proof left."""
    rotating.start(company.hr, "leak")
    Rotation.objects.filter(pk=first.pk).update(not_before=None)
    rotating.advance(first.pk)
    first.refresh_from_db()
    assert first.result == Rotation.Result.HANDED_OVER
    return Rotation.objects.get(department=company.hr, closed_at=None)


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
    assert alarm.amount is not None
    assert alarm.amount > 0
    finding = Finding.objects.get(department=company.hr, closed_at=None)
    assert finding.kind == Finding.Kind.LEAKED_KEY
    assert "Human Resources" in finding.sentence
    assert "3 requests" in finding.sentence
    assert "about $" in finding.sentence
    assert f"{timezone.now():%Y-%m-%d %H}:00 UTC" in finding.sentence
    client = await freshly_signed_in(company.ivan)
    address = reverse("admin:keys_finding_change", args=[finding.pk])
    page = (await client.get(address)).content.decode()
    assert "Rotate this key now" in page
    assert "calls with this key that ChatGrid did not make: 3 requests" in page
    stolen = the_key(company.hr)
    assert (await client.post(reverse("admin:keys_finding_repair", args=[finding.pk]))).status_code == 302
    rotation = Rotation.objects.get(department=company.hr)
    assert (rotation.mode, rotation.trigger) == (Rotation.Mode.EMERGENCY, Rotation.Trigger.LEAK)
    assert rotation.started_by_id == company.ivan.pk
    await asyncio.to_thread(to_its_end, rotation)
    assert openai.asks(stolen) == 401
    await whole(ask(company))
    assert usage_check.check(company.organization) == []
    finding.refresh_from_db()
    assert finding.closed_how == "repaired"
    written = AuditEvent.objects.filter(organization_id=company.organization.pk)
    assert written.filter(event=Event.LEAK_CLOSED, subject_id=str(finding.pk)).exists()


async def test_the_click_is_not_the_auditor_s(company: Company, openai: OpenAICompany) -> None:
    openai.asks(the_key(company.hr))
    usage_check.check(company.organization)
    finding = Finding.objects.get(department=company.hr)
    for person, status in ((company.ada, 403), (company.bob, 403), (company.ivan, 302)):
        client = await freshly_signed_in(person)
        assert (await client.post(reverse("admin:keys_finding_repair", args=[finding.pk]))).status_code == status
    assert Rotation.objects.filter(department=company.hr).count() == 1


def test_a_leak_stays_open_until_the_key_is_exchanged_and_a_look_at_the_project_does_not_close_it(
    company: Company, openai: OpenAICompany
) -> None:
    openai.asks(the_key(company.hr))
    usage_check.check(company.organization)
    drift.check(company.hr)
    usage_check.check(company.organization, timezone.now() + timedelta(days=20))
    assert [each.kind for each in Finding.objects.filter(department=company.hr, closed_at=None)] == ["leaked_key"]


def test_a_bill_that_is_complete_tells_what_a_leak_cost(company: Company, openai: OpenAICompany) -> None:
    reference = KeyReference.objects.get(department=company.hr)
    the_day_before_yesterday = timezone.now() - timedelta(days=2)
    openai.add_usage(
        at=the_day_before_yesterday.timestamp(),
        kind="completions",
        project=reference.project_id,
        key=reference.key_id,
        model="gpt-6-luna",
        requests=40,
        prompt_tokens=1_000_000,
        completion_tokens=2_000_000,
    )
    (alarm,) = usage_check.check(company.organization)
    assert (alarm.amount, alarm.is_billed) == (Decimal("1.1"), True)
    finding = Finding.objects.get(department=company.hr)
    assert "40 requests, 3,000,000 tokens, $1.10" in finding.sentence
    assert alarms(company)[0].details["amount"] == "1.10000000"


def test_a_bill_in_another_currency_is_not_taken_for_dollars(
    company: Company, openai: OpenAICompany, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reference = KeyReference.objects.get(department=company.hr)
    openai.add_usage(
        at=(timezone.now() - timedelta(days=2)).timestamp(),
        kind="completions",
        project=reference.project_id,
        key=reference.key_id,
        model="gpt-6-luna",
        requests=40,
        prompt_tokens=1_000_000,
        completion_tokens=2_000_000,
    )
    read = usage_check.read_usage

    def in_euros(*asked: Any) -> usage_check.ProviderCounts:
        counted = read(*asked)
        assert counted is not None
        assert counted.bill
        return replace(counted, bill=[replace(line, currency="EUR") for line in counted.bill])

    monkeypatch.setattr(usage_check, "read_usage", in_euros)
    (alarm,) = usage_check.check(company.organization)
    assert (alarm.requests, alarm.amount, alarm.is_billed) == (40, None, False)
    assert "not in US dollars" in caplog.text


def test_each_complete_day_is_told_once_and_once_more_when_it_is_final(company: Company, openai: OpenAICompany) -> None:
    noon = timezone.now().replace(hour=12, minute=30)
    for now in (noon, noon, noon + timedelta(days=1)):
        usage_check.check(company.organization, now)
    told = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.USAGE_COMPARED)
    subjects = list(told.values_list("subject_id", flat=True))
    yesterday, before = noon.date() - timedelta(days=1), noon.date() - timedelta(days=3)
    assert sorted(subjects) == sorted(set(subjects))
    assert {str(yesterday), f"{before} final", str(noon.date())} <= set(subjects)


def test_usage_in_a_project_of_somebody_else_is_named_and_no_alarm(company: Company, openai: OpenAICompany) -> None:
    other = openai.post("projects", {"name": "The marketing team's own"})
    two_days_ago = timezone.now() - timedelta(days=2)
    openai.add_usage(
        at=two_days_ago.timestamp(),
        kind="completions",
        project=other["id"],
        key="key_of_theirs",
        model="gpt-6-luna",
        requests=7,
        prompt_tokens=7_000,
        completion_tokens=700,
    )
    assert usage_check.check(company.organization, timezone.now() + timedelta(days=1)) == []
    told = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.USAGE_COMPARED)
    reasons = [event.details["reasons"] for event in told]
    assert {"foreign_project": 1} in reasons


def test_a_key_that_is_not_ours_in_our_project_is_a_finding_and_its_repair_deletes_it(
    company: Company, openai: OpenAICompany
) -> None:
    reference = KeyReference.objects.get(department=company.hr)
    made = openai.post(
        f"projects/{reference.project_id}/service_accounts/{reference.service_account_id}/api_keys",
        {"name": "somebody's own"},
    )
    assert openai.asks(Secret(made["value"])) == 200
    usage_check.check(company.organization)
    finding = Finding.objects.get(department=company.hr, kind=Finding.Kind.FOREIGN_USE)
    drift.repair_by_id(finding.pk)
    assert openai.asks(Secret(made["value"])) == 401
    finding.refresh_from_db()
    assert finding.closed_how == "repaired"
    usage_check.check(company.organization)
    assert not Finding.objects.filter(department=company.hr, kind=Finding.Kind.FOREIGN_USE, closed_at=None).exists()


def test_openai_s_own_log_is_merged_once_and_a_stranger_s_act_is_a_finding(
    company: Company, openai: OpenAICompany
) -> None:
    usage_check.check(company.organization)
    reference = KeyReference.objects.get(department=company.hr)
    stranger = openai.colleague("mallory@acme.example")
    path = f"projects/{reference.project_id}/service_accounts/{reference.service_account_id}/api_keys"
    stranger.post(path, {"name": "just one more"})
    for _ in range(2):
        usage_check.check(company.organization)
    written = AuditEvent.objects.filter(organization_id=company.organization.pk)
    assert written.filter(event=Event.PROVIDER_LOGGED, details__type="project.created").count() == 1
    foreign = written.get(event=Event.PROVIDER_ACT_FOREIGN)
    assert foreign.details["type"] == "api_key.created"
    assert (foreign.actor_name, foreign.client_address) == ("mallory@acme.example", "198.51.100.7")
    assert foreign.department_id == company.hr.pk
    finding = Finding.objects.get(department=company.hr, kind=Finding.Kind.FOREIGN_ACT)
    assert "mallory@acme.example" in finding.sentence
    drift.repair_by_id(finding.pk)
    finding.refresh_from_db()
    assert finding.closed_at is not None


@pytest.mark.parametrize("status", [403, 404])
def test_without_openai_s_log_usage_is_compared_all_the_same(
    company: Company, openai: OpenAICompany, status: int
) -> None:
    openai.order("before", "error", path="audit_logs", status=status, times=9)
    openai.asks(the_key(company.hr))
    assert len(usage_check.check(company.organization)) == 1


async def test_the_same_leak_is_told_once_and_again_when_it_grows(company: Company, openai: OpenAICompany) -> None:
    openai.asks(the_key(company.hr))
    assert len(usage_check.check(company.organization)) == 1
    assert usage_check.check(company.organization) == []
    openai.asks(the_key(company.hr))
    assert len(usage_check.check(company.organization)) == 1
    assert [event.details["requests"] for event in alarms(company)] == [1, 2]


def test_a_second_leak_that_is_smaller_than_the_first_is_a_finding_again(
    company: Company, openai: OpenAICompany
) -> None:
    for _ in range(3):
        openai.asks(the_key(company.hr))
    usage_check.check(company.organization)
    first = Finding.objects.get(department=company.hr)
    run(usage_findings.rotate(first, By(company.ivan.pk, "Ivan")))
    usage_check.check(company.organization)
    openai.asks(the_key(company.hr))
    for _ in range(2):
        usage_check.check(company.organization)
    second = Finding.objects.get(department=company.hr, closed_at=None)
    assert ": 1 request, " in second.sentence
    assert [each["id"] for each in second.evidence["keys"]] == [KeyReference.objects.get(department=company.hr).key_id]


def test_a_leak_that_openai_counts_only_after_the_key_was_exchanged_is_told_and_closed_at_once(
    company: Company, openai: OpenAICompany
) -> None:
    reference = KeyReference.objects.get(department=company.hr)
    run(rotating.start(company.hr, Rotation.Trigger.SCHEDULE))
    openai.add_usage(
        at=(timezone.now() - timedelta(days=1)).timestamp(),
        kind="completions",
        project=reference.project_id,
        key=reference.key_id,
        model="gpt-6-luna",
        requests=40,
        prompt_tokens=10,
        completion_tokens=10,
    )
    for _ in range(2):
        usage_check.check(company.organization)
    finding = Finding.objects.get(department=company.hr)
    assert (finding.kind, finding.closed_how) == (Finding.Kind.LEAKED_KEY, "repaired")
    assert "40 requests" in finding.sentence
    written = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.LEAK_CLOSED)
    assert [event.subject_id for event in written] == [str(finding.pk)]


def test_an_open_finding_keeps_its_first_days_when_only_newer_ones_are_still_compared(
    company: Company, openai: OpenAICompany
) -> None:
    reference = KeyReference.objects.get(department=company.hr)
    now = timezone.now()
    line = {
        "kind": "completions",
        "project": reference.project_id,
        "key": reference.key_id,
        "model": "gpt-6-luna",
        "prompt_tokens": 10,
        "completion_tokens": 10,
    }
    openai.add_usage(at=(now - timedelta(days=4)).timestamp(), requests=40, **line)
    usage_check.check(company.organization, now)
    openai.add_usage(at=now.timestamp(), requests=5, **line)
    usage_check.check(company.organization, now + timedelta(days=2))
    finding = Finding.objects.get(department=company.hr, closed_at=None)
    assert finding.evidence["requests"] == 45
    assert "45 requests" in finding.sentence
    assert f"since {now - timedelta(days=4):%Y-%m-%d}" in finding.sentence


def test_a_call_at_midnight_is_no_leak_when_the_day_before_it_is_no_longer_compared(
    company: Company, openai: OpenAICompany
) -> None:
    reference = KeyReference.objects.get(department=company.hr)
    now = timezone.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    ours = Entry(
        event=Event.CALL_ANSWERED,
        organization_id=company.organization.pk,
        key_fingerprint=reference.fingerprint,
        model_asked="gpt-6-luna",
        tokens_input=10,
        tokens_output=10,
        total_ms=round((now - midnight).total_seconds() * 1000) + 3_000,
    )
    record(ours)
    openai.add_usage(
        at=(midnight + timedelta(seconds=30)).timestamp(),
        kind="completions",
        project=reference.project_id,
        key=reference.key_id,
        model="gpt-6-luna",
        requests=1,
        prompt_tokens=10,
        completion_tokens=10,
    )
    for days in (0, 4, 5):
        assert usage_check.check(company.organization, now + timedelta(days=days)) == []


def test_a_key_that_was_rotated_away_and_still_works_has_its_own_reason(
    company: Company, openai: OpenAICompany
) -> None:
    reference = KeyReference.objects.get(department=company.hr)
    openai.asks(the_key(company.hr))
    KeyReference.objects.filter(pk=reference.pk).update(key_id="key_new", fingerprint="f" * 16)
    long_ago = timezone.now() - timedelta(days=2)
    Rotation.objects.create(
        organization=company.organization,
        department=company.hr,
        trigger=Rotation.Trigger.SCHEDULE,
        secret_name=reference.secret_name,
        project_id=reference.project_id,
        old_version=reference.version,
        old_key_id=reference.key_id,
        old_fingerprint=reference.fingerprint,
        result=Rotation.Result.DONE,
        started_at=long_ago,
        step_since=long_ago,
        closed_at=long_ago,
    )
    assert [alarm.reason for alarm in usage_check.check(company.organization)] == [Reason.DELETED_KEY]


async def test_a_key_that_a_person_pasted_is_ours_to_the_comparison_too(
    company: Company, openai: OpenAICompany
) -> None:
    made = await sync_to_async(paste)(company, openai)
    await whole(ask(company))
    assert usage_check.check(company.organization) == []
    assert openai.asks(made) == 200
    assert [alarm.reason for alarm in usage_check.check(company.organization)] == [Reason.LEAKED_KEY]
    finding = Finding.objects.get(department=company.hr, kind=Finding.Kind.LEAKED_KEY)
    assert finding.evidence["keys"] == [{"id": KeyReference.objects.get(department=company.hr).key_id}]


async def test_our_calls_with_a_key_that_is_being_exchanged_raise_no_alarm(
    company: Company, openai: OpenAICompany
) -> None:
    await whole(ask(company))
    rotation = await sync_to_async(rotating.start)(company.hr, "button")
    await sync_to_async(run)(rotation, Rotation.Step.RETIRE)  # its day of waiting
    await whole(ask(company))
    assert usage_check.check(company.organization) == []


async def test_keys_of_an_exchange_that_handed_its_proof_over_are_known(
    company: Company, openai: OpenAICompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    await whole(ask(company))
    stolen = the_key(company.hr)
    first = await sync_to_async(rotating.start)(company.hr, "person_left")
    with monkeypatch.context() as patched:
        # OpenAI's caches know the deleted key for a while, so only the proof is left
        patched.setattr(rotation_worker, "look", lambda department, key: Verdict.ALIVE)
        await sync_to_async(run)(first, Rotation.Step.PROVE)
        await whole(ask(company))
        second = await sync_to_async(hand_over)(first, company)
    assert usage_check.check(company.organization) == []
    await sync_to_async(run)(second)
    dead = {key.key_id for key in usage_check.keys_of(company.organization) if key.retired_at}
    assert dead == {first.old_key_id, first.new_key_id}
    assert usage_check.check(company.organization) == []
    assert openai.asks(stolen) == 401


def test_a_provider_that_is_away_is_an_error_for_the_operator_and_no_alarm(
    company: Company, openai: OpenAICompany, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from departments.keys.admin_api import AdminUnavailable

    def away(*_: object) -> None:
        raise AdminUnavailable("OpenAI does not answer.")

    monkeypatch.setattr(usage_check, "read_usage", away)
    assert usage_check.check_all() == []
    assert "was not compared" in caplog.text
