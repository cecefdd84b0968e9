"""A key that somebody types into the wrong field is kept nowhere and shown to nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.test import AsyncClient
from django.urls import reverse

from audit.models import AuditEvent
from departments.keys import rotation as rotating
from departments.keys.models import KeyReference
from departments.keys.rotation_models import Rotation
from departments.keys.secret import Secret
from departments.models import Department, Organization
from tests.company import Company, freshly_signed_in, give_key, make_key, signed_in


@pytest.fixture(autouse=True)
def nobody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)


async def send(client: AsyncClient, address: str, values: Mapping[str, str], key: Secret) -> str:
    """Type it, follow what comes, and look for the key everywhere it could have gone."""
    response = await client.post(address, values, follow=True)
    page: str = response.content.decode()
    session = await client.asession()
    kept = repr(list(AuditEvent.objects.values("details").order_by("-at")[:50])) + repr(list(session.items()))
    kept += repr(list(Rotation.objects.values())) + repr(list(Department.objects.values()))
    assert key.reveal()[10:40] not in page + kept + repr(client.cookies)
    assert response.status_code == 400
    return page


async def test_a_key_in_the_field_for_the_reason_is_refused(company: Company) -> None:
    key, client = make_key(), await freshly_signed_in(company.ivan)
    swapped = {"department": str(company.hr.pk), "key": "a new year", "reason": f"because {key.reveal()}"}
    page = await send(client, reverse("admin:keys_keyreference_paste"), swapped, key)
    assert "“reason” holds something that looks like a key" in page
    twice = {**swapped, "key": key.reveal()}
    await send(client, reverse("admin:keys_keyreference_paste"), twice, key)
    assert not Rotation.objects.filter(department=company.hr).exists()


async def test_a_department_s_admin_is_told_the_same(company: Company) -> None:
    Organization.objects.filter(pk=company.organization.pk).update(admins_paste_keys=True)
    key, client = make_key(), await freshly_signed_in(company.alice)
    await send(client, "/d/hr/key/paste/", {"key": key.reveal(), "reason": key.reveal()}, key)
    assert not Rotation.objects.filter(department=company.hr).exists()


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "old sign-in"])
async def test_a_key_as_the_reason_of_an_emergency_is_not_carried_over_a_sign_in(company: Company, fresh: bool) -> None:
    give_key(company.hr)
    key, client = make_key(), await (freshly_signed_in if fresh else signed_in)(company.ivan)
    reference = KeyReference.objects.get(department=company.hr)
    address = reverse("admin:keys_keyreference_ask", args=[reference.pk, "emergency"])
    await send(client, address, {"reason": f"it leaked: {key.reveal()}", "confirming": "1"}, key)
    assert not Rotation.objects.filter(department=company.hr).exists()


async def test_a_key_in_a_department_s_name_or_instructions_is_not_saved(company: Company) -> None:
    key, client = make_key(), await freshly_signed_in(company.ivan)
    address = reverse("admin:departments_department_change", args=[company.hr.pk])
    values: dict[str, Any] = {"name": key.reveal(), "instructions": f"use {key.reveal()}"}
    await send(client, address, values, key)
    await send(client, address, {key.reveal(): "a name of a field"}, key)
