"""A department's project from nothing to ready, against the simulator's Admin API over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from audit.models import AuditEvent
from departments.keys import project_key, provisioning
from departments.keys.archiving import ArchiveReceipt, archive
from departments.keys.models import AdminKeyReference, KeyReference, ProviderProject
from departments.keys.patterns import contains_key
from departments.keys.project_work import Step
from departments.keys.provisioning import (
    Busy,
    NameTaken,
    PlanChanged,
    ProvisioningStopped,
    adopt,
    apply,
    in_hand,
    plan,
    project_row,
)
from departments.keys.reader import current_vault, key_name
from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing, VaultUnavailable
from departments.models import Department
from tests.company import Company, give_key
from tests.openai_admin import MODEL, OpenAICompany
from tests.provider import Provider


@pytest.fixture
def openai(provider: Provider, company: Company) -> Iterator[OpenAICompany]:
    """The company's own organization at OpenAI, with its admin key in the vault."""
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    yield there
    there.behave()


def provisioned(department: Department) -> ProviderProject:
    apply(department)
    return ProviderProject.objects.get(department=department)


def current_key(department: Department) -> Secret:
    return Secret(json.loads(current_vault().get_current(key_name(department)).value.reveal())["api_key"])


def everything_at(openai: OpenAICompany) -> dict[str, Any]:
    """Projects, accounts and keys, counted from the other side."""
    projects = openai.get("projects", limit=100)["data"]
    accounts = [one for p in projects for one in openai.get(f"projects/{p['id']}/service_accounts")["data"]]
    keys = [
        one for p in projects for one in openai.get(f"projects/{p['id']}/api_keys?owner_project_access=any")["data"]
    ]
    return {"projects": projects, "accounts": accounts, "keys": keys}


def assert_one_of_each(openai: OpenAICompany, department: Department) -> None:
    there = everything_at(openai)
    assert [len(there[kind]) for kind in ("projects", "accounts", "keys")] == [1, 1, 1]
    reference = KeyReference.objects.get(department=department)
    assert reference.key_id == there["keys"][0]["id"]
    assert reference.project_id == there["projects"][0]["id"]
    assert current_vault().describe(key_name(department)).current == reference.version
    assert openai.asks(current_key(department)) == 200


def test_it_makes_a_project_whose_key_answers(company: Company, openai: OpenAICompany) -> None:
    row = provisioned(company.hr)
    assert_one_of_each(openai, company.hr)
    assert row.state == ProviderProject.State.READY
    project = everything_at(openai)["projects"][0]
    assert project["name"] == f"test.{company.organization.slug}.hr"


def test_it_fences_the_project_as_planned(company: Company, openai: OpenAICompany) -> None:
    row = provisioned(company.hr)
    at = f"projects/{row.project_id}"
    assert openai.get(f"{at}/model_permissions")["model_ids"] == ["gpt-6-luna", "text-embedding-3-small"]
    assert not any(tool["enabled"] for tool in openai.get(f"{at}/hosted_tool_permissions").values())
    assert openai.get(f"{at}/spend_limit")["threshold_amount"] == 20_000
    alerts = openai.get(f"{at}/spend_alerts")["data"]
    assert sorted(alert["threshold_amount"] for alert in alerts) == [10_000, 16_000, 20_000]
    assert alerts[0]["notification_channel"]["recipients"] == [company.ivan.email]
    rates = {one["model"]: one["max_requests_per_1_minute"] for one in openai.get(f"{at}/rate_limits")["data"]}
    assert rates[MODEL] == 600
    assert rates["gpt-6.2-sol"] == 10_000


def test_its_key_ends_by_itself_and_belongs_to_a_service_account(company: Company, openai: OpenAICompany) -> None:
    provisioned(company.hr)
    [key] = everything_at(openai)["keys"]
    assert key["owner"]["type"] == "service_account"
    assert key["expires_at"] - key["created_at"] == 104 * 24 * 3600


def test_its_key_is_refused_a_model_that_was_not_planned(company: Company, openai: OpenAICompany) -> None:
    provisioned(company.hr)
    key = current_key(company.hr)
    assert openai.asks(key) == 200
    assert openai.asks(key, "gpt-6.2-sol") == 403


def test_two_departments_get_projects_and_keys_of_their_own(company: Company, openai: OpenAICompany) -> None:
    hr, finance = provisioned(company.hr), provisioned(company.finance)
    assert hr.project_id != finance.project_id
    assert current_key(company.hr) != current_key(company.finance)
    assert len(everything_at(openai)["keys"]) == 2


