"""What IT does in the console: it happens, and the record holds exactly that."""

from __future__ import annotations

import re
import secrets
from uuid import UUID

import pytest
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import AsyncClient
from django.urls import reverse

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from departments.limits.alert_models import AlertTarget, Notice
from departments.limits.alerts import secret_of
from departments.limits.models import Limit
from departments.models import Department, Membership, Organization
from departments.tasks import provision
from tests.company import PASSWORD, Company, freshly_signed_in, give_key, set_limit, signed_in

NO_MEMBERSHIPS = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}


def acts(company: Company) -> list[AuditEvent]:
    """What the console wrote, oldest first."""
    found = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.ADMIN_CHANGED)
    return list(found.order_by("at"))


def described(company: Company) -> list[tuple[str, str]]:
    return [(event.subject_kind, event.details["action"]) for event in acts(company)]


def person_form(company: Company, **changes: str) -> dict[str, str]:
    bob = company.bob
    return {"name": bob.name, "email": bob.email, "role": bob.role, "is_active": "on", **NO_MEMBERSHIPS, **changes}


async def change_bob(client: AsyncClient, company: Company, values: dict[str, str]) -> int:
    response = await client.post(reverse("admin:accounts_user_change", args=[company.bob.pk]), values)
    return response.status_code


async def test_a_change_is_recorded_with_before_after_person_and_address(company: Company) -> None:
    address = reverse("admin:departments_organization_change", args=[company.organization.pk])
    client = await signed_in(company.ivan)
    values = {"name": "Acme Europe", "time_zone": "Europe/Berlin", "second_factor": "off"}
    assert (await client.post(address, values)).status_code == 302
    (event,) = acts(company)
    assert event.details["before"] == {"name": company.organization.name}
    assert event.details["after"] == {"name": "Acme Europe"}
    assert (event.actor_id, event.actor_name) == (company.ivan.pk, "Ivan")
    assert event.client_address == "127.0.0.1"
    assert (event.subject_kind, event.subject_id) == ("organization", str(company.organization.pk))


async def test_saving_without_a_change_leaves_no_event(company: Company) -> None:
    assert await change_bob(await signed_in(company.ivan), company, person_form(company)) == 302
    assert acts(company) == []


