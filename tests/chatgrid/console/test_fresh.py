"""Dangerous acts: nothing happens without a fresh sign-in and a reason, no form is lost, no secret is kept."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import AsyncClient
from django.urls import resolve, reverse
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from chatgrid.console.site import _patterns, site
from departments.keys.rotation_models import Rotation
from tests.chatgrid.console.dangerous import ACTS, ASKS_ITSELF, Act, change_role, person_form
from tests.company import PASSWORD, Company, freshly_signed_in, make_key, signed_in

REAUTHENTICATE = reverse("account_reauthenticate")
OLD = timedelta(seconds=301)  # allauth counts a sign-in as fresh for 300
STOCK = ("_changelist", "_add", "_change", "_delete", "_history")  # Django's own: dangers.py says which changes ask
WALKED_ELSEWHERE = {
    "keys_keyreference_paste": "below",
    "keys_adminkeyreference_paste": "tests/chatgrid/console/test_pasting.py",
    "keys_adminkeyreference_ask": "tests/chatgrid/console/test_keys.py",
    "keys_rotation_do": "tests/chatgrid/console/test_keys.py",
    "audit_auditevent_question": "tests/chatgrid/console/test_record_entry.py",
}
HARMLESS = {
    "index": "only shows",
    "app_list": "leads home",
    "autocomplete": "only shows",
    "jsi18n": "only shows",
    "login": "leads to the product's own sign-in",
    "live": "only shows",
    "check_control": "looks at a control once more",
    "limits_limit_csv": "only shows",
    "limits_limit_import": "shows a plan; doing it is limits_limit_apply",
    "audit_auditevent_charts": "only shows",
    "audit_auditevent_questions": "only shows",
    "audit_auditevent_seals": "only shows",
    "audit_auditevent_run": "only shows",
    "audit_auditevent_verify": "looks at the seals once more",
    "audit_auditevent_search_save": "a name for one's own filters",
    "audit_auditevent_search_remove": "a name for one's own filters",
    "departments_department_provision": "makes what is missing, changes nothing",
    "keys_providerproject_plan": "makes a plan; doing it is keys_providerproject_apply",
    "keys_finding_repair": "one click against a leak, because every minute counts; the finding is the reason",
}
HARMLESS_ACTIONS = {
    "repair": HARMLESS["keys_finding_repair"],
    "provision_again": HARMLESS["departments_department_provision"],
    "change_chosen": "shows a plan; doing it is limits_limit_apply",
    "download_chosen": "only shows",
    "send_link": "a link goes to the person's own mailbox",
}


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


@pytest.fixture(autouse=True)
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these acts leave for the rotator is not what is tried here."""
    monkeypatch.setattr("chatgrid.console.admin.projects.ask", lambda *_, **__: True)


async def taken(response: Any) -> int:
    """The status; of a download also its first bytes, because nothing of it happens before."""
    if response.streaming:
        await anext(aiter(response.streaming_content))
    return int(response.status_code)


def written_by(person: User) -> list[dict[str, Any]]:
    """What stands in the record beside a reason."""
    events = AuditEvent.objects.filter(actor_id=person.pk, details__has_key="reason")
    return [event.details for event in events]


@pytest.mark.parametrize("make", ACTS, ids=lambda make: make.__name__)
async def test_an_act_asks_for_a_fresh_sign_in_and_a_reason(company: Company, make: Callable[[Company], Act]) -> None:
    """One walk: refused, sign-in renewed, the form back, refused without a reason, done, and in the record."""
    act = make(company)
    client = await signed_in(company.ivan)
    refused = await client.post(act.address, {**act.form, "reason": "they asked"})
    assert refused.status_code == 302
    assert refused.url.startswith(REAUTHENTICATE)
    assert not act.happened()
    before = timezone.now()
    carried = asked(await client.post(REAUTHENTICATE, {"password": PASSWORD}), act)
    assert not act.happened(), "a sign-in is no confirmation"
    if make not in ASKS_ITSELF:
        without = await client.post(act.address, {**carried, "reason": "   ", "confirming": "1"})
        assert b"Write why" in without.content
    assert not act.happened()
    assert written_by(company.ivan) == []
    assert await taken(await client.post(act.address, {**carried, "reason": "they asked"})) in {200, 302}
    assert act.happened()
    written = written_by(company.ivan)
    assert written
    assert {details["reason"] for details in written} == {"they asked"}
    signed = [details["signed_in_at"] for details in written if "signed_in_at" in details]
    assert all(datetime.fromisoformat(at) >= before - timedelta(seconds=1) for at in signed)


def test_every_address_and_action_of_the_console_is_walked_or_harmless(company: Company) -> None:
    names, actions = set(), set()
    for make in ACTS:
        with transaction.atomic():
            act = make(company)
            transaction.set_rollback(True)
        names.add(resolve(act.address).url_name)
        actions.add(act.form.get("action"))
    own = {name for name in site_names() if not name.endswith(STOCK)}
    assert own - names - set(WALKED_ELSEWHERE) - set(HARMLESS) == set(), "walk it in dangerous.py, or say why not"
    assert (set(WALKED_ELSEWHERE) | set(HARMLESS)) - own == set(), "no address any more"
    offered = {name for page in site._registry.values() for name in page.actions or ()}
    assert offered - actions == set(HARMLESS_ACTIONS), "walk it in dangerous.py, or say why not"


def site_names() -> set[str]:
    return {name for pattern in _patterns(site.get_urls()) if (name := pattern.name)}


async def test_a_wrong_password_renews_nothing(company: Company) -> None:
    act = change_role(company)
    client = await signed_in(company.ivan)
    await client.post(act.address, {**act.form, "reason": "they asked"})
    wrong = await client.post(REAUTHENTICATE, {"password": "not this one at all"})
    assert b"field-error" in wrong.content
    refused = await client.post(act.address, {**act.form, "reason": "they asked"})
    assert refused.url.startswith(REAUTHENTICATE)
    assert not act.happened()


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
