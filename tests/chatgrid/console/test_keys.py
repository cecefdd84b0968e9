"""The console's pages of keys, admin keys, exchanges and the people who could have seen them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import transaction
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from audit.writer import Entry, record
from departments.keys import rotation as rotating
from departments.keys.models import AdminKeyReference, KeyReference
from departments.keys.reader import KeyOrigin, note_provider_key
from departments.keys.rotation import By
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.keys.rotation_subjects import admin_key_of
from departments.models import Department
from tests.company import Company, freshly_signed_in, give_key, make_key, signed_in
from tests.openai_admin import OpenAICompany, make_admin_key
from tests.provider import Provider

Trigger, Mode, What = Rotation.Trigger, Rotation.Mode, Rotation.What


@pytest.fixture(autouse=True)
def nobody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)


@pytest.fixture
def key(company: Company) -> KeyReference:
    give_key(company.hr)
    return KeyReference.objects.get(department=company.hr)


@pytest.fixture
def openai(provider: Provider, company: Company) -> Iterator[OpenAICompany]:
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    yield there
    there.behave()


def page_of(key: KeyReference) -> str:
    return reverse("admin:keys_keyreference_change", args=[key.pk])


def ask_address(key: KeyReference, button: str) -> str:
    return reverse("admin:keys_keyreference_ask", args=[key.pk, button])


def opened(company: Company, what: str = What.KEY) -> Rotation:
    return Rotation.objects.get(organization=company.organization, what=what, closed_at=None)


def request_event(company: Company, key: KeyReference, version: str, **more: object) -> None:
    record(
        Entry(
            event=Event.CALL_REQUESTED,
            organization_id=company.organization.pk,
            department_id=company.hr.pk,
            purpose="chat",
            key_fingerprint=key.fingerprint,
            key_version=version,
            **more,
        )
    )


async def test_the_page_of_a_key_tells_all_that_may_be_told(company: Company, key: KeyReference) -> None:
    origin = KeyOrigin("key_of_ours", "proj_of_hr", "svc_of_ours", timezone.now() + timedelta(days=30))
    secret = make_key()
    await _sync(note_provider_key, company.hr, secret, "version-now", origin)
    await KeyReference.objects.filter(pk=key.pk).aupdate(used_at_provider=timezone.now() - timedelta(hours=2))
    key = await KeyReference.objects.aget(pk=key.pk)
    await _sync(request_event, company, key, "version-now", call_id=key.pk)
    await _sync(request_event, company, key, "version-before", call_id=company.hr.pk)
    page = " ".join((await (await signed_in(company.ivan)).get(page_of(key))).content.decode().split())
    for told in ("proj_of_hr", "key_of_ours", key.fingerprint, "version-now", "Last used by ChatGrid", "Next exchange"):
        assert told in page, told
    assert "<strong>1</strong> with version <code>version-now</code> (current)" in page
    assert "<strong>1</strong> with version <code>version-before</code> (an older one)" in page
    assert f"{key.expires_at - timedelta(days=14):%Y}" in page
    assert secret.reveal()[-4:] not in page


async def _sync(call: object, *arguments: object, **named: object) -> object:
    from asgiref.sync import sync_to_async

    return await sync_to_async(call)(*arguments, **named)  # type: ignore[arg-type]


async def test_exchanging_now_asks_for_a_fresh_sign_in_and_a_reason(company: Company, key: KeyReference) -> None:
    stale = await (await signed_in(company.ivan)).post(ask_address(key, "rotate"))
    assert stale.headers["Location"].startswith("/accounts/reauthenticate/")
    client = await freshly_signed_in(company.ivan)
    page = (await client.post(ask_address(key, "rotate"))).content.decode()
    assert "Exchange the key of Human Resources." in page
    assert not Rotation.objects.filter(department=company.hr).exists()
    answer = await client.post(ask_address(key, "rotate"), {"reason": "before the audit"}, follow=True)
    rotation = opened(company)
    assert (rotation.trigger, rotation.mode, rotation.reason) == (Trigger.BUTTON, Mode.PLANNED, "before the audit")
    assert rotation.started_by_name == "Ivan"
    assert "A new key is on its way" in answer.content.decode()
    act = AuditEvent.objects.get(organization_id=company.organization.pk, event=Event.ADMIN_CHANGED)
    assert (act.details["action"], act.details["reason"]) == ("exchange asked for", "before the audit")


async def test_the_emergency_button_is_an_emergency(company: Company, key: KeyReference) -> None:
    client = await freshly_signed_in(company.ivan)
    await client.post(ask_address(key, "emergency"), {"reason": "seen in a repository"})
    assert (opened(company).trigger, opened(company).mode) == (Trigger.LEAK, Mode.EMERGENCY)


async def test_the_password_of_the_store_has_buttons_of_its_own(company: Company, key: KeyReference) -> None:
    client = await freshly_signed_in(company.ivan)
    assert (await client.post(ask_address(key, "rotate-store"), {"reason": "x"})).status_code == 404
    await Department.objects.filter(pk=company.hr.pk).aupdate(store_ready=True)
    await client.post(ask_address(key, "emergency-store"), {"reason": "a backup was lost"})
    assert opened(company, What.STORE_PASSWORD).mode == Mode.EMERGENCY
    assert (await client.post(ask_address(key, "another"), {"reason": "x"})).status_code == 404


async def test_buttons_are_for_it_of_the_own_company(
    company: Company, other_company: Company, key: KeyReference
) -> None:
    rotation = rotating.start(company.hr, Trigger.BUTTON)
    addresses = [ask_address(key, "rotate"), reverse("admin:keys_rotation_do", args=[rotation.pk, "look-again"])]
    for address in addresses:
        expected = {company.ada: 403, company.bob: 403, company.alice: 403, other_company.ivan: 404}
        for person, status in expected.items():
            client = await freshly_signed_in(person)
            assert (await client.post(address, {"reason": "mine"})).status_code == status, (address, person)
        assert (await (await freshly_signed_in(company.ivan)).get(address)).status_code == 405


async def test_a_rotation_s_page_tells_its_story_and_offers_what_can_be_done(
    company: Company, other_company: Company, key: KeyReference
) -> None:
    rotation = rotating.start(company.hr, Trigger.BUTTON, reason="spring")
    client = await freshly_signed_in(company.ivan)
    address = reverse("admin:keys_rotation_change", args=[rotation.pk])
    page = (await client.get(address)).content.decode()
    assert "The exchange of a key or password began" in page
    assert "Give it up" in page
    assert "spring" in page
    assert (await (await signed_in(company.ada)).get(address)).status_code == 200
    assert "Give it up" not in (await (await signed_in(company.ada)).get(address)).content.decode()
    assert (await (await signed_in(other_company.ivan)).get(address)).status_code == 404
    do = reverse("admin:keys_rotation_do", args=[rotation.pk, "give-up"])
    await client.post(do, {"reason": "not today"})
    await rotation.arefresh_from_db()
    assert rotation.give_up_asked
    nothing = reverse("admin:keys_rotation_do", args=[rotation.pk, "confirm-deletion"])
    said = await client.post(nothing, {"reason": "x"}, follow=True)
    assert "does not wait for a confirmation" in said.content.decode()
    with transaction.atomic():
        Rotation.objects.filter(pk=rotation.pk).update(retiring_at=timezone.now())
    late = await client.post(do, {"reason": "x"}, follow=True)
    assert "there is no way back" in late.content.decode()


async def test_a_person_confirms_a_deletion_without_a_new_key(company: Company, key: KeyReference) -> None:
    rotation = rotating.start(company.hr, Trigger.LEAK)
    await Rotation.objects.filter(pk=rotation.pk).aupdate(needs_confirmation=True)
    client = await freshly_signed_in(company.ivan)
    page = await client.get(reverse("admin:keys_rotation_change", args=[rotation.pk]))
    assert "Delete the old key without a new one" in page.content.decode()
    await client.post(
        reverse("admin:keys_rotation_do", args=[rotation.pk, "confirm-deletion"]), {"reason": "it is public"}
    )
    await rotation.arefresh_from_db()
    assert rotation.deletion_confirmed


# -- the admin key


async def paste_admin(client: AsyncClient, pasted: str) -> str:
    address = reverse("admin:keys_adminkeyreference_paste")
    return (await client.post(address, {"key": pasted, "reason": "ours"}, follow=True)).content.decode()


async def test_an_admin_key_is_pasted_tried_and_shown_to_nobody(company: Company, provider: Provider) -> None:
    client, secret = await freshly_signed_in(company.ivan), make_admin_key()
    seen = await paste_admin(client, secret.reveal())
    assert "is being tried" in seen
    rotation = opened(company, What.ADMIN_KEY)
    await _sync(rotating.advance, rotation.pk)
    reference = await AdminKeyReference.objects.aget(organization=company.organization)
    assert reference.fingerprint == secret.fingerprint()
    seen += (await client.get(reverse("admin:keys_adminkeyreference_changelist"))).content.decode()
    seen += (await client.get(reverse("admin:keys_adminkeyreference_change", args=[reference.pk]))).content.decode()
    assert secret.fingerprint() in seen
    written = str([row async for row in AuditEvent.objects.filter(organization_id=company.organization.pk).values()])
    assert secret.reveal() not in seen + written


async def test_a_project_key_is_no_admin_key(company: Company) -> None:
    key = make_key()
    page = await paste_admin(await freshly_signed_in(company.ivan), key.reveal())
    assert "no admin key of OpenAI" in page
    assert key.reveal() not in page
    assert not Rotation.objects.filter(organization=company.organization).exists()


async def test_the_admin_key_is_exchanged_from_its_page(
    company: Company, other_company: Company, openai: OpenAICompany
) -> None:
    reference = await AdminKeyReference.objects.aget(organization=company.organization)
    address = reverse("admin:keys_adminkeyreference_ask", args=[reference.pk, "emergency"])
    for person, status in {company.ada: 403, company.bob: 403, other_company.ivan: 404}.items():
        assert (await (await freshly_signed_in(person)).post(address, {"reason": "x"})).status_code == status
    await (await freshly_signed_in(company.ivan)).post(address, {"reason": "an owner left"})
    assert (opened(company, What.ADMIN_KEY).mode, opened(company, What.ADMIN_KEY).department) == (Mode.EMERGENCY, None)


# -- people


async def test_it_notes_who_administers_an_entry_and_ends_that_with_an_exchange(
    company: Company, other_company: Company, key: KeyReference
) -> None:
    client = await freshly_signed_in(company.ivan)
    add = reverse("admin:keys_keyaccess_add")
    await client.post(add, {"person": str(company.dave.pk), "department": str(company.hr.pk), "reason": "runs AWS"})
    row = await KeyAccess.objects.aget(person=company.dave)
    assert (row.how, row.organization_id, row.department_id) == ("vault", company.organization.pk, company.hr.pk)
    foreign = {"person": str(company.dave.pk), "department": str(other_company.hr.pk), "reason": "x"}
    assert (await client.post(add, foreign)).status_code == 200, "refused"
    listing = reverse("admin:keys_keyaccess_changelist")
    assert "Dave" in (await client.get(listing)).content.decode()
    action = {"action": "end_access", "_selected_action": [str(row.pk)], "reason": "changed teams"}
    await client.post(listing, action)
    assert not await KeyAccess.objects.filter(pk=row.pk).aexists()
    rotation = opened(company)
    assert (rotation.trigger, rotation.reason, rotation.department_id) == (
        Trigger.PERSON_LEFT,
        "changed teams",
        company.hr.pk,
    )


async def test_an_administrator_of_the_admin_key_s_entry_has_no_department(
    company: Company, openai: OpenAICompany
) -> None:
    client = await freshly_signed_in(company.ivan)
    await client.post(reverse("admin:keys_keyaccess_add"), {"person": str(company.dave.pk), "department": ""})
    row = await KeyAccess.objects.aget(person=company.dave)
    assert (row.department, row.organization_id) == (None, company.organization.pk)
    listing = reverse("admin:keys_keyaccess_changelist")
    await client.post(listing, {"action": "end_access", "_selected_action": [str(row.pk)], "reason": "left"})
    assert opened(company, What.ADMIN_KEY).trigger == Trigger.PERSON_LEFT


async def test_an_auditor_sees_who_could_see_what_and_changes_nothing(company: Company, key: KeyReference) -> None:
    rotating.start_pasted(admin_key_of(company.organization), make_admin_key(), By(company.ivan.pk, "Ivan"))
    client = await signed_in(company.ada)
    page = (await client.get(reverse("admin:keys_keyaccess_changelist"))).content.decode()
    assert "Pasted it" in page
    assert (await client.get(reverse("admin:keys_keyaccess_add"))).status_code == 403
