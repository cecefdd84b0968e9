"""What somebody changes at OpenAI is found, filed once, and repaired with one click."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEvent
from departments.keys import admin_values, drift, project_key, rotation, tasks
from departments.keys.admin_api import AdminApi, NewKey
from departments.keys.models import Finding, KeyReference, ProviderProject
from departments.keys.patterns import contains_key
from departments.keys.provisioning import ProvisioningStopped, apply, plan
from departments.keys.rotation import By
from departments.keys.rotation_models import Rotation
from departments.keys.secret import Secret
from tests.company import Company
from tests.departments.keys.rotating import Killed, run
from tests.openai_admin import OpenAICompany
from tests.provider import Provider

Tamper = Callable[[AdminApi, ProviderProject], object]


@pytest.fixture
def openai(provider: Provider, company: Company) -> Iterator[OpenAICompany]:
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    apply(company.hr)
    yield there
    there.behave()


@pytest.fixture
def row(openai: OpenAICompany, company: Company) -> ProviderProject:
    return ProviderProject.objects.get(department=company.hr)


def found(company: Company) -> list[Finding]:
    answer = drift.check(company.hr)
    assert isinstance(answer, list)
    return answer


def tampered(openai: OpenAICompany, row: ProviderProject, tamper: Tamper) -> None:
    with openai.api() as api:
        tamper(api, row)


def delete_our_key(api: AdminApi, row: ProviderProject) -> None:
    for key in api.list_keys(row.project_id):
        api.delete_key(row.project_id, key.id)


def widen_rates(api: AdminApi, row: ProviderProject) -> None:
    limit = next(one for one in api.rate_limits(row.project_id) if one.model == "gpt-6-luna")
    api.set_rate_limit(row.project_id, limit.id, requests_per_minute=5_000)


def remove_alerts(api: AdminApi, row: ProviderProject) -> None:
    for alert in api.spend_alerts(row.project_id):
        api.delete_spend_alert(row.project_id, alert.id)


def switch_tools_on(api: AdminApi, row: ProviderProject) -> None:
    api._writes.projects.hosted_tool_permissions.update(row.project_id, web_search={"enabled": True})


TAMPERINGS: dict[str, Tamper] = {
    "project_gone": lambda api, row: api.archive_project(row.project_id),
    "project_renamed": lambda api, row: api.rename_project(row.project_id, "Nothing to see here"),
    "account_gone": lambda api, row: api.delete_service_account(row.project_id, row.service_account_id),
    "key_gone": delete_our_key,
    "models": lambda api, row: api.allow_models(row.project_id, ["gpt-6.2-sol"]),
    "tools": switch_tools_on,
    "spend_limit": lambda api, row: api.remove_spend_limit(row.project_id),
    "spend_alerts": remove_alerts,
    "rate_limits": widen_rates,
    "retention": lambda api, row: api.set_retention(row.project_id, "none"),
}


def test_a_project_as_wanted_has_no_finding(company: Company, row: ProviderProject) -> None:
    assert found(company) == []
    row.refresh_from_db()
    assert row.checked_at is not None


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_a_change_at_openai_is_found_and_repaired(
    company: Company, openai: OpenAICompany, row: ProviderProject, kind: str
) -> None:
    tampered(openai, row, TAMPERINGS[kind])
    findings = {finding.kind: finding for finding in found(company)}
    assert kind in findings
    for finding in findings.values():
        drift.repair(finding, company.ivan.pk, company.ivan.name)
    assert found(company) == []
    assert plan(company.hr) == []
    events = AuditEvent.objects.filter(department_id=company.hr.pk)
    assert events.filter(event="drift:found").count() == len(findings)
    assert events.get(event="drift:repaired", details__kind=kind).actor_name == company.ivan.name


def test_the_same_change_is_one_finding_however_often_it_is_found(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    tampered(openai, row, TAMPERINGS["spend_limit"])
    first, again = found(company), found(company)
    assert [finding.pk for finding in first] == [finding.pk for finding in again]
    assert again[0].seen_at > first[0].seen_at
    assert AuditEvent.objects.filter(event="drift:found", department_id=company.hr.pk).count() == 1


def test_a_finding_closes_when_somebody_puts_it_right_at_openai(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    tampered(openai, row, TAMPERINGS["project_renamed"])
    [finding] = found(company)
    tampered(openai, row, lambda api, row: api.rename_project(row.project_id, row.name))
    assert found(company) == []
    finding.refresh_from_db()
    assert finding.closed_how == "vanished"
    assert AuditEvent.objects.filter(event="drift:vanished", subject_id=str(finding.pk)).count() == 1


def test_a_finding_says_what_was_wanted_and_what_is_there(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    tampered(openai, row, TAMPERINGS["models"])
    [finding] = found(company)
    assert finding.evidence == {
        "found": {"allow_list": ["gpt-6.2-sol"]},
        "wanted": ["gpt-6-luna", "text-embedding-3-small"],
    }


def test_a_key_that_somebody_else_made_is_named_and_can_be_deleted(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    with openai.colleague("eve@elsewhere.example").api() as api:
        foreign = api.create_key(
            row.project_id, row.service_account_id, "just for a test", expires_in=timedelta(days=300)
        )
    assert openai.asks(foreign.value) == 200
    [finding] = found(company)
    assert finding.kind == Finding.Kind.KEY_UNKNOWN
    assert finding.evidence["keys"][0]["id"] == foreign.id
    assert not contains_key(json.dumps(finding.evidence))
    drift.repair(finding)
    assert openai.asks(foreign.value) == 401
    assert found(company) == []


def test_repairing_deletes_only_the_keys_that_were_shown(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    def make(name: str) -> Secret:
        with openai.api() as api:
            made = api.create_key(row.project_id, row.service_account_id, name, expires_in=timedelta(days=1))
        return made.value

    shown = make("shown")
    [finding] = found(company)
    later = make("later")
    drift.repair(finding)
    assert (openai.asks(shown), openai.asks(later)) == (401, 200)


def by_hand(openai: OpenAICompany, row: ProviderProject, name: str = "by hand") -> NewKey:
    """Somebody makes a key in OpenAI's dashboard."""
    with openai.colleague("alice@acme.example").api() as api:
        return api.create_key(row.project_id, row.service_account_id, name, expires_in=timedelta(days=90))