def test_a_plan_changes_nothing_and_is_what_is_then_done(company: Company, openai: OpenAICompany) -> None:
    planned = plan(company.hr)
    assert isinstance(planned, list)
    assert everything_at(openai)["projects"] == []
    done = apply(company.hr, expected=planned)
    assert isinstance(done, list)
    assert [change.step for change in done] == [change.step for change in planned if change.step != "retention"]
    assert plan(company.hr) == []


def test_applying_again_does_nothing(company: Company, openai: OpenAICompany) -> None:
    provisioned(company.hr)
    before = everything_at(openai)
    assert apply(company.hr) == []
    assert everything_at(openai) == before


def test_it_refuses_a_plan_that_is_not_the_plan_any_more(company: Company, openai: OpenAICompany) -> None:
    provisioned(company.hr)
    row = project_row(company.hr)
    row.monthly_cents = 5_000
    row.save()
    planned = plan(company.hr)
    assert [change.step for change in planned] == ["spend_limit", "spend_alerts"]
    openai.post(f"projects/{row.project_id}", {"name": "somebody else was here"})
    with pytest.raises(PlanChanged):
        apply(company.hr, expected=planned)
    assert openai.get(f"projects/{row.project_id}/spend_limit")["threshold_amount"] == 20_000


def test_a_changed_wish_changes_that_and_nothing_else(company: Company, openai: OpenAICompany) -> None:
    row = provisioned(company.hr)
    ProviderProject.objects.filter(pk=row.pk).update(monthly_cents=5_000, allowed_models=["gpt-6.2-sol"])
    key = current_key(company.hr)
    done = apply(company.hr)
    assert [change.step for change in done] == ["models", "spend_limit", "spend_alerts", "rate_limits"]
    assert openai.asks(key, "gpt-6.2-sol") == 200
    alerts = openai.get(f"projects/{row.project_id}/spend_alerts")["data"]
    assert sorted(alert["threshold_amount"] for alert in alerts) == [2_500, 4_000, 5_000]


# -- crashes: every request that changes something, failed before and after its effect

CHANGES = "POST|DELETE"
DEEDS = 12  # project, account, role, models, tools, spend limit, 3 alerts, 2 rate limits, key


def test_there_are_as_many_deeds_as_the_matrix_spoils(company: Company, openai: OpenAICompany) -> None:
    openai.order("before", "error", method=CHANGES, skip=DEEDS)
    provisioned(company.hr)
    openai.behave()
    openai.order("before", "error", method=CHANGES, skip=DEEDS - 1)
    with pytest.raises(ProvisioningStopped):
        provisioned(company.finance)


