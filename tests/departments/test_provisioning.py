"""A department complete, by command, by file and by task: project, key and store."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditEvent
from departments import provisioning
from departments.keys.models import AdminKeyReference, Finding, KeyReference, ProviderProject
from departments.keys.provisioning import project_row
from departments.models import Department
from departments.provisioning import FileRefused, read_file
from departments.tasks import plan_department, provision
from tests.company import Company, make_key
from tests.openai_admin import OpenAICompany, make_admin_key
from tests.provider import Provider


@pytest.fixture
def openai(provider: Provider, company: Company) -> Iterator[OpenAICompany]:
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    yield there
    there.behave()


def run(*arguments: Any, command: str = "provision_departments") -> str:
    said = io.StringIO()
    call_command(command, *map(str, arguments), stdout=said)
    return said.getvalue()


def slug(department: Department) -> str:
    return f"{department.organization.slug}/{department.slug}"


@pytest.fixture
def file(tmp_path: Path, company: Company) -> Path:
    """A file that bounds HR and adds Legal."""
    content = {
        "organizations": {
            company.organization.slug: {
                "departments": {"hr": {"monthly_cents": 5_000, "key_days": 30}, "legal": {"name": "Legal"}}
            }
        }
    }
    path = tmp_path / "bounds.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return path


def test_the_task_makes_project_key_and_store(company: Company, openai: OpenAICompany) -> None:
    provision(str(company.hr.pk), str(company.ivan.pk), company.ivan.name)
    company.hr.refresh_from_db()
    assert company.hr.store_ready
    assert ProviderProject.objects.get(department=company.hr).state == ProviderProject.State.READY
    assert KeyReference.objects.filter(department=company.hr).exists()
    event = AuditEvent.objects.get(department_id=company.hr.pk, event="project:ready")
    assert event.actor_name == company.ivan.name


def test_a_stop_is_in_the_row_and_the_task_ends_well(company: Company, openai: OpenAICompany) -> None:
    openai.order("before", "error", method="POST", path="spend_limit")
    provision(str(company.hr.pk))
    assert ProviderProject.objects.get(department=company.hr).failure.startswith("spend_limit: ")
    provision(str(company.hr.pk))
    assert ProviderProject.objects.get(department=company.hr).state == ProviderProject.State.READY


def shown_plan(department: Department) -> ProviderProject:
    plan_department(str(department.pk))
    return ProviderProject.objects.get(department=department)


def test_what_a_page_was_shown_is_what_is_done(company: Company, openai: OpenAICompany) -> None:
    row = shown_plan(company.hr)
    assert row.plan[0]["step"] == "project"
    assert openai.get("projects")["data"] == []
    provision(str(company.hr.pk), planned_at=row.planned_at.isoformat())
    row.refresh_from_db()
    assert (row.state, row.plan) == (ProviderProject.State.READY, [])


def test_a_plan_that_a_newer_one_has_replaced_is_not_done(company: Company, openai: OpenAICompany) -> None:
    old, new = shown_plan(company.hr), shown_plan(company.hr)
    assert old.planned_at != new.planned_at
    provision(str(company.hr.pk), planned_at=old.planned_at.isoformat())
    assert openai.get("projects")["data"] == []
    assert "newer plan" in ProviderProject.objects.get(department=company.hr).failure


def test_a_plan_that_openai_has_overtaken_is_not_done(company: Company, openai: OpenAICompany) -> None:
    provision(str(company.hr.pk))
    row = project_row(company.hr)
    ProviderProject.objects.filter(pk=row.pk).update(monthly_cents=1_000)
    planned = shown_plan(company.hr)
    openai.post(f"projects/{row.project_id}", {"name": "renamed meanwhile"})
    provision(str(company.hr.pk), planned_at=planned.planned_at.isoformat())
    row.refresh_from_db()
    assert "Something has changed" in row.failure
    assert openai.get(f"projects/{row.project_id}/spend_limit")["threshold_amount"] == 20_000


def test_a_plan_without_an_admin_key_says_so_on_the_page(company: Company, provider: Provider) -> None:
    row = shown_plan(company.hr)
    assert [change["step"] for change in row.plan] == ["store"]
    assert "no admin key" in row.plan_sentence


def test_tasks_for_a_department_that_is_gone_end_well(provider: Provider) -> None:
    plan_department(str(uuid.uuid4()))
    provision(str(uuid.uuid4()))


def test_without_an_admin_key_the_store_is_made_and_the_sentence_said(company: Company, provider: Provider) -> None:
    done = provisioning.apply(company.hr)
    assert [change.step for change in done.changes] == ["store"]
    assert "no admin key" in done.sentence
    company.hr.refresh_from_db()
    assert company.hr.store_ready


def test_the_command_shows_a_plan_and_then_does_it(company: Company, openai: OpenAICompany) -> None:
    name = slug(company.hr)
    planned = run("plan", name)
    assert f"project: Make the project: nothing -> test.{company.organization.slug}.hr" in planned
    assert "store: " in planned
    assert openai.get("projects")["data"] == []
    assert "key: " in run("apply", name)
    assert "nothing would be done" in run("plan", name)


def test_a_plan_from_a_file_keeps_nothing(company: Company, openai: OpenAICompany, file: Path) -> None:
    planned = run("plan", "--file", file)
    assert "Set the monthly spend limit: nothing -> $50.00" in planned
    assert ".legal" in planned
    assert not Department.objects.filter(organization=company.organization, slug="legal").exists()
    assert not ProviderProject.objects.filter(department=company.hr).exists()
    assert AuditEvent.objects.filter(event="secret:read", organization_id=company.organization.pk).count() == 2


def test_applying_a_file_makes_what_it_names_as_it_says(company: Company, openai: OpenAICompany, file: Path) -> None:
    run("apply", "--file", file)
    legal = Department.objects.get(organization=company.organization, slug="legal")
    assert (legal.name, legal.store_ready) == ("Legal", True)
    row = ProviderProject.objects.get(department=company.hr)
    assert openai.get(f"projects/{row.project_id}/spend_limit")["threshold_amount"] == 5_000
    assert len(openai.get("projects")["data"]) == 2
    assert "nothing done" in run("apply", "--file", file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("organizations: [", "cannot be read as YAML"),
        ("departments: {}", "organizations must hold names"),
        ("organizations: {acme: {departments: {hr: {monthly_dollars: 5}}}}", "unknown fields: monthly_dollars"),
        ("organizations: {acme: {departments: {hr: 5}}}", "acme/hr must hold names"),
        ("organizations: {acme: 5}", "acme must hold names"),
        ("organizations: {acme: {departments: {null: {}}}}", "acme: None is no name"),
        ("organizations: {acme: {departments: {hr: {1: 2, a: 3}}}}", "acme/hr: 1 is no name"),
        ("!!python/object/apply:os.getcwd []", "cannot be read as YAML"),
        ("organizations: {acme: {departments: {hr: {}, hr: {key_days: 30}}}}", "hr is there twice"),
    ],
)
def test_it_refuses_a_file_it_does_not_understand(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "bounds.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FileRefused, match=said):
        read_file(path)


@pytest.mark.parametrize(
    "fields", [{"monthly_cents": -1}, {"monthly_cents": True}, {"retention": "for ever"}, {"provider": "nobody"}]
)
def test_a_file_with_a_value_that_is_not_allowed_changes_nothing(
    company: Company, openai: OpenAICompany, tmp_path: Path, fields: dict[str, Any]
) -> None:
    path = tmp_path / "bounds.yaml"
    departments = {"hr": {"monthly_cents": 5_000}, "finance": fields}
    path.write_text(json.dumps({"organizations": {company.organization.slug: {"departments": departments}}}))
    with pytest.raises(CommandError, match=next(iter(fields))):
        run("apply", "--file", path)
    assert not ProviderProject.objects.filter(department=company.hr).exists()
    assert openai.get("projects")["data"] == []


def test_one_departments_stop_does_not_keep_another_waiting(
    company: Company, other_company: Company, openai: OpenAICompany
) -> None:
    theirs = OpenAICompany(openai.address).belongs_to(other_company.organization)
    openai.order("before", "error", method="POST", path="/projects$")
    with pytest.raises(CommandError, match="Apply again"):
        run("apply", slug(company.hr), slug(other_company.hr))
    assert len(theirs.get("projects")["data"]) + len(openai.get("projects")["data"]) == 1


def test_the_command_adopts_and_archives(company: Company, openai: OpenAICompany) -> None:
    found = openai.post("projects", {"name": "by hand"})["id"]
    name = slug(company.hr)
    assert "name: Rename the project: by hand" in run("adopt", name, "--project", found)
    run("apply", name)
    with pytest.raises(CommandError, match="final"):
        run("archive", name)
    receipt = json.loads(run("archive", name, "--yes"))
    assert (receipt["project_id"], len(receipt["key_ids"])) == (found, 1)


def test_a_department_that_was_switched_off_can_still_be_archived(company: Company, openai: OpenAICompany) -> None:
    name = slug(company.hr)
    run("apply", name)
    Department.objects.filter(pk=company.hr.pk).update(is_active=False)
    with pytest.raises(CommandError, match="no active department"):
        run("apply", name)
    assert json.loads(run("archive", name, "--yes"))["key_ids"]
    assert openai.get("projects")["data"] == []


def test_the_command_checks_now(company: Company, openai: OpenAICompany) -> None:
    name = slug(company.hr)
    run("apply", name)
    assert "as wanted" in run("check", name)
    row = ProviderProject.objects.get(department=company.hr)
    openai.post(f"projects/{row.project_id}/model_permissions", {"mode": "deny_list", "model_ids": []})
    assert "Other models are allowed" in run("check", name)
    assert Finding.objects.filter(department=company.hr, closed_at=None).count() == 1


def test_a_department_that_does_not_exist_is_named(company: Company) -> None:
    with pytest.raises(CommandError, match="no active department acme/nothing"):
        run("plan", "acme/nothing")


# -- the admin key by command


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def type_in(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))

    return type_in


def test_an_admin_key_is_tried_and_stored(company: Company, provider: Provider, typed: Any) -> None:
    key = make_admin_key()
    typed(f"\ufeff  {key.reveal()} \r")  # as a shell of Windows hands it over
    said = run(company.organization.slug, command="store_admin_key")
    reference = AdminKeyReference.objects.get(organization=company.organization)
    assert reference.fingerprint == key.fingerprint()
    assert reference.fingerprint in said
    assert key.reveal() not in said
    assert isinstance(provisioning.plan(company.hr).changes[0].sentence, str)


@pytest.mark.parametrize("kind", ["project key", "nothing", "two words", "dead admin key"])
def test_what_is_no_working_admin_key_is_not_stored(
    company: Company, openai: OpenAICompany, other_company: Company, typed: Any, kind: str
) -> None:
    with openai.api() as api:
        api.delete_admin_key(api.list_admin_keys()[0].id)
    pasted = {
        "project key": make_key().reveal(),
        "nothing": "",
        "two words": f"{make_admin_key().reveal()} and more",
        "dead admin key": openai.admin_key.reveal(),
    }[kind]
    typed(pasted)
    with pytest.raises(CommandError) as refused:
        run(other_company.organization.slug, command="store_admin_key")
    assert not pasted or pasted not in str(refused.value)
    assert not AdminKeyReference.objects.filter(organization=other_company.organization).exists()
