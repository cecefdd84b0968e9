"""Dangerous acts: nothing happens without a fresh sign-in and a reason, no form is lost, no secret is kept."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from departments.keys.rotation_models import Rotation
from departments.limits.models import Limit
from departments.models import Department, Membership
from tests.company import PASSWORD, Company, freshly_signed_in, make_key, set_limit, signed_in

NO_MEMBERSHIPS = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
REAUTHENTICATE = reverse("account_reauthenticate")
OLD = timedelta(seconds=301)  # allauth counts a sign-in as fresh for 300


@dataclass(frozen=True)
class Act:
    """A form, sent to an address, and whether what it asks for has happened."""

    address: str
    form: dict[str, Any]
    happened: Callable[[], bool]
    says: str


def person_form(company: Company, **changes: str) -> dict[str, str]:
    bob = company.bob
    return {"name": bob.name, "email": bob.email, "role": bob.role, "is_active": "on", **NO_MEMBERSHIPS, **changes}


def change_role(company: Company) -> Act:
    return Act(
        reverse("admin:accounts_user_change", args=[company.bob.pk]),
        person_form(company, role="it"),
        lambda: User.objects.get(pk=company.bob.pk).role == "it",
        "Change the role of Bob from Employee to IT.",
    )


def add_an_auditor(company: Company) -> Act:
    email = f"eve@{company.organization.slug}.example"
    return Act(
        reverse("admin:accounts_user_add"),
        {"name": "Eve", "email": email, "role": "auditor", **NO_MEMBERSHIPS},
        lambda: User.objects.filter(email=email).exists(),
        "Add Eve with the role Auditor.",
    )


def make_a_department_admin(company: Company) -> Act:
    membership = Membership.objects.get(user=company.bob)
    return Act(
        reverse("admin:departments_membership_change", args=[membership.pk]),
        {"role": "admin"},
        lambda: Membership.objects.get(pk=membership.pk).role == "admin",
        "Make Bob admin of Human Resources.",
    )


def close_a_sign_in(company: Company) -> Act:
    return Act(
        reverse("admin:accounts_user_changelist"),
        {"action": "close", "_selected_action": [str(company.bob.pk), str(company.carol.pk)]},
        lambda: not User.objects.filter(pk__in=[company.bob.pk, company.carol.pk], is_active=True).exists(),
        "Close the sign-in of 2 people.",
    )


def delete_a_limit(company: Company) -> Act:
    limit = set_limit(company, department=company.hr, tokens_per_day=9)
    return Act(
        reverse("admin:limits_limit_delete", args=[limit.pk]),
        {"post": "yes"},
        lambda: not Limit.objects.filter(pk=limit.pk).exists(),
        "Remove the limit of Human Resources.",
    )


def lift_a_limit(company: Company) -> Act:
    limit = set_limit(company, department=company.hr, tokens_per_day=9)
    return Act(
        reverse("admin:limits_limit_change", args=[limit.pk]),
        {"tokens_per_day": "", "reason": "no need"},
        lambda: Limit.objects.get(pk=limit.pk).tokens_per_day is None,
        "Lift a limit (tokens per day): Human Resources.",
    )


def delete_memberships(company: Company) -> Act:
    rows = Membership.objects.filter(department=company.hr)
    chosen = [str(pk) for pk in rows.values_list("pk", flat=True)]
    return Act(
        reverse("admin:departments_membership_changelist"),
        {"action": "delete_selected", "_selected_action": chosen, "post": "yes"},
        lambda: not rows.exists(),
        "Delete 3 memberships.",
    )


def close_a_department(company: Company) -> Act:
    hr = company.hr
    form = {"name": hr.name, "provider": hr.provider, "model": hr.model, "typed_secrets": "warn"}
    form["document_review"] = "off"
    return Act(
        reverse("admin:departments_department_change", args=[hr.pk]),
        {**form, **NO_MEMBERSHIPS},
        lambda: not Department.objects.get(pk=hr.pk).is_active,
        "Close the department Human Resources",
    )


ACTS = [
    change_role,
    add_an_auditor,
    make_a_department_admin,
    close_a_sign_in,
    delete_a_limit,
    lift_a_limit,
    delete_memberships,
    close_a_department,
]
# these ask for the reason in their own form, so the page between comes with an old sign-in only
ASKS_ITSELF = {delete_a_limit, lift_a_limit}


def acts(company: Company) -> list[AuditEvent]:
    events = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.ADMIN_CHANGED)
    return list(events.order_by("at"))


def hidden_fields(page: str) -> dict[str, list[str]]:
    """The form of the page that asks for the reason, as a browser would send it back."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page):
        found.setdefault(html.unescape(name), []).append(html.unescape(value))
    return found


def asked(response: Any, act: Act) -> dict[str, list[str]]:
    page = response.content.decode()
    assert response.status_code == 200
    assert act.says in html.unescape(page)
    assert f'action="{act.address}"' in page
    return hidden_fields(page)


@pytest.mark.parametrize("make", ACTS)
async def test_an_old_sign_in_is_renewed_and_the_form_comes_back(
    company: Company, make: Callable[[Company], Act]
) -> None:
    act = make(company)
    client = await signed_in(company.ivan)
    refused = await client.post(act.address, {**act.form, "reason": "they asked"})
    assert refused.status_code == 302
    assert refused.url.startswith(REAUTHENTICATE)
    assert not act.happened()
    assert acts(company) == []
    wrong = await client.post(REAUTHENTICATE, {"password": "not this one at all"})
    assert b"field-error" in wrong.content
    assert not act.happened()
    again = asked(await client.post(REAUTHENTICATE, {"password": PASSWORD}), act)
    assert not act.happened(), "a sign-in is no confirmation"
    done = await client.post(act.address, {**again, "reason": "they asked"})
    assert done.status_code == 302
    assert act.happened()


