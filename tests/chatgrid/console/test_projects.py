"""The console's pages of projects and findings: who may, what a button leaves, and that no page speaks to OpenAI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from celery import current_app
from django.test import AsyncClient
from django.urls import reverse
from kombu.exceptions import OperationalError

from audit.models import AuditEvent
from departments import tasks as department_tasks
from departments.keys import drift
from departments.keys import tasks as key_tasks
from departments.keys.models import Finding, KeyReference, ProviderProject
from departments.keys.provisioning import apply, project_row
from departments.models import Department
from departments.tasks import plan_department
from tests.company import Company, freshly_signed_in, signed_in
from tests.openai_admin import OpenAICompany
from tests.provider import Provider

BOUNDS = {
    "allowed_models": "gpt-6.2-sol, gpt-6.1-terra",
    "monthly_cents": "7500",
    "alert_percents": "50, 90",
    "alert_recipients": "it@acme.example",
    "requests_per_minute": "100",
    "tokens_per_minute": "",
    "retention": "none",
    "key_days": "30",
    "key_scopes": "",
}


@pytest.fixture
def openai(provider: Provider, company: Company) -> Iterator[OpenAICompany]:
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    yield there
    there.behave()


@pytest.fixture
def row(company: Company) -> ProviderProject:
    return project_row(company.hr)


@pytest.fixture
def finding(company: Company, openai: OpenAICompany) -> Finding:
    apply(company.hr)
    with openai.api() as api:
        api.remove_spend_limit(project_row(company.hr).project_id)
    [found] = drift.check(company.hr)
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...]]]:
    """What was left for the rotator, in place of a broker."""
    left: list[tuple[str, tuple[Any, ...]]] = []
    for task in (
        department_tasks.plan_department,
        department_tasks.provision,
        key_tasks.repair_finding,
        key_tasks.adopt_project,
        key_tasks.archive_project,
    ):
        monkeypatch.setattr(
            task, "apply_async", lambda arguments, retry, name=task.name: left.append((name, arguments))
        )
    return left


def addresses(row: ProviderProject, finding: Finding) -> list[str]:
    return [
        reverse("admin:keys_providerproject_changelist"),
        reverse("admin:keys_providerproject_change", args=[row.pk]),
        reverse("admin:keys_providerproject_history", args=[row.pk]),
        reverse("admin:keys_finding_changelist"),
        reverse("admin:keys_finding_change", args=[finding.pk]),
    ]


def buttons(row: ProviderProject, finding: Finding) -> list[str]:
    return [
        reverse("admin:keys_providerproject_plan", args=[row.pk]),
        reverse("admin:keys_providerproject_apply", args=[row.pk]),
        reverse("admin:keys_providerproject_adopt", args=[row.pk]),
        reverse("admin:keys_providerproject_archive", args=[row.pk]),
        reverse("admin:keys_finding_repair", args=[finding.pk]),
    ]


async def test_pages_open_for_it_and_auditor_and_not_for_another_company(
    company: Company, other_company: Company, finding: Finding, row: ProviderProject
) -> None:
    for address in addresses(row, finding):
        theirs = 404 if str(row.pk) in address or str(finding.pk) in address else 200
        expected = {company.ivan: 200, company.ada: 200, company.bob: 403, other_company.ivan: theirs}
        for person, status in expected.items():
            page = await (await signed_in(person)).get(address)
            assert page.status_code == status, (address, person)
            if person is other_company.ivan:
                assert row.name not in page.content.decode()


async def test_buttons_are_it_s_alone(
    company: Company, other_company: Company, finding: Finding, row: ProviderProject, asked: list[Any]
) -> None:
    for address in buttons(row, finding):
        for person, status in {company.ada: 403, company.bob: 403, other_company.ivan: 404}.items():
            assert (await (await signed_in(person)).post(address)).status_code == status, (address, person)
        assert (await (await signed_in(company.ivan)).get(address)).status_code == 405
    assert asked == []


async def test_it_sets_bounds_and_the_record_says_which(company: Company, row: ProviderProject) -> None:
    address = reverse("admin:keys_providerproject_change", args=[row.pk])
    stolen = {"project_id": "proj_of_somebody", "name": "mine"}
    why = {"reason": "a smaller budget"}
    response = await (await freshly_signed_in(company.ivan)).post(address, BOUNDS | stolen | why)
    assert response.status_code == 302
    await row.arefresh_from_db()
    assert (row.allowed_models, row.alert_percents) == (["gpt-6.2-sol", "gpt-6.1-terra"], [50, 90])
    assert (row.monthly_cents, row.tokens_per_minute, row.project_id) == (7500, None, "")
    event = await AuditEvent.objects.aget(event="admin:changed", subject_kind="project", subject_id=str(row.pk))
    assert event.details["after"]["monthly_cents"] == 7500
    assert event.actor_name == company.ivan.name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alert_percents", "50, 300"),
        ("alert_recipients", "nobody"),
        ("monthly_cents", "-1"),
        ("key_days", "0"),
        ("key_days", "366"),
    ],
)
async def test_a_bound_that_makes_no_sense_is_refused(
    company: Company, row: ProviderProject, field: str, value: str
) -> None:
    address = reverse("admin:keys_providerproject_change", args=[row.pk])
    page = await (await signed_in(company.ivan)).post(address, BOUNDS | {field: value})
    assert page.status_code == 200
    assert b"errorlist" in page.content
    await row.arefresh_from_db()
    assert row.monthly_cents == 20_000


async def test_it_asks_for_a_plan_reads_it_and_applies_what_it_read(
    company: Company, openai: OpenAICompany, row: ProviderProject, asked: list[Any]
) -> None:
    client = await freshly_signed_in(company.ivan)
    await client.post(reverse("admin:keys_providerproject_plan", args=[row.pk]))
    assert asked.pop() == ("departments.tasks.plan_department", (str(company.hr.pk),))
    assert openai.get("projects")["data"] == []
    await sync_to_async(plan_department)(str(company.hr.pk))
    page = (await client.get(reverse("admin:keys_providerproject_change", args=[row.pk]))).content.decode()
    assert "project: Make the project" in page
    await row.arefresh_from_db()
    planned_at = row.planned_at.isoformat()
    assert f'value="{planned_at}"' in page.replace("&#x2B;", "+")
    values = {"planned_at": planned_at, "reason": "as read"}
    await client.post(reverse("admin:keys_providerproject_apply", args=[row.pk]), values)
    ivan = company.ivan
    assert asked == [("departments.tasks.provision", (str(company.hr.pk), str(ivan.pk), ivan.name, planned_at))]


async def test_a_plan_that_is_not_the_one_on_the_page_is_not_applied(
    company: Company, openai: OpenAICompany, row: ProviderProject, asked: list[Any]
) -> None:
    await sync_to_async(plan_department)(str(company.hr.pk))
    client = await signed_in(company.ivan)
    for planned_at in ("", "2026-01-01T00:00:00+00:00"):
        response = await client.post(
            reverse("admin:keys_providerproject_apply", args=[row.pk]), {"planned_at": planned_at}, follow=True
        )
        assert b"newer plan" in response.content
    assert asked == []


async def test_one_click_repairs_a_finding(company: Company, finding: Finding, asked: list[Any]) -> None:
    client = await signed_in(company.ivan)
    page = (await client.get(reverse("admin:keys_finding_change", args=[finding.pk]))).content.decode()
    assert "$200.00" in page
    await client.post(reverse("admin:keys_finding_repair", args=[finding.pk]))
    [(task, arguments)] = asked
    assert task == "departments.keys.tasks.repair_finding"
    await sync_to_async(key_tasks.repair_finding)(*arguments)
    await finding.arefresh_from_db()
    assert finding.closed_how == "repaired"
    events = AuditEvent.objects.filter(department_id=company.hr.pk)
    assert await events.filter(event="drift:repaired", actor_name=company.ivan.name).aexists()
    page = (await client.get(reverse("admin:keys_finding_change", args=[finding.pk]))).content.decode()
    assert reverse("admin:keys_finding_repair", args=[finding.pk]) not in page


async def test_the_home_page_counts_open_findings_of_the_own_company(
    company: Company, other_company: Company, finding: Finding
) -> None:
    assert "1 difference at OpenAI" in (await (await signed_in(company.ivan)).get("/admin/")).content.decode()
    assert "difference at OpenAI" not in (await (await signed_in(other_company.ivan)).get("/admin/")).content.decode()


async def test_a_broker_that_is_away_is_a_sentence(
    company: Company, row: ProviderProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(arguments: Any, retry: bool) -> None:
        raise OperationalError("redis://:password@somewhere is away")

    monkeypatch.setattr(department_tasks.plan_department, "apply_async", away)
    address = reverse("admin:keys_providerproject_plan", args=[row.pk])
    page = await (await signed_in(company.ivan)).post(address, follow=True)
    assert b"worker cannot be reached" in page.content
    assert b"password@" not in page.content


@pytest.mark.parametrize("has_key", [True, False])
async def test_a_new_department_gets_its_project_or_a_sentence(
    company: Company, provider: Provider, asked: list[Any], has_key: bool
) -> None:
    if has_key:
        await sync_to_async(OpenAICompany(provider.address).belongs_to)(company.organization)
    values = {"name": "Legal", "slug": "legal", "is_active": "on", "provider": "openai", "model": "gpt-6-luna"}
    values |= {"typed_secrets": "warn", "document_review": "off"}
    client = await signed_in(company.ivan)
    page = await client.post(reverse("admin:departments_department_add"), values, follow=True)
    legal = await Department.objects.aget(organization=company.organization, slug="legal")
    names = [name for name, arguments in asked if arguments[0] == str(legal.pk)]
    assert names == ["departments.tasks.provision"], "its store is made in any case"
    assert b"is being completed" in page.content
    assert (b"no admin key" in page.content) is not has_key


def run_asked(asked: list[tuple[str, tuple[Any, ...]]]) -> None:
    """The rotator takes what was left for it."""
    while asked:
        name, arguments = asked.pop(0)
        current_app.tasks[name](*arguments)


async def press(client: AsyncClient, row: ProviderProject, button: str, **fields: str) -> str:
    address = reverse(f"admin:keys_providerproject_{button}", args=[row.pk])
    page = await client.post(address, {"reason": "test", **fields}, follow=True)
    return page.content.decode()


async def test_an_existing_project_is_adopted_from_the_page_and_then_applied(
    company: Company, openai: OpenAICompany, row: ProviderProject, asked: list[Any]
) -> None:
    existing = openai.post("projects", {"name": "Made by hand"})["id"]
    client = await freshly_signed_in(company.ivan)
    assert "Take it over" in (await client.get(f"/admin/keys/providerproject/{row.pk}/change/")).content.decode()
    assert "begins with proj_" in await press(client, row, "adopt", project="not one")
    await press(client, row, "adopt", project=existing)
    await sync_to_async(run_asked)(asked)
    page = (await client.get(f"/admin/keys/providerproject/{row.pk}/change/")).content.decode()
    assert existing in page
    assert "name: " in page, "what would be changed in it is shown"
    assert openai.get(f"projects/{existing}")["name"] == "Made by hand"
    await row.arefresh_from_db()
    await press(client, row, "apply", planned_at=row.planned_at.isoformat())
    await sync_to_async(run_asked)(asked)
    assert openai.get(f"projects/{existing}")["name"] == f"test.{company.organization.slug}.hr"


async def test_a_project_that_is_not_there_is_said_on_the_page(
    company: Company, openai: OpenAICompany, row: ProviderProject, asked: list[Any]
) -> None:
    client = await freshly_signed_in(company.ivan)
    await press(client, row, "adopt", project="proj_nowhere")
    await sync_to_async(run_asked)(asked)
    page = (await client.get(f"/admin/keys/providerproject/{row.pk}/change/")).content.decode()
    assert "OpenAI has no project proj_nowhere" in page


async def test_a_project_is_closed_from_the_page_with_a_receipt(
    company: Company, openai: OpenAICompany, row: ProviderProject, asked: list[Any]
) -> None:
    await sync_to_async(apply)(company.hr)
    await row.arefresh_from_db()
    project = row.project_id
    client = await freshly_signed_in(company.ivan)
    await press(client, row, "archive")
    await sync_to_async(run_asked)(asked)
    page = (await client.get(f"/admin/keys/providerproject/{row.pk}/change/")).content.decode()
    assert "Closed for ever on" in page
    assert f"project {project}, 1 key deleted" in " ".join(page.split())
    assert openai.get(f"projects/{project}")["status"] == "archived"
    assert not await KeyReference.objects.filter(department=company.hr).aexists()


async def test_the_repair_is_done_by_the_rotator_and_closes_the_finding(
    company: Company, openai: OpenAICompany, finding: Finding, row: ProviderProject, asked: list[Any]
) -> None:
    client = await signed_in(company.ivan)
    await client.post(reverse("admin:keys_finding_repair", args=[finding.pk]))
    await sync_to_async(run_asked)(asked)
    await finding.arefresh_from_db()
    assert finding.closed_how == "repaired"
    assert await sync_to_async(drift.check)(company.hr) == []


async def test_without_an_admin_key_the_pages_say_so(company: Company, row: ProviderProject) -> None:
    client = await signed_in(company.ivan)
    for address in (
        reverse("admin:keys_providerproject_changelist"),
        reverse("admin:keys_providerproject_change", args=[row.pk]),
        reverse("admin:keys_adminkeyreference_changelist"),
    ):
        page = await client.get(address)
        assert page.status_code == 200
        assert "has no admin key of OpenAI" in page.content.decode()
