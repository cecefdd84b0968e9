"""Signing in and out: who gets in, what the record says, and that nobody can find out who exists."""

from __future__ import annotations

import pytest
from django.test import AsyncClient
from django.urls import NoReverseMatch, reverse

from audit.events import Event
from audit.models import AuditEvent
from tests.company import PASSWORD, Company, signed_in


async def sign_in(email: str, password: str = PASSWORD) -> tuple[AsyncClient, int]:
    client = AsyncClient()
    response = await client.post(reverse("account_login"), {"login": email, "password": password})
    return client, response.status_code


def events(company: Company) -> list[str]:
    found = AuditEvent.objects.filter(organization_id=company.organization.pk, event__startswith="account:")
    return list(found.order_by("at").values_list("event", flat=True))


async def test_a_person_signs_in_with_address_and_password(company: Company) -> None:
    client, status = await sign_in(company.bob.email)
    assert status == 302
    assert (await client.get("/d/hr/")).status_code == 200
    assert events(company) == [Event.SIGNED_IN]


async def test_a_wrong_password_is_refused_and_recorded(company: Company) -> None:
    client, status = await sign_in(company.bob.email, "not the password")
    assert status == 200
    assert (await client.get("/d/hr/")).status_code == 302
    assert events(company) == [Event.SIGN_IN_REFUSED]


async def test_a_person_who_was_closed_does_not_get_in(company: Company) -> None:
    company.bob.is_active = False
    await company.bob.asave()
    client, _ = await sign_in(company.bob.email)
    assert (await client.get("/d/hr/")).status_code == 302


async def test_closing_a_person_ends_the_session_at_once(company: Company) -> None:
    client = await signed_in(company.bob)
    assert (await client.get("/d/hr/")).status_code == 200
    company.bob.is_active = False
    await company.bob.asave()
    assert (await client.get("/d/hr/")).status_code == 302
    asked = await client.post("/d/hr/ask", {"question": "x"})  # by the way without a thread, which looks for itself
    assert asked.status_code == 302


async def test_signing_out_needs_a_click_and_is_recorded(company: Company) -> None:
    client = await signed_in(company.bob)
    await client.get(reverse("account_logout"))
    assert (await client.get("/d/hr/")).status_code == 200, "a link alone must not sign out"
    await client.post(reverse("account_logout"))
    assert (await client.get("/d/hr/")).status_code == 302
    assert events(company)[-1] == Event.SIGNED_OUT


async def test_known_and_unknown_addresses_look_the_same(company: Company) -> None:
    _, known = await sign_in(company.bob.email, "wrong")
    _, unknown = await sign_in("nobody@nowhere.example", "wrong")
    assert known == unknown
    reset = [
        await AsyncClient().post(reverse("account_reset_password"), {"email": email})
        for email in (company.bob.email, "nobody@nowhere.example")
    ]
    assert reset[0].status_code == reset[1].status_code == 302
    assert reset[0].headers["Location"] == reset[1].headers["Location"]


def test_nobody_signs_up() -> None:
    with pytest.raises(NoReverseMatch):
        reverse("account_signup")


async def test_what_a_script_asks_signed_out_is_a_401_with_a_sentence(company: Company) -> None:
    response = await AsyncClient().post("/d/hr/ask", {"question": "x"}, headers={"Accept": "text/event-stream"})
    assert response.status_code == 401
    assert "signed out" in response.json()["sentence"]
