"""A pasted key: into the inbox by the web, from there by the rotator, tried before anybody gets it, shown to nobody."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import AsyncClient
from django.urls import reverse

from audit.events import Event
from audit.models import AuditEvent
from departments.keys import reader
from departments.keys import rotation as rotating
from departments.keys.models import KeyReference
from departments.keys.reader import current_vault, key_name
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.keys.secret import Secret
from departments.keys.vaults import Vault, VaultRefused, VaultUnavailable
from departments.models import Department, Organization
from tests.company import Company, freshly_signed_in, give_key, make_key, signed_in
from tests.provider import Provider


class WebVault:
    """The secret manager as the role `web` of deploy/ has it: reads departments, writes the inbox, nothing else."""

    def __init__(self, inner: Vault) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in {"promote", "drop_stage", "delete"}:
            raise VaultRefused(f"the role web may not {name}")
        return getattr(self.inner, name)

    def stage(self, name: str, token: str, value: Secret) -> None:
        if "/inbox/" not in name:
            raise VaultRefused(f"the role web may not write {name}")
        self.inner.stage(name, token, value)


@pytest.fixture(autouse=True)
def nobody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)


@pytest.fixture
def as_web(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages run with the rights of their own role."""
    restricted = WebVault(reader.current_vault())
    with monkeypatch.context() as patched:
        for module in (rotating, reader):
            patched.setattr(module, "current_vault", lambda: restricted)
        yield


def work(department: Department) -> Rotation:
    """The rotator, with its own rights, until the rotation closes or waits."""
    rotation = Rotation.objects.filter(department=department).first()
    assert rotation is not None
    rotating.advance(rotation.pk)
    rotation.refresh_from_db()
    return rotation


async def paste(client: AsyncClient, department: Department, pasted: str) -> str:
    values = {"department": str(department.pk), "key": pasted, "reason": "a new year"}
    response = await client.post(reverse("admin:keys_keyreference_paste"), values, follow=True)
    return response.content.decode()


def described(company: Company) -> list[tuple[str, str]]:
    found = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.ADMIN_CHANGED)
    return [(event.subject_kind, event.details["action"]) for event in found.order_by("at")]


async def test_the_first_key_of_a_department_goes_by_the_inbox_and_is_used_when_it_has_answered(
    company: Company, provider: Provider, as_web: None
) -> None:
    key = make_key()
    seen = await paste(await freshly_signed_in(company.ivan), company.hr, f"  {key.reveal()}\n")
    assert "is being tried" in seen
    assert not KeyReference.objects.filter(department=company.hr).exists(), "nobody reads it before it was tried"
    assert described(company) == [("department", "key pasted")]
    assert KeyAccess.objects.filter(person=company.ivan, department=company.hr, how=KeyAccess.How.PASTED).exists()


async def test_the_rotator_makes_a_pasted_key_current(company: Company, provider: Provider) -> None:
    old, key = give_key(company.hr), make_key()
    client = await freshly_signed_in(company.ivan)
    seen = await paste(client, company.hr, key.reveal())
    rotation = work(company.hr)
    assert rotation.step == Rotation.Step.DRAIN
    reference = KeyReference.objects.get(department=company.hr)
    assert (reference.fingerprint, reference.version) == (key.fingerprint(), str(rotation.pk))
    assert key.reveal() in current_vault().get_current(key_name(company.hr)).value.reveal()
    for page in ("change", "history"):
        seen += (await client.get(reverse(f"admin:keys_keyreference_{page}", args=[reference.pk]))).content.decode()
    written = str(list(AuditEvent.objects.filter(department_id=company.hr.pk).values()))
    for secret in (key.reveal(), old.reveal()):
        assert secret not in seen + written


async def test_a_key_that_the_provider_refuses_never_becomes_current(company: Company, provider: Provider) -> None:
    old, dead = give_key(company.hr), make_key()
    provider.revoke(dead)
    await paste(await freshly_signed_in(company.ivan), company.hr, dead.reveal())
    rotation = work(company.hr)
    assert rotation.step == Rotation.Step.VERIFY
    assert "tried: dead" in rotation.problem
    assert KeyReference.objects.get(department=company.hr).fingerprint == old.fingerprint()


async def test_a_second_key_pasted_while_the_first_is_tried_is_refused_in_words(company: Company) -> None:
    give_key(company.hr)
    client = await freshly_signed_in(company.ivan)
    await paste(client, company.hr, make_key().reveal())
    assert "Another key was pasted a moment ago" in await paste(client, company.hr, make_key().reveal())


async def test_pasting_asks_for_a_fresh_sign_in_first(company: Company) -> None:
    client = await signed_in(company.ivan)
    address = reverse("admin:keys_keyreference_paste")
    for response in (await client.get(address), await client.post(address, {"key": make_key().reveal()})):
        assert response.headers["Location"].startswith("/accounts/reauthenticate/")
    assert not Rotation.objects.filter(department=company.hr).exists()