def pasted(company: Company, key: NewKey) -> None:
    turned = run(rotation.start_pasted(company.hr, key.value, By(company.alice.pk, "Alice")))
    assert turned.result == Rotation.Result.DONE


def test_a_key_that_was_pasted_into_a_managed_project_is_ours(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    made = by_hand(openai, row)
    pasted(company, made)
    assert KeyReference.objects.get(department=company.hr).key_id == ""
    assert plan(company.hr) == []
    assert found(company) == []
    reference = KeyReference.objects.get(department=company.hr)
    assert (reference.key_id, reference.project_id) == (made.id, row.project_id)
    assert openai.asks(made.value) == 200


def test_a_stranger_s_key_beside_a_pasted_one_is_the_only_one_that_goes(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    ours, theirs = by_hand(openai, row), by_hand(openai, row, "theirs")
    pasted(company, ours)
    [finding] = found(company)
    assert [key["id"] for key in finding.evidence["keys"]] == [theirs.id]
    drift.repair(finding)
    assert (openai.asks(ours.value), openai.asks(theirs.value)) == (200, 401)


def test_a_finding_from_before_the_paste_deletes_nothing_that_is_in_use(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    made = by_hand(openai, row)
    [finding] = found(company)
    turned = run(rotation.start_pasted(company.hr, made.value, By(company.alice.pk, "Alice")), Rotation.Step.DRAIN)
    with pytest.raises(ProvisioningStopped, match="the one this department uses"):
        drift.repair(finding)
    run(turned)
    tasks.repair_finding(str(finding.pk))
    finding.refresh_from_db()
    assert "the one this department uses" in finding.problem
    assert openai.asks(made.value) == 200
    assert found(company) == []


def test_where_the_list_does_not_tell_the_keys_apart_nothing_is_deleted(
    company: Company, openai: OpenAICompany, row: ProviderProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_values, "_TAIL", re.compile("(?!)"))  # a list that shows nothing of a key
    ours = by_hand(openai, row)
    pasted(company, ours)
    assert found(company) == []
    other = by_hand(openai, row, "other")
    [finding] = found(company)
    assert finding.kind == Finding.Kind.KEY_UNKNOWN
    with pytest.raises(ProvisioningStopped, match="Rotate the department's key"):
        drift.repair(finding)
    assert (openai.asks(ours.value), openai.asks(other.value)) == (200, 200)


def test_strangers_wait_for_the_end_of_a_rotation(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    stranger = by_hand(openai, row)
    [finding] = found(company)
    turned = run(rotation.start(company.hr, Rotation.Trigger.BUTTON), Rotation.Step.RETIRE)
    with pytest.raises(ProvisioningStopped, match="A rotation of this key is under way"):
        drift.repair(finding)
    assert openai.asks(stranger.value) == 200
    run(turned)
    drift.repair(finding)
    assert openai.asks(stranger.value) == 401


def test_the_key_in_use_is_not_deleted_once_more(company: Company, openai: OpenAICompany, row: ProviderProject) -> None:
    reference = KeyReference.objects.get(department=company.hr)
    finding = Finding.objects.create(
        department=company.hr,
        kind=Finding.Kind.DELETED_KEY_USED,
        evidence={"keys": [{"id": reference.key_id}]},
        seen_at=timezone.now(),
    )
    with pytest.raises(ProvisioningStopped, match="the one this department uses"):
        drift.repair(finding)
    assert found(company) == [finding]
    assert plan(company.hr) == []


def test_a_key_whose_making_was_cut_short_is_no_stranger(
    company: Company, openai: OpenAICompany, row: ProviderProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    tampered(openai, row, delete_our_key)
    with monkeypatch.context() as patched:
        patched.setattr(project_key, "note_provider_key", killed)  # readers have it already
        with pytest.raises(Killed):
            apply(company.hr)
    assert {finding.kind for finding in found(company)} == {"key_gone"}
    apply(company.hr)
    assert found(company) == []


def test_a_key_that_ends_soon_is_a_finding(company: Company, row: ProviderProject) -> None:
    KeyReference.objects.filter(department=company.hr).update(expires_at=timezone.now() + timedelta(days=3))
    assert [finding.kind for finding in found(company)] == ["key_expiring"]


def test_rates_that_are_stricter_than_wanted_are_in_order_once_they_were_tried(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    ProviderProject.objects.filter(pk=row.pk).update(requests_per_minute=50_000, tokens_per_minute=50_000_000)
    apply(company.hr)  # above what the organization itself has: OpenAI refuses, and that is stricter
    assert found(company) == []
    limits = openai.get(f"projects/{row.project_id}/rate_limits")["data"]
    assert {one["max_requests_per_1_minute"] for one in limits} <= {600, 10_000}


def test_openai_being_away_opens_and_closes_nothing(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    tampered(openai, row, TAMPERINGS["spend_limit"])
    [finding] = found(company)
    openai.order("before", "error", method="GET", times=100, status=503)
    with pytest.raises(ProvisioningStopped):
        drift.check(company.hr)
    assert list(Finding.objects.filter(department=company.hr, closed_at=None)) == [finding]
    row.refresh_from_db()
    assert row.state == ProviderProject.State.READY


def test_a_repair_that_fails_leaves_the_finding_open(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    tampered(openai, row, TAMPERINGS["spend_limit"])
    [finding] = found(company)
    openai.order("before", "error", method="POST")
    with pytest.raises(ProvisioningStopped):
        drift.repair(finding)
    assert Finding.objects.get(pk=finding.pk).closed_at is None


def test_the_button_repairs_and_says_why_it_could_not(
    company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    tampered(openai, row, TAMPERINGS["spend_limit"])
    [finding] = found(company)
    openai.order("before", "error", method="POST")
    tasks.repair_finding(str(finding.pk), str(company.ivan.pk), company.ivan.name)
    finding.refresh_from_db()
    assert finding.closed_at is None
    assert "OpenAI had an error" in finding.problem
    for _ in range(2):  # a second click, or a task that is delivered twice
        tasks.repair_finding(str(finding.pk), str(company.ivan.pk), company.ivan.name)
    finding.refresh_from_db()
    assert (finding.closed_how, finding.problem) == ("repaired", "")
    repaired = AuditEvent.objects.filter(event="drift:repaired", subject_id=str(finding.pk))
    assert [event.actor_name for event in repaired] == [company.ivan.name]


def test_the_hourly_task_checks_every_project_and_one_failure_stops_no_other(
    company: Company, other_company: Company, openai: OpenAICompany, row: ProviderProject
) -> None:
    theirs = OpenAICompany(openai.address).belongs_to(other_company.organization)
    apply(other_company.hr)
    for there, department in ((openai, company.hr), (theirs, other_company.hr)):
        tampered(there, ProviderProject.objects.get(department=department), TAMPERINGS["tools"])
    with openai.api() as api:
        api.delete_admin_key(api.list_admin_keys()[0].id)
    tasks.check_projects()
    open_kinds: Any = Finding.objects.filter(closed_at=None)
    assert not open_kinds.filter(department=company.hr).exists()
    assert [finding.kind for finding in open_kinds.filter(department=other_company.hr)] == ["tools"]


def test_a_new_project_is_compared_at_once_and_then_by_the_hour(openai: OpenAICompany, row: ProviderProject) -> None:
    ProviderProject.objects.filter(pk=row.pk).update(checked_at=None)
    tasks.check_new_projects()
    row.refresh_from_db()
    first = row.checked_at
    assert first is not None
    tasks.check_new_projects()
    row.refresh_from_db()
    assert row.checked_at == first


def test_without_an_admin_key_there_is_a_sentence(other_company: Company, provider: Provider) -> None:
    answer = drift.check(other_company.hr)
    assert not isinstance(answer, list)
    assert "no admin key" in answer.sentence


def test_a_rotation_is_no_drift_while_it_lasts_and_none_after_it(company: Company, row: ProviderProject) -> None:
    before = KeyReference.objects.get(department=company.hr).key_id
    turned = rotation.start(company.hr, Rotation.Trigger.LEAK)
    for _ in range(30):
        rotation.advance(turned.pk)
        assert found(company) == []
        turned.refresh_from_db()
        if turned.closed_at:
            break
        Rotation.objects.filter(pk=turned.pk).update(not_before=None)
    assert turned.result == Rotation.Result.DONE
    assert KeyReference.objects.get(department=company.hr).key_id != before
    assert plan(company.hr) == []