@pytest.mark.parametrize("make", [make for make in ACTS if make not in ASKS_ITSELF])
async def test_a_reason_is_asked_for_and_stands_in_the_record(company: Company, make: Callable[[Company], Act]) -> None:
    act = make(company)
    client = await freshly_signed_in(company.ivan)
    before = timezone.now()
    carried = asked(await client.post(act.address, act.form), act)
    without = await client.post(act.address, {**carried, "reason": "   "})
    assert b"Write why" in without.content
    assert not act.happened()
    assert acts(company) == []
    await client.post(act.address, {**carried, "reason": "they asked"})
    assert act.happened()
    for event in acts(company):
        assert event.details["reason"] == "they asked"
        assert event.details["signed_in_at"] <= before.isoformat()


async def test_a_sign_in_is_fresh_for_five_minutes(company: Company) -> None:
    act = change_role(company)
    client = await freshly_signed_in(company.ivan)
    with time_machine.travel(timezone.now() + OLD):
        refused = await client.post(act.address, {**act.form, "reason": "they asked"})
    assert refused.url.startswith(REAUTHENTICATE)
    assert not act.happened()


async def test_somebody_who_has_just_signed_in_is_not_asked_again(company: Company) -> None:
    act = change_role(company)
    client = AsyncClient()
    await client.post(reverse("account_login"), {"login": company.ivan.email, "password": PASSWORD})
    assert (await client.post(act.address, {**act.form, "reason": "they asked"})).status_code == 302
    assert act.happened()


async def test_a_change_that_does_no_harm_asks_for_nothing(company: Company) -> None:
    address = reverse("admin:accounts_user_change", args=[company.bob.pk])
    client = await signed_in(company.ivan)
    assert (await client.post(address, person_form(company, name="Robert"))).status_code == 302
    assert User.objects.get(pk=company.bob.pk).name == "Robert"
    assert "reason" not in acts(company)[0].details


async def test_a_form_left_lying_does_not_come_up_later_or_elsewhere(company: Company) -> None:
    act = change_role(company)
    client = await signed_in(company.ivan)
    await client.post(act.address, {**act.form, "reason": "they asked"})
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        later = await client.post(REAUTHENTICATE, {"password": PASSWORD})
    assert later.url == reverse("admin:index")
    client = await signed_in(company.ivan)
    await client.post(act.address, {**act.form, "reason": "they asked"})
    paste = reverse("admin:keys_keyreference_paste")
    asks = await client.get(paste)
    elsewhere = await client.post(REAUTHENTICATE, {"password": PASSWORD, "next": paste})
    assert asks.url.startswith(REAUTHENTICATE)
    assert elsewhere.url == paste
    assert not act.happened()


async def test_who_loses_the_role_meanwhile_gets_no_form_back(company: Company) -> None:
    act = change_role(company)
    client = await signed_in(company.ivan)
    await client.post(act.address, {**act.form, "reason": "they asked"})
    User.objects.filter(pk=company.ivan.pk).update(role="member")
    response = await client.post(REAUTHENTICATE, {"password": PASSWORD})
    assert response.status_code == 302
    assert act.says.encode() not in response.content


async def test_a_person_without_a_password_here_is_told_what_to_do(company: Company) -> None:
    """Signed in by the company's own sign-in service: no password of ours could be asked for."""
    act = change_role(company)
    client = await signed_in(company.ivan)
    ivan = User.objects.get(pk=company.ivan.pk)
    ivan.set_unusable_password()
    User.objects.filter(pk=ivan.pk).update(password=ivan.password)
    client = await signed_in(ivan)
    response = await client.post(act.address, {**act.form, "reason": "they asked"})
    assert response.status_code == 403
    assert b"Sign out, sign in again" in response.content
    assert not act.happened()


async def test_a_pasted_key_is_never_kept_while_the_sign_in_is_renewed(company: Company) -> None:
    key, paste = make_key(), reverse("admin:keys_keyreference_paste")
    client = await signed_in(company.ivan)
    values = {"department": str(company.hr.pk), "key": key.reveal(), "reason": "first key"}
    refused = await client.post(paste, values)
    assert refused.url.startswith(REAUTHENTICATE)
    sessions = [session.get_decoded() for session in Session.objects.all()]
    assert key.reveal() not in str(sessions)
    page = await client.post(REAUTHENTICATE, {"password": PASSWORD, "next": paste}, follow=True)
    text = page.content.decode()
    assert "Fill in the form once more" in text
    assert key.reveal() not in text
    assert not Rotation.objects.filter(department=company.hr).exists()
    await client.post(paste, values)
    assert Rotation.objects.filter(department=company.hr, trigger="paste").exists()
    assert acts(company)[0].details["reason"] == "first key"


async def test_a_key_is_not_taken_without_a_reason(company: Company) -> None:
    key, paste = make_key(), reverse("admin:keys_keyreference_paste")
    client = await freshly_signed_in(company.ivan)
    response = await client.post(paste, {"department": str(company.hr.pk), "key": key.reveal(), "reason": " "})
    assert b"field-error" in response.content
    assert key.reveal().encode() not in response.content
    assert not Rotation.objects.filter(department=company.hr).exists()