@pytest.mark.parametrize("kind", ["admin", "broken", "elsewhere"])
async def test_what_is_not_a_key_is_refused_without_an_echo(company: Company, kind: str) -> None:
    mark = secrets.token_hex(12)
    pasted = {"admin": "-".join(("sk", "admin", mark)), "broken": f"{mark} {mark}", "elsewhere": "gsk" + "_" + mark}
    page = await paste(await freshly_signed_in(company.ivan), company.hr, pasted[kind])
    assert "field-error" in page
    assert mark not in page
    assert described(company) == []
    assert not Rotation.objects.filter(department=company.hr).exists()


async def test_a_key_of_another_department_is_refused_without_an_echo(company: Company) -> None:
    key = give_key(company.finance)
    page = await paste(await freshly_signed_in(company.ivan), company.hr, key.reveal())
    assert "in use elsewhere" in page
    assert key.reveal() not in page
    assert (described(company), Rotation.objects.filter(department=company.hr).exists()) == ([], False)


async def test_a_provider_that_settings_name_no_longer_is_said(company: Company) -> None:
    Department.objects.filter(pk=company.hr.pk).update(provider="gone")
    page = await paste(await freshly_signed_in(company.ivan), company.hr, make_key().reveal())
    Department.objects.filter(pk=company.hr.pk).update(provider="openai")
    assert "There is no provider gone" in page


async def test_a_secret_manager_that_is_away_is_said_without_an_echo(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        def stage(self, *_: object) -> None:
            raise VaultUnavailable("no answer")

    monkeypatch.setattr(rotating, "current_vault", Away)
    key = make_key()
    page = await paste(await freshly_signed_in(company.ivan), company.hr, key.reveal())
    assert "The secret manager did not take the key" in page
    assert key.reveal() not in page
    monkeypatch.undo()
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)
    withdrawn = work(company.hr)
    assert withdrawn.result == Rotation.Result.ROLLED_BACK
    assert not KeyAccess.objects.filter(department=company.hr, how=KeyAccess.How.PASTED).exists()


async def test_a_key_cannot_be_pasted_for_another_company(company: Company, other_company: Company) -> None:
    key = make_key()
    page = await paste(await freshly_signed_in(other_company.ivan), company.hr, key.reveal())
    assert key.reveal() not in page
    assert not Rotation.objects.filter(department=company.hr).exists()


async def test_the_field_for_a_key_asks_the_browser_to_forget(company: Company) -> None:
    client = await freshly_signed_in(company.ivan)
    page = (await client.get(reverse("admin:keys_keyreference_paste"))).content.decode()
    field = re.search(r"<input[^>]*name=\"key\"[^>]*>", page)
    assert field
    assert 'autocomplete="off"' in field.group()
    assert 'spellcheck="false"' in field.group()
    assert "value=" not in field.group()


# -- the department's own admin


def allow(company: Company) -> None:
    Organization.objects.filter(pk=company.organization.pk).update(admins_paste_keys=True)


async def test_a_department_admin_sees_state_and_age_and_who_can_paste(company: Company) -> None:
    key = give_key(company.hr)
    client = await signed_in(company.alice)
    page = (await client.get(reverse("department_key", args=["hr"]))).content.decode()
    assert key.fingerprint() in page
    assert "The key works." in page
    assert "stored by IT" in page
    assert key.reveal()[-4:] not in page
    assert (await client.get(reverse("department_key_paste", args=["hr"]))).status_code == 403


async def test_a_department_without_a_key_says_so_to_its_admin(company: Company) -> None:
    page = (await (await signed_in(company.alice)).get(reverse("department_key", args=["hr"]))).content.decode()
    assert "There is no key yet" in page


async def test_a_department_admin_pastes_where_the_organization_allows_it(company: Company, as_web: None) -> None:
    allow(company)
    address = reverse("department_key_paste", args=["hr"])
    stale = await (await signed_in(company.alice)).get(address)
    assert stale.headers["Location"].startswith("/accounts/reauthenticate/")
    client, key = await freshly_signed_in(company.alice), make_key()
    response = await client.post(address, {"key": key.reveal(), "reason": "ours now"}, follow=True)
    assert "is being tried" in response.content.decode()
    assert "A new key is on its way" in response.content.decode()
    rotation = Rotation.objects.get(department=company.hr)
    assert (rotation.started_by_name, rotation.trigger) == ("Alice", Rotation.Trigger.PASTE)
    refused = await client.post(address, {"key": "no key at all"})
    assert "field-error" in refused.content.decode()


async def test_the_page_for_pasting_is_there_for_nobody_else(company: Company, other_company: Company) -> None:
    allow(company)
    address = reverse("department_key_paste", args=["finance"])
    for person, status in ((company.dave, 403), (company.alice, 404), (company.ivan, 404), (company.ada, 404)):
        client = await freshly_signed_in(person)
        assert (await client.get(address)).status_code == status, person
        assert (await client.post(address, {"key": make_key().reveal(), "reason": "x"})).status_code == status, person
    assert not Rotation.objects.filter(department=company.finance).exists()
