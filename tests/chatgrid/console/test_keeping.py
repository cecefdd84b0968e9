"""How long things are kept and what of a question: asked for in the console, with a reason, and in the record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.test import AsyncClient
from django.urls import reverse

from audit.events import Event
from audit.models import LegalHold, RetentionPolicy
from chatgrid.console.admin.organizations import record_days_of
from departments import tasks
from departments.models import Department, Organization, QueryPolicy
from tests.chatgrid.console.recording import freshly, own
from tests.chatgrid.console.test_access import operator
from tests.company import Company, signed_in

REASON = {"reason": "Works agreement of November"}
HOLDS = reverse("admin:audit_legalhold_changelist")
ADD_HOLD = reverse("admin:audit_legalhold_add")


def organization_form(company: Company, **changed: Any) -> tuple[str, dict[str, Any]]:
    held = company.organization
    form = {
        "name": held.name,
        "time_zone": held.time_zone,
        "record_days": record_days_of(held),
        "conversation_days": "",
        "second_factor": held.second_factor,
    }
    return reverse("admin:departments_organization_change", args=[held.pk]), {**form, **changed}


def department_form(company: Company, **changed: Any) -> tuple[str, dict[str, Any]]:
    """Every field as it stands, as a browser sends it back."""
    department = company.hr
    names = [field.name for field in Department._meta.concrete_fields if field.editable]
    held = {name: getattr(department, name) for name in names if name != "organization"}
    none = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    form = {name: "on" if value is True else value for name, value in held.items() if value not in {None, False}}
    return reverse("admin:departments_department_change", args=[department.pk]), {**form, **none, **changed}


def changes(company: Company, kind: str) -> list[dict[str, Any]]:
    return [event.details for event in own(company, Event.ADMIN_CHANGED) if event.subject_kind == kind]


# -- who must have a second factor


async def test_who_must_have_a_second_factor_changes_with_a_reason_and_that_is_recorded(company: Company) -> None:
    client = await freshly(company.ivan)
    address, form = organization_form(company, second_factor="privileged")
    asked = await client.post(address, form)
    assert "to “IT, auditors and department admins”" in asked.content.decode()
    company.organization.refresh_from_db()
    assert company.organization.second_factor == "off"
    assert (await client.post(address, {**form, **REASON})).status_code == 302
    [change] = changes(company, "organization")
    assert (change["before"], change["after"]) == ({"second_factor": "off"}, {"second_factor": "privileged"})
    assert change["reason"] == REASON["reason"]


# -- the record


async def test_without_a_policy_the_record_is_kept_for_a_year(company: Company) -> None:
    address, _ = organization_form(company)
    page = (await (await signed_in(company.ivan)).get(address)).content.decode()
    assert 'name="record_days" value="365"' in page


async def test_it_changes_how_long_the_record_is_kept_with_a_reason_and_that_is_recorded(company: Company) -> None:
    client = await freshly(company.ivan)
    address, form = organization_form(company, record_days=400)
    asked = await client.post(address, form)
    assert "for 400 days instead of 365" in asked.content.decode()
    assert record_days_of(company.organization) == 365
    assert (await client.post(address, {**form, **REASON})).status_code == 302
    assert record_days_of(company.organization) == 400
    [change] = changes(company, "retention")
    assert (change["before"], change["after"]) == ({"days": 365}, {"days": 400})
    assert change["reason"] == REASON["reason"]
    address, form = organization_form(company, record_days=90)
    assert (await client.post(address, {**form, **REASON})).status_code == 302
    assert changes(company, "retention")[-1]["before"] == {"days": 400}


@pytest.mark.parametrize("days", [89, 0, -1, "none", 10**9])
async def test_the_form_refuses_less_than_ninety_days(company: Company, days: object) -> None:
    client = await freshly(company.ivan)
    address, form = organization_form(company, record_days=days)
    response = await client.post(address, {**form, **REASON})
    assert response.status_code == 200
    assert response.context["errors"]
    assert not RetentionPolicy.objects.filter(pk=company.organization.pk).exists()


def refused_by_model(company: Company) -> None:
    RetentionPolicy(organization_id=company.organization.pk, days=89).save()


def refused_by_database(company: Company) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_retention_policy (organization_id, days) VALUES (%s, 89)", [company.organization.pk]
        )


@pytest.mark.parametrize(
    ("attempt", "error"), [(refused_by_model, ValidationError), (refused_by_database, IntegrityError)]
)
def test_what_gets_past_the_form_is_refused_behind_it(
    company: Company, attempt: Callable[[Company], None], error: type[Exception]
) -> None:
    """And the job, which would end a month too early, refuses by itself: tests/audit/test_retention.py."""
    with pytest.raises(error):
        attempt(company)
    assert not RetentionPolicy.objects.filter(pk=company.organization.pk).exists()


async def test_the_form_says_why_it_refuses(company: Company) -> None:
    address, form = organization_form(company, record_days=89)
    page = (await (await freshly(company.ivan)).post(address, {**form, **REASON})).content.decode()
    assert "The record is kept for at least 90 days." in page


# -- conversations


async def test_it_changes_how_long_conversations_are_kept_with_a_reason(company: Company) -> None:
    client = await freshly(company.ivan)
    address, form = organization_form(company, conversation_days=30)
    assert "for 30 days instead of without an end" in (await client.post(address, form)).content.decode()
    await client.post(address, {**form, **REASON})
    company.organization.refresh_from_db()
    assert company.organization.conversation_days == 30
    [change] = changes(company, "organization")
    assert (change["before"], change["after"]) == ({"conversation_days": None}, {"conversation_days": 30})
    assert change["reason"] == REASON["reason"]
    assert changes(company, "retention") == []


async def test_other_fields_of_the_organization_ask_for_no_reason(company: Company) -> None:
    client = await signed_in(company.ivan)
    address, form = organization_form(company, name="Acme Europe")
    assert (await client.post(address, form)).status_code == 302
    assert Organization.objects.get(pk=company.organization.pk).name == "Acme Europe"


# -- where a day begins

EARLIEST, LATEST = "Pacific/Kiritimati", "Pacific/Pago_Pago"  # 25 hours apart: never the same day


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("Europe/Berlin", "Europe/Vienna", "Today’s budgets keep what was used and end with the day there"),
        (LATEST, EARLIEST, "already: a new day, with its budgets, begins at once"),
        (EARLIEST, LATEST, "the budgets of that day count again, with what was used then"),
    ],
)
async def test_another_time_zone_says_what_becomes_of_the_budgets_and_asks_for_a_reason(
    company: Company, before: str, after: str, said: str
) -> None:
    company.organization.time_zone = before
    await company.organization.asave()
    address, form = organization_form(company, time_zone=after)
    client = await freshly(company.ivan)
    page = (await client.post(address, form)).content.decode()
    assert f"at midnight in {after} instead of {before}" in page
    assert said in page
    assert changes(company, "organization") == []
    await client.post(address, {**form, **REASON})
    [change] = changes(company, "organization")
    assert (change["before"], change["after"]) == ({"time_zone": before}, {"time_zone": after})
    assert change["reason"] == REASON["reason"]


@pytest.mark.parametrize("name", ["localtime", "Europe/Atlantis", "../Europe/Berlin", "europe/berlin", "+01:00", ""])
def test_a_time_zone_is_one_that_pages_and_ledger_both_know(company: Company, name: str) -> None:
    """Python alone knows "localtime": with it every call of the company would fail in the database."""
    company.organization.time_zone = name
    with pytest.raises(ValidationError) as refused:
        company.organization.full_clean()
    assert "time_zone" in refused.value.error_dict


async def test_a_zone_that_is_kept_and_not_offered_stays(company: Company) -> None:
    company.organization.time_zone = "Etc/GMT-3"
    await company.organization.asave()
    address, form = organization_form(company, name="Acme")
    client = await signed_in(company.ivan)
    assert '<option value="Etc/GMT-3" selected>' in (await client.get(address)).content.decode()
    assert (await client.post(address, form)).status_code == 302
    assert changes(company, "organization")[0]["after"] == {"name": "Acme"}


async def test_an_auditor_sees_the_days_and_cannot_change_them(company: Company) -> None:
    RetentionPolicy(organization_id=company.organization.pk, days=123).save()
    client = await freshly(company.ada)
    address, form = organization_form(company, record_days=400)
    page = (await client.get(address)).content.decode()
    assert "123" in page
    assert 'name="record_days"' not in page
    assert (await client.post(address, {**form, **REASON})).status_code == 403
    assert record_days_of(company.organization) == 123


async def test_an_operator_s_change_is_in_the_record_of_the_organization_it_concerns(company: Company) -> None:
    person = operator()
    client = AsyncClient()
    await client.aforce_login(person)
    await client.post(reverse("account_reauthenticate"), {"password": "a long phrase"})
    address, form = organization_form(company, record_days=100)
    assert (await client.post(address, {**form, "slug": "x", **REASON})).status_code == 302
    assert changes(company, "retention")[0]["after"] == {"days": 100}


# -- legal holds


async def test_a_hold_is_placed_with_a_reason_and_lifted_with_one_and_both_are_recorded(company: Company) -> None:
    client = await freshly(company.ivan)
    assert (await client.post(ADD_HOLD, {"reason": ""})).context["errors"]
    await client.post(ADD_HOLD, {"reason": "Case 9"})
    [hold] = LegalHold.objects.filter(organization_id=company.organization.pk)
    assert (hold.reason, hold.set_by, hold.lifted_at) == ("Case 9", str(company.ivan), None)
    lift = reverse("admin:audit_legalhold_lift", args=[hold.pk])
    assert "Lift the legal hold" in (await client.post(lift)).content.decode()
    hold.refresh_from_db()
    assert hold.lifted_at is None
    await client.post(lift, {"reason": "The case is closed"})
    hold.refresh_from_db()
    assert hold.lifted_at is not None
    placed, lifted = changes(company, "hold")
    assert (placed["action"], placed["after"]["reason"]) == ("placed", "Case 9")
    assert lifted["action"] == "lifted"
    assert lifted["reason"] == "The case is closed"
    assert lifted["before"] == {"lifted_at": None}


async def test_lifting_twice_is_recorded_once(company: Company) -> None:
    hold = LegalHold.objects.create(organization_id=company.organization.pk, reason="Case 9")
    client = await freshly(company.ivan)
    for _ in range(2):
        await client.post(reverse("admin:audit_legalhold_lift", args=[hold.pk]), REASON)
    assert len(changes(company, "hold")) == 1


async def test_a_hold_is_neither_changed_nor_deleted(company: Company) -> None:
    hold = LegalHold.objects.create(organization_id=company.organization.pk, reason="Case 9")
    client = await freshly(company.ivan)
    for page in ("change", "delete"):
        address = reverse(f"admin:audit_legalhold_{page}", args=[hold.pk])
        assert (await client.post(address, {"post": "yes", "reason": "Nothing"})).status_code == 403, page
    hold.refresh_from_db()
    assert hold.reason == "Case 9"


@pytest.mark.parametrize("name", ["ada", "alice", "bob"])
async def test_nobody_but_it_places_or_lifts_a_hold(company: Company, name: str) -> None:
    hold = LegalHold.objects.create(organization_id=company.organization.pk, reason="Case 9")
    client = await freshly(getattr(company, name))
    assert (await client.post(ADD_HOLD, {"reason": "Mine"})).status_code == 403
    assert (await client.post(reverse("admin:audit_legalhold_lift", args=[hold.pk]), REASON)).status_code == 403
    assert not LegalHold.objects.exclude(pk=hold.pk).filter(organization_id=company.organization.pk).exists()
    assert LegalHold.objects.get(pk=hold.pk).lifted_at is None


async def test_another_company_s_hold_is_not_there(company: Company, other_company: Company) -> None:
    hold = LegalHold.objects.create(organization_id=company.organization.pk, reason="Case 9 of ours")
    client = await freshly(other_company.ivan)
    assert "Case 9 of ours" not in (await client.get(HOLDS)).content.decode()
    assert (await client.post(reverse("admin:audit_legalhold_lift", args=[hold.pk]), REASON)).status_code == 404


# -- what of a question is kept


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The departments for which a pepper was asked; the worker that makes it does not run here."""
    asked: list[str] = []
    monkeypatch.setattr(
        tasks.make_pepper, "apply_async", lambda arguments, **_: asked.append(arguments[0]), raising=False
    )
    return asked