async def test_no_event_no_change(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("the record is away")

    monkeypatch.setattr("chatgrid.console.recording.record", refuse)
    client = await signed_in(company.ivan)
    client.raise_request_exception = False
    assert await change_bob(client, company, person_form(company, name="Robert")) == 500
    assert User.objects.get(pk=company.bob.pk).name == "Bob"


async def test_a_new_person_gets_a_mail_and_chooses_a_password(company: Company) -> None:
    mail.outbox.clear()
    email = f"Frida@{secrets.token_hex(4)}.example"
    values = {"name": "Frida", "email": email, "role": "member", **NO_MEMBERSHIPS}
    values |= {
        "memberships-TOTAL_FORMS": "1",
        "memberships-0-department": str(company.hr.pk),
        "memberships-0-role": "member",
    }
    response = await (await signed_in(company.ivan)).post(reverse("admin:accounts_user_add"), values)
    assert response.status_code == 302
    frida = User.objects.get(email=email.lower())
    assert frida.organization_id == company.organization.pk
    assert not frida.has_usable_password()
    assert described(company) == [("person", "added"), ("membership", "added")]
    (letter,) = mail.outbox
    assert letter.to == [frida.email]
    visitor = AsyncClient()
    link = re.search(r"http://testserver(\S+)", letter.body)
    assert link
    page = await visitor.get(link.group(1), follow=True)
    chosen = {"password1": "a fine long phrase", "password2": "a fine long phrase"}
    await visitor.post(page.request["path"], chosen)
    frida.refresh_from_db()
    assert frida.check_password("a fine long phrase")
    assert b"a fine long phrase" not in str([event.details for event in acts(company)]).encode()
    again = await AsyncClient().get(link.group(1), follow=True)
    assert b"password1" not in again.content, "the link works once"


async def test_a_mail_server_that_is_away_undoes_nothing(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("chatgrid.accounts.adapter.AccountAdapter.send_mail", refuse)
    email = f"gus@{secrets.token_hex(4)}.example"
    values = {"name": "Gus", "email": email, "role": "member", **NO_MEMBERSHIPS}
    response = await (await signed_in(company.ivan)).post(reverse("admin:accounts_user_add"), values, follow=True)
    assert User.objects.filter(email=email).exists()
    assert b"could not be sent" in response.content


async def test_a_link_is_sent_again_and_that_is_recorded(company: Company) -> None:
    mail.outbox.clear()
    values = {"action": "send_link", "_selected_action": [str(company.bob.pk), str(company.carol.pk)]}
    await (await signed_in(company.ivan)).post(reverse("admin:accounts_user_changelist"), values)
    assert {letter.to[0] for letter in mail.outbox} == {company.bob.email, company.carol.email}
    assert described(company) == [("person", "link to set a password sent")] * 2


@pytest.mark.parametrize("way", ["form", "action"])
async def test_closing_a_sign_in_ends_the_sessions_at_once(company: Company, way: str) -> None:
    bob, carol = await signed_in(company.bob), await signed_in(company.carol)
    client = await freshly_signed_in(company.ivan)
    if way == "form":
        values = person_form(company, reason="left")
        del values["is_active"]
        assert await change_bob(client, company, values) == 302
    else:
        values = {"action": "close", "reason": "left", "_selected_action": [str(company.bob.pk)]}
        await client.post(reverse("admin:accounts_user_changelist"), values)
    (event,) = acts(company)
    assert (event.details["before"], event.details["after"]) == ({"is_active": True}, {"is_active": False})
    assert event.details["sessions_ended"] == 1
    assert not Session.objects.filter(session_key=bob.cookies["chatgrid_session"].value).exists()
    User.objects.filter(pk=company.bob.pk).update(is_active=True)
    sign_in = reverse("account_login")
    assert (await bob.get("/")).url.startswith(sign_in), "a session that ended does not come back with the person"
    assert not (await carol.get("/")).url.startswith(sign_in)


async def test_nobody_closes_or_demotes_themselves(company: Company) -> None:
    client = await signed_in(company.ivan)
    values = {"name": "Ivan", "email": company.ivan.email, "role": "member", **NO_MEMBERSHIPS}
    await client.post(reverse("admin:accounts_user_change", args=[company.ivan.pk]), values)
    values = {"action": "close", "_selected_action": [str(company.ivan.pk)]}
    await client.post(reverse("admin:accounts_user_changelist"), values)
    ivan = User.objects.get(pk=company.ivan.pk)
    assert (ivan.is_active, ivan.role) == (True, "it")


async def test_an_address_stays_once_its_person_has_signed_in(company: Company) -> None:
    client = await signed_in(company.ivan)
    corrected = f"bobby@{secrets.token_hex(4)}.example"
    assert await change_bob(client, company, person_form(company, email=corrected)) == 302
    assert User.objects.get(pk=company.bob.pk).email == corrected
    await AsyncClient().post(reverse("account_login"), {"login": corrected, "password": PASSWORD})
    assert User.objects.get(pk=company.bob.pk).last_login
    await change_bob(client, company, person_form(company, email=company.ivan.email))
    assert User.objects.get(pk=company.bob.pk).email == corrected


async def test_memberships_are_changed_from_the_person_s_page(company: Company) -> None:
    membership = Membership.objects.get(user=company.bob)
    values = person_form(company, reason="new team") | {
        "memberships-TOTAL_FORMS": "2",
        "memberships-INITIAL_FORMS": "1",
        "memberships-0-id": str(membership.pk),
        "memberships-0-user": str(company.bob.pk),
        "memberships-0-department": str(company.hr.pk),
        "memberships-0-role": "admin",
        "memberships-1-user": str(company.bob.pk),
        "memberships-1-department": str(company.finance.pk),
        "memberships-1-role": "member",
    }
    client = await freshly_signed_in(company.ivan)
    assert await change_bob(client, company, values) == 302
    assert described(company) == [("membership", "changed"), ("membership", "added")]
    assert acts(company)[0].details["after"] == {"role": "admin"}
    removal = values | {"memberships-TOTAL_FORMS": "1", "memberships-0-DELETE": "on"}
    assert await change_bob(client, company, removal) == 302
    assert described(company)[-1] == ("membership", "removed")
    assert acts(company)[-1].subject_id == str(membership.pk)
    assert not Membership.objects.filter(pk=membership.pk).exists()


async def test_a_new_department_has_a_store_of_its_own(company: Company) -> None:
    values = {"name": "Legal", "slug": "legal", "is_active": "on", "provider": "openai", "model": "gpt-6-luna"}
    values |= {"typed_secrets": "warn", "document_review": "off"}
    client = await signed_in(company.ivan)
    page = await client.post(reverse("admin:departments_department_add"), values, follow=True)
    legal = Department.objects.get(organization=company.organization, slug="legal")
    assert not legal.store_ready, "the web makes no secret, so it makes no store"
    assert "Legal is being completed" in page.content.decode()
    provision(str(legal.pk))
    legal.refresh_from_db()
    assert legal.store_ready
    assert described(company) == [("department", "added")]
    assert AuditEvent.objects.filter(department_id=legal.pk, event=Event.STORE_CREATED).count() == 1
    again = await client.post(reverse("admin:departments_department_add"), values)
    assert b"already exists" in again.content


async def test_a_store_that_cannot_be_made_is_said_and_made_later(
    company: Company, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.conf import settings as live

    address = live.PROVISIONER_URL
    monkeypatch.setattr(live, "PROVISIONER_URL", "")
    client = await signed_in(company.ivan)
    button = reverse("admin:departments_department_provision", args=[company.hr.pk])
    await client.post(button)
    provision(str(company.hr.pk))
    page = await client.get(reverse("admin:departments_department_change", args=[company.hr.pk]))
    assert "Missing. Set CHATGRID_PROVISIONER_URL" in page.content.decode()
    monkeypatch.setattr(live, "PROVISIONER_URL", address)
    values = {"action": "provision_again", "_selected_action": [str(company.hr.pk)]}
    await client.post(reverse("admin:departments_department_changelist"), values)
    provision(str(company.hr.pk))
    made = Department.objects.get(pk=company.hr.pk)
    assert (made.store_ready, made.store_failure) == (True, "")
    assert described(company) == [("department", "store set up again")] * 2
    assert (await client.get(button)).status_code == 405


async def test_a_limit_needs_a_reason_each_time(company: Company) -> None:
    limit = set_limit(company, department=company.hr, tokens_per_day=100)
    address = reverse("admin:limits_limit_change", args=[limit.pk])
    client = await signed_in(company.ivan)
    assert b'value="test"' not in (await client.get(address)).content
    assert (await client.post(address, {"tokens_per_day": "50", "reason": ""})).status_code == 200
    assert acts(company) == []
    assert (await client.post(address, {"tokens_per_day": "50", "reason": "spent too fast"})).status_code == 302
    (event,) = acts(company)
    assert event.details["before"] == {"tokens_per_day": 100, "reason": "test"}
    assert event.details["after"] == {"tokens_per_day": 50, "reason": "spent too fast"}
    assert event.department_name == "Human Resources"


async def test_a_limit_goes_with_a_reason_only(company: Company) -> None:
    limit = set_limit(company, tokens_per_day=100)
    address = reverse("admin:limits_limit_delete", args=[limit.pk])
    client = await freshly_signed_in(company.ivan)
    response = await client.post(address, {"post": "yes", "reason": "  "}, follow=True)
    assert b"Nothing was deleted" in response.content
    assert Limit.objects.filter(pk=limit.pk).exists()
    assert (await client.post(address, {"post": "yes", "reason": "a new contract"})).status_code == 302
    assert not Limit.objects.filter(pk=limit.pk).exists()
    (event,) = acts(company)
    assert (event.details["action"], event.details["reason"]) == ("deleted", "a new contract")
    assert event.details["before"]["tokens_per_day"] == 100


async def test_a_limit_names_one_scope_once(company: Company) -> None:
    client = await signed_in(company.ivan)
    add = reverse("admin:limits_limit_add")
    model = {"model": "m", "person": str(company.bob.pk), "requests_per_minute": "5", "reason": "x"}
    assert b"and nothing else" in (await client.post(add, model)).content
    person = {"person": str(company.bob.pk), "person_tokens_per_day": "5", "reason": "x"}
    assert b"no default for each person" in (await client.post(add, person)).content
    company_wide = {"tokens_per_day": "5", "reason": "x"}
    assert (await client.post(add, company_wide)).status_code == 302
    assert b"already exists" in (await client.post(add, company_wide)).content
    assert described(company) == [("limit", "added")]


async def test_a_history_tells_who_changed_what(company: Company) -> None:
    limit = set_limit(company, tokens_per_day=100)
    client = await signed_in(company.ivan)
    change = reverse("admin:limits_limit_change", args=[limit.pk])
    await client.post(change, {"tokens_per_day": "70", "reason": "less is enough"})
    page = (await client.get(reverse("admin:limits_limit_history", args=[limit.pk]))).content.decode()
    assert "<div>Tokens a day: 100 → 70</div>" in page
    assert "<td>less is enough</td>" in page
    assert "Ivan" in page


async def test_names_are_text_and_never_markup(company: Company) -> None:
    attack = "<img src=x onerror=alert(1)>"
    give_key(company.hr)
    Department.objects.filter(pk=company.hr.pk).update(name=attack)
    User.objects.filter(pk=company.bob.pk).update(name=attack)
    Organization.objects.filter(pk=company.organization.pk).update(name=attack)
    limit = set_limit(company, department=company.hr, tokens_per_day=3)
    client = await freshly_signed_in(company.ivan)
    await change_bob(client, company, person_form(company, name=attack + "!"))
    await client.post(reverse("admin:limits_limit_change", args=[limit.pk]), {"tokens_per_day": "4", "reason": attack})
    event: UUID = acts(company)[-1].pk
    pages = [
        "/admin/",
        *(reverse(f"admin:{name}_changelist") for name in ("accounts_user", "departments_membership", "limits_limit")),
        *(reverse(f"admin:{name}_changelist") for name in ("departments_department", "keys_keyreference")),
        reverse("admin:audit_auditevent_changelist"),
        reverse("admin:audit_auditevent_changelist") + f"?person={company.bob.pk}&q={attack}",
        reverse("admin:audit_auditevent_change", args=[event]),
        reverse("admin:limits_limit_history", args=[limit.pk]),
        reverse("admin:accounts_user_change", args=[company.bob.pk]),
        reverse("admin:departments_department_change", args=[company.hr.pk]),
        reverse("admin:keys_keyreference_paste"),
    ]
    for page in pages:
        response = await client.get(page)
        assert response.status_code == 200, page
        assert "<img src=x" not in response.content.decode(), page


async def test_it_sets_up_a_webhook_and_only_it_reads_its_secret(company: Company) -> None:
    client = await freshly_signed_in(company.ivan)
    add = reverse("admin:limits_alerttarget_add")
    hook = {"kind": "webhook", "address": "https://hooks.example.com/chatgrid", "is_active": "on"}
    refused = await client.post(add, hook | {"address": "https://user:pw@hooks.example.com/"})
    assert b"signed instead" in refused.content
    assert (await client.post(add, hook)).status_code == 302
    target = await AlertTarget.objects.aget(organization=company.organization)
    change = reverse("admin:limits_alerttarget_change", args=[target.pk])
    assert secret_of(target) in (await client.get(change)).content.decode()
    assert "None yet" in (await client.get(change)).content.decode()
    message = {"organization": company.organization, "target": target, "kind": "webhook", "attempts": 1}
    notice = await Notice.objects.acreate(**message, problem="The server answered 500.")
    for page in (change, reverse("admin:limits_alerttarget_changelist")):
        assert "Did not arrive. The server answered 500." in (await client.get(page)).content.decode()
    await Notice.objects.filter(pk=notice.pk).aupdate(sent_at=notice.created_at, problem="")
    assert f"Arrived, {notice.created_at:%Y-%m-%d %H:%M} UTC" in (await client.get(change)).content.decode()
    auditor = await signed_in(company.ada)
    assert secret_of(target) not in (await auditor.get(change)).content.decode()
    assert described(company) == [("alert target", "added")]