@pytest.mark.parametrize("how", ["error", "cut"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("deed", range(DEEDS))
def test_a_failure_at_any_deed_is_made_good_by_applying_again(
    company: Company, openai: OpenAICompany, deed: int, when: str, how: str
) -> None:
    openai.order(when, how, method=CHANGES, skip=deed)
    with pytest.raises(ProvisioningStopped):
        apply(company.hr)
    row = ProviderProject.objects.get(department=company.hr)
    assert row.state == ProviderProject.State.FAILED
    assert row.failure
    apply(company.hr)
    assert_one_of_each(openai, company.hr)
    row.refresh_from_db()
    assert (row.state, row.failure) == (ProviderProject.State.READY, "")
    assert plan(company.hr) == []
    assert len(openai.get(f"projects/{row.project_id}/spend_alerts")["data"]) == 3


@pytest.mark.parametrize("first", range(0, DEEDS, 3))
@pytest.mark.parametrize("second", range(1, DEEDS, 4))
def test_two_failures_one_after_the_other_are_made_good(
    company: Company, openai: OpenAICompany, first: int, second: int
) -> None:
    openai.order("after", "cut", method=CHANGES, skip=first)
    openai.order("after", "error", method=CHANGES, skip=second)
    for _ in range(2):
        try:
            apply(company.hr)
        except ProvisioningStopped:
            continue
    apply(company.hr)
    assert_one_of_each(openai, company.hr)


class Crash(BaseException):
    """The process dies here: no handler of ours may see it."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("act", ["stage", "promote", "drop_stage"])
def test_a_death_around_the_secret_manager_leaves_one_key(
    company: Company, openai: OpenAICompany, monkeypatch: pytest.MonkeyPatch, act: str, when: str
) -> None:
    vault = current_vault()
    original = getattr(vault, act)

    def dying(*args: Any) -> None:
        if when == "after":
            original(*args)
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(vault, act, dying)
        with pytest.raises(Crash):
            apply(company.hr)
    apply(company.hr)
    assert_one_of_each(openai, company.hr)


@pytest.mark.parametrize("place", ["note_provider_key", "key_document"])
def test_a_death_around_our_own_database_leaves_one_key(
    company: Company, openai: OpenAICompany, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(project_key, place, _dies)
        with pytest.raises(Crash):
            apply(company.hr)
    apply(company.hr)
    assert_one_of_each(openai, company.hr)


def _dies(*_: Any, **__: Any) -> None:
    raise Crash


def test_a_death_before_the_project_is_noted_leaves_one_project(
    company: Company, openai: OpenAICompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("departments.keys.project_steps.remember_project", _dies)
        with pytest.raises(Crash):
            apply(company.hr)
    assert len(everything_at(openai)["projects"]) == 1
    apply(company.hr)
    assert_one_of_each(openai, company.hr)


def test_an_unreachable_secret_manager_stops_with_its_sentence(
    company: Company, openai: OpenAICompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any) -> None:
        raise VaultUnavailable("The secret manager does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(current_vault(), "stage", away)
        with pytest.raises(ProvisioningStopped, match="does not answer"):
            apply(company.hr)
    apply(company.hr)
    assert_one_of_each(openai, company.hr)


def test_only_one_process_has_a_project_in_hand(company: Company, openai: OpenAICompany) -> None:
    with in_hand(company.hr), pytest.raises(Busy):
        apply(company.hr)
    assert apply(company.hr) != []


def test_a_claim_whose_process_died_lapses(company: Company, openai: OpenAICompany) -> None:
    row = project_row(company.hr)
    ProviderProject.objects.filter(pk=row.pk).update(lease_until=row.created_at)
    assert apply(company.hr) != []


# -- who may not


def test_without_an_admin_key_it_says_so_and_touches_nothing(company: Company, provider: Provider) -> None:
    for answer in (plan(company.hr), apply(company.hr), archive(company.hr)):
        assert "has no admin key" in answer.sentence  # type: ignore[union-attr]
        assert company.organization.name in answer.sentence  # type: ignore[union-attr]
    assert not KeyReference.objects.filter(department=company.hr).exists()


def test_a_provider_without_an_admin_api_is_an_answer_too(
    company: Company, openai: OpenAICompany, settings: Any
) -> None:
    settings.PROVIDERS = {**settings.PROVIDERS, "own": {"kind": "compatible", "base_url": openai.base_url}}
    company.hr.provider = "own"
    assert "by hand" in plan(company.hr).sentence  # type: ignore[union-attr]


def test_another_companys_admin_key_sees_nothing_of_ours(
    company: Company, other_company: Company, openai: OpenAICompany
) -> None:
    theirs = OpenAICompany(openai.address).belongs_to(other_company.organization)
    row = provisioned(company.hr)
    apply(other_company.hr)
    assert len(everything_at(theirs)["projects"]) == 1
    with pytest.raises(ProvisioningStopped, match="has no project"):
        adopt(other_company.finance, row.project_id)


def test_a_refused_admin_key_is_marked_broken(company: Company, openai: OpenAICompany) -> None:
    with openai.api() as api:
        [ours] = api.list_admin_keys()
        api.delete_admin_key(ours.id)
    with pytest.raises(ProvisioningStopped, match="refuses the admin key"):
        apply(company.hr)
    reference = AdminKeyReference.objects.get(organization=company.organization)
    assert reference.state == AdminKeyReference.State.BROKEN


# -- adopting and archiving


def test_it_does_not_take_a_project_that_only_has_our_name(company: Company, openai: OpenAICompany) -> None:
    name = f"test.{company.organization.slug}.hr"
    with openai.api() as api:
        theirs = api.create_project(name)
    for act in (plan, apply):
        with pytest.raises(NameTaken, match=theirs.id):
            act(company.hr)
    assert len(everything_at(openai)["projects"]) == 1


def test_it_adopts_a_project_and_brings_it_into_line(company: Company, openai: OpenAICompany) -> None:
    with openai.api() as api:
        found = api.create_project("Human Resources, by hand")
    changes = adopt(company.hr, found.id)
    assert isinstance(changes, list)
    assert changes[0].step == "name"
    assert everything_at(openai)["accounts"] == []
    apply(company.hr)
    assert_one_of_each(openai, company.hr)
    assert everything_at(openai)["projects"][0]["id"] == found.id
    assert AuditEvent.objects.filter(event="project:adopted", department_id=company.hr.pk).count() == 1


def test_a_project_of_one_department_cannot_be_adopted_by_another(company: Company, openai: OpenAICompany) -> None:
    row = provisioned(company.hr)
    with pytest.raises(ProvisioningStopped, match="another department"):
        adopt(company.finance, row.project_id)
    assert ProviderProject.objects.get(department=company.finance).project_id == ""


def test_archiving_ends_the_key_and_the_project_and_gives_a_receipt(company: Company, openai: OpenAICompany) -> None:
    row = provisioned(company.hr)
    key = current_key(company.hr)
    assert openai.asks(key) == 200
    receipt = archive(company.hr)
    assert isinstance(receipt, ArchiveReceipt)
    assert (receipt.project_id, len(receipt.key_ids)) == (row.project_id, 1)
    assert openai.asks(key) == 401
    assert openai.get(f"projects/{row.project_id}")["status"] == "archived"
    with pytest.raises(SecretMissing):
        current_vault().get_current(key_name(company.hr))
    assert AuditEvent.objects.filter(event="project:archived", subject_id=row.project_id).count() == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_archiving_is_finished_after_a_failure(company: Company, openai: OpenAICompany, when: str) -> None:
    row = provisioned(company.hr)
    openai.order(when, "error", method="POST", path="/archive$")
    with pytest.raises(ProvisioningStopped):
        archive(company.hr)
    assert isinstance(archive(company.hr), ArchiveReceipt)
    assert openai.get(f"projects/{row.project_id}")["status"] == "archived"


def test_an_archived_department_can_be_provisioned_anew(company: Company, openai: OpenAICompany) -> None:
    first = provisioned(company.hr)
    archive(company.hr)
    second = provisioned(company.hr)
    assert second.project_id not in ("", first.project_id)
    assert openai.asks(current_key(company.hr)) == 200


def test_departments_whose_names_come_to_the_same_words_are_kept_apart(
    company: Company, other_company: Company, openai: OpenAICompany
) -> None:
    slug = company.organization.slug
    company.organization.slug, other_company.organization.slug = f"{slug}-a", slug
    company.organization.save()
    other_company.organization.save()
    first = Department.objects.create(organization=company.organization, slug="b", name="B")
    second = Department.objects.create(organization=other_company.organization, slug="a-b", name="B")
    assert project_row(first).name != project_row(second).name


# -- a pasted key, and the record


def test_a_pasted_key_is_replaced_by_one_of_the_project(company: Company, openai: OpenAICompany) -> None:
    pasted = give_key(company.hr)
    changes = plan(company.hr)
    assert isinstance(changes, list)
    provisioned(company.hr)
    assert current_key(company.hr) != pasted
    assert_one_of_each(openai, company.hr)


def test_every_step_is_in_the_record_and_no_key_is(company: Company, openai: OpenAICompany) -> None:
    openai.order("after", "error", method=CHANGES, skip=3)
    with pytest.raises(ProvisioningStopped):
        apply(company.hr, by=company.ivan.pk, by_name=company.ivan.name)
    apply(company.hr, by=company.ivan.pk, by_name=company.ivan.name)
    events = AuditEvent.objects.filter(department_id=company.hr.pk)
    steps = [event.details["step"] for event in events.filter(event="project:step_done").order_by("at")]
    assert steps == list(Step)
    stopped = events.get(event="project:stopped")
    assert stopped.details["attempted"]["after"] == ["gpt-6-luna", "text-embedding-3-small"]
    assert events.filter(event="project:ready").count() == 1
    assert set(events.filter(event="project:step_done").values_list("actor_name", flat=True)) == {company.ivan.name}
    told = json.dumps([[event.details, event.subject_id, event.key_fingerprint] for event in events])
    assert not contains_key(told)
    assert current_key(company.hr).reveal() not in told


def test_no_key_is_in_a_log_or_an_error(
    company: Company, openai: OpenAICompany, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    for skip in (0, 1, 2):
        openai.order("after", "cut", method=CHANGES, skip=skip)
        with pytest.raises(ProvisioningStopped) as stopped:
            apply(company.hr)
        assert not contains_key(repr(stopped.value.__dict__) + str(stopped.value))
    apply(company.hr)
    assert not contains_key(caplog.text)
    assert openai.admin_key.reveal() not in caplog.text
    assert current_key(company.hr).reveal() not in caplog.text


def test_the_admin_key_is_read_with_an_event_each_time(company: Company, openai: OpenAICompany) -> None:
    plan(company.hr)
    plan(company.hr)
    name = f"chatgrid/test/org/{company.organization.slug}/openai-admin"
    assert AuditEvent.objects.filter(event="secret:read", subject_id=name).count() == 2


def test_the_lease_is_longer_than_the_longest_step(settings: Any) -> None:
    from departments.keys import admin_api

    attempts = admin_api.RETRIES + 1
    longest = attempts * (admin_api.TIMEOUT.connect + admin_api.TIMEOUT.read) + 20
    assert provisioning.LEASE.total_seconds() > longest