async def test_the_page_says_what_each_policy_means(company: Company) -> None:
    address, _ = department_form(company)
    page = (await (await signed_in(company.ivan)).get(address)).content.decode()
    for words in ("The whole text.", "without e-mail addresses", "Nobody can ever read the text"):
        assert words in page


@pytest.mark.parametrize("policy", [QueryPolicy.HASHED, QueryPolicy.REDACTED])
async def test_it_chooses_what_of_a_question_is_kept_with_a_reason_and_that_is_recorded(
    company: Company, made: list[str], policy: QueryPolicy
) -> None:
    client = await freshly(company.ivan)
    address, form = department_form(company, query_policy=policy.value)
    assert "keep something else of the questions" in (await client.post(address, form)).content.decode()
    assert made == []
    response = await client.post(address, {**form, **REASON}, follow=True)
    company.hr.refresh_from_db()
    assert company.hr.query_policy == policy
    [change] = changes(company, "department")
    assert (change["before"], change["after"]) == ({"query_policy": "full"}, {"query_policy": policy.value})
    assert change["reason"] == REASON["reason"]
    if policy == QueryPolicy.HASHED:
        assert made == [str(company.hr.pk)]
        assert "The key for the hashes" in response.content.decode()
    else:
        assert made == []


async def test_a_form_that_leaves_the_policy_alone_asks_for_no_pepper(company: Company, made: list[str]) -> None:
    Department.objects.filter(pk=company.hr.pk).update(query_policy=QueryPolicy.HASHED)
    company.hr.refresh_from_db()
    client = await signed_in(company.ivan)
    address, form = department_form(company, name="People", query_policy="hashed")
    assert (await client.post(address, form)).status_code == 302
    company.hr.refresh_from_db()
    assert (company.hr.name, company.hr.query_policy) == ("People", "hashed")
    assert made == []


async def test_every_choice_on_how_careful_a_department_is_leaves_its_event(company: Company) -> None:
    client = await freshly(company.ivan)
    address, form = department_form(company, typed_secrets="block")
    await client.post(address, {**form, **REASON})
    assert changes(company, "department")[-1]["after"] == {"typed_secrets": "block"}


async def test_an_auditor_cannot_choose(company: Company, made: list[str]) -> None:
    client = await freshly(company.ada)
    address, form = department_form(company, query_policy="full")
    assert (await client.post(address, {**form, **REASON})).status_code == 403
