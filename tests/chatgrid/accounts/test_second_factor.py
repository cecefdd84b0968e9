"""The second factor: set up, asked for, lost, taken off; and what stays closed to whoever must have one without it."""

from __future__ import annotations

import secrets
import time
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY, format_hotp_value, hotp_value
from django.core.cache import cache
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from departments.models import Organization, SecondFactor
from tests.company import PASSWORD, Company, freshly_signed_in, give_store, make_company, signed_in

HOME = "mfa_index"


def code_of(secret: str, later: int = 0) -> str:
    """What an app shows now, or so many periods later."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + later))


async def set_up(person: User) -> tuple[AsyncClient, str, list[str]]:
    """As a person does it; the browser it was done in, the app's secret and the recovery codes."""
    client = await freshly_signed_in(person)
    await client.get(reverse("mfa_activate_totp"))
    secret = (await client.asession())[SECRET_SESSION_KEY]
    done = await client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    assert done.headers["Location"] == reverse("mfa_view_recovery_codes")
    shown = await client.get(reverse("mfa_view_recovery_codes"))
    return client, secret, list(shown.context["unused_codes"])


async def give_password(person: User) -> tuple[AsyncClient, Any]:
    client = AsyncClient()
    return client, await client.post(reverse("account_login"), {"login": person.email, "password": PASSWORD})


async def sign_in(person: User, code: str) -> AsyncClient:
    client, response = await give_password(person)
    assert response.headers["Location"] == reverse("mfa_authenticate")
    await client.post(reverse("mfa_authenticate"), {"code": code})
    return client


async def is_in(client: AsyncClient) -> bool:
    return (await client.get(reverse(HOME))).status_code == 200


def events(person: User) -> list[str]:
    found = AuditEvent.objects.filter(actor_id=person.pk, event__startswith="account:").order_by("at")
    return list(found.values_list("event", flat=True))


async def test_it_is_set_up_with_an_app_and_gives_ten_codes_and_no_secret_lies_in_the_database(
    company: Company,
) -> None:
    _, secret, codes = await set_up(company.bob)
    assert len(set(codes)) == 10
    assert events(company.bob).count(Event.SECOND_FACTOR_ADDED) == 2, "the app, and the codes that come with it"
    stored = str(list(Authenticator.objects.filter(user=company.bob).values_list("data", flat=True)))
    assert secret not in stored
    assert not any(code in stored for code in codes)


async def test_setting_it_up_asks_for_the_password_once_more_and_for_a_code_that_fits(company: Company) -> None:
    client = await signed_in(company.bob)
    asked = await client.get(reverse("mfa_activate_totp"))
    assert asked.headers["Location"].startswith(reverse("account_reauthenticate"))
    await client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    await client.get(reverse("mfa_activate_totp"))
    refused = await client.post(reverse("mfa_activate_totp"), {"code": "000000"})
    assert refused.status_code == 200
    assert not Authenticator.objects.filter(user=company.bob).exists()


async def test_the_password_alone_signs_nobody_in_then(company: Company) -> None:
    _, secret, _ = await set_up(company.bob)
    client, response = await give_password(company.bob)
    assert response.headers["Location"] == reverse("mfa_authenticate")
    for address in ("/", "/d/hr/", reverse(HOME), reverse("account_change_password")):
        assert (await client.get(address)).status_code == 302, address
    wrong = await client.post(reverse("mfa_authenticate"), {"code": "000000"})
    assert wrong.status_code == 200
    assert not await is_in(client)
    await client.post(reverse("mfa_authenticate"), {"code": code_of(secret, 1)})
    assert await is_in(client)
    assert events(company.bob)[-3:] == [Event.SECOND_FACTOR_REFUSED, Event.SECOND_FACTOR_USED, Event.SIGNED_IN]


async def test_a_code_that_was_seen_over_a_shoulder_does_not_work_again(company: Company) -> None:
    _, secret, codes = await set_up(company.bob)
    for code in (code_of(secret, 1), codes[0]):
        assert await is_in(await sign_in(company.bob, code))
        assert not await is_in(await sign_in(company.bob, code))


@pytest.mark.parametrize("at", [0, 1])
async def test_a_code_does_not_work_again_when_the_cache_has_forgotten_it(company: Company, at: int) -> None:
    """It fits for a minute and a half; the library's own mark is gone after half a minute, or with the cache."""
    browser, secret, _ = await set_up(company.bob)
    code = code_of(secret, at)
    assert await is_in(await sign_in(company.bob, code))
    cache.clear()
    with time_machine.travel(timezone.now() + timedelta(seconds=30 * at), tick=False):
        assert not await is_in(await sign_in(company.bob, code))
        await browser.post(reverse("mfa_reauthenticate"), {"code": code})
        assert events(company.bob)[-2:] == [Event.SECOND_FACTOR_REFUSED] * 2
        assert await is_in(await sign_in(company.bob, code_of(secret, 1)))


async def test_guessing_codes_ends_after_five(company: Company) -> None:
    _, secret, _ = await set_up(company.bob)
    client, _ = await give_password(company.bob)
    for _ in range(5):
        await client.post(reverse("mfa_authenticate"), {"code": "000000"})
    await client.post(reverse("mfa_authenticate"), {"code": code_of(secret, 1)})
    assert not await is_in(client)


async def test_new_codes_end_the_old_ones(company: Company) -> None:
    client, _, old = await set_up(company.bob)
    await client.post(reverse("mfa_generate_recovery_codes"))
    shown = await client.get(reverse("mfa_download_recovery_codes"))
    new = shown.content.decode().split()[-10:]
    assert not set(new) & set(old)
    assert shown.headers["Content-Disposition"].startswith("attachment")
    assert not await is_in(await sign_in(company.bob, old[0]))
    assert await is_in(await sign_in(company.bob, new[0]))
    assert Event.RECOVERY_CODES_MADE in events(company.bob)


async def test_the_picture_for_the_app_is_there_while_it_is_set_up_and_never_after(company: Company) -> None:
    client = await freshly_signed_in(company.bob)
    assert (await client.get(reverse("mfa_draw_code"))).status_code == 404
    await client.get(reverse("mfa_activate_totp"))
    drawn = await client.get(reverse("mfa_draw_code"))
    assert drawn.headers["Content-Type"] == "image/svg+xml"
    assert b"<script" not in drawn.content
    secret = (await client.asession())[SECRET_SESSION_KEY]
    await client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    assert (await client.get(reverse("mfa_draw_code"))).status_code == 404


async def test_it_is_taken_off_with_itself(company: Company) -> None:
    client, secret, _ = await set_up(company.bob)
    with time_machine.travel(timezone.now() + timedelta(minutes=10)):
        off = reverse("mfa_deactivate_totp")
        asked = await client.post(off)
        assert asked.headers["Location"].startswith(reverse("account_reauthenticate"))
        sent_on = await client.get(asked.headers["Location"])
        assert sent_on.headers["Location"].startswith(reverse("mfa_reauthenticate"))
        await client.post(reverse("mfa_reauthenticate"), {"code": code_of(secret), "next": off})
        await client.post(off)
    assert not Authenticator.objects.filter(user=company.bob).exists()
    assert Event.SECOND_FACTOR_REMOVED in events(company.bob)


PRIVILEGED = [("alice", "/d/hr/documents/deleted"), ("alice", "/d/hr/key/"), ("ivan", "/admin/"),
              ("ada", "/admin/audit/auditevent/"), ("ada", "/record/export/")]  # fmt: skip
PLAIN = [("alice", "/d/hr/"), ("bob", "/d/hr/budget/"), ("dave", "/d/finance/")]


async def statuses(company: Company, places: list[tuple[str, str]]) -> list[int]:
    return [
        (await (await freshly_signed_in(getattr(company, who))).get(address)).status_code for who, address in places
    ]


@pytest.mark.parametrize(
    ("policy", "setting", "privileged", "plain"),
    [
        (SecondFactor.OFF, "off", 200, 200),
        (SecondFactor.PRIVILEGED, "off", 403, 200),
        (SecondFactor.OFF, "privileged", 403, 200),
        (SecondFactor.EVERYBODY, "privileged", 403, 403),
        (SecondFactor.PRIVILEGED, "everybody", 403, 403),
    ],
)
async def test_what_a_role_opens_stays_closed_without_it_where_it_is_asked_for(
    settings: Any, policy: str, setting: str, privileged: int, plain: int
) -> None:
    company = make_company()
    settings.SECOND_FACTOR = setting
    Organization.objects.filter(pk=company.organization.pk).update(second_factor=policy)
    give_store(company.hr)
    assert set(await statuses(company, PRIVILEGED)) == {privileged}
    assert set(await statuses(company, PLAIN)) == {plain}


async def test_whoever_sets_it_up_gets_in_and_whoever_loses_it_is_out_at_once(company: Company) -> None:
    Organization.objects.filter(pk=company.organization.pk).update(second_factor=SecondFactor.PRIVILEGED)
    client, _, _ = await set_up(company.ivan)
    assert (await client.get("/admin/")).status_code == 200
    alice, _, _ = await set_up(company.alice)
    assert (await alice.get("/d/hr/key/")).status_code == 200
    Authenticator.objects.filter(user__in=[company.ivan, company.alice]).delete()
    refused = await client.get("/admin/")
    assert refused.status_code == 403
    assert reverse(HOME).encode() in refused.content, "the page says where to set it up"
    asked = await alice.get("/d/hr/key/", headers={"Accept": "application/json"})
    assert asked.status_code == 403
    assert "second factor" in asked.json()["sentence"]


async def test_it_takes_off_the_factor_of_somebody_who_lost_everything(company: Company) -> None:
    bob, _, _ = await set_up(company.bob)
    address = reverse("admin:accounts_user_factor", args=[company.bob.pk])
    assert (await (await freshly_signed_in(company.ada)).post(address, {"reason": "lost"})).status_code == 403
    assert (await (await freshly_signed_in(make_company().ivan)).post(address, {"reason": "lost"})).status_code == 404
    ivan = await freshly_signed_in(company.ivan)
    assert (await ivan.post(address)).status_code == 200, "asks for a reason"
    assert Authenticator.objects.filter(user=company.bob).exists()
    assert (await ivan.get(address)).status_code == 405
    assert (await ivan.post(address, {"reason": "Phone in the canal"})).status_code == 302
    assert not Authenticator.objects.filter(user=company.bob).exists()
    assert not await is_in(bob), "their sessions end with it"
    event = AuditEvent.objects.get(organization_id=company.organization.pk, event=Event.SECOND_FACTOR_TAKEN_OFF)
    assert (event.actor_id, event.subject_id) == (company.ivan.pk, str(company.bob.pk))
    assert event.details["reason"] == "Phone in the canal"


async def test_nobody_takes_their_own_off_in_the_console(company: Company) -> None:
    ivan, _, _ = await set_up(company.ivan)
    address = reverse("admin:accounts_user_factor", args=[company.ivan.pk])
    assert (await ivan.post(address, {"reason": "tired of it"})).status_code == 403
    assert Authenticator.objects.filter(user=company.ivan).exists()


async def test_a_new_secret_key_reads_what_the_old_one_wrote_and_none_reads_it_without(
    company: Company, settings: Any
) -> None:
    _, secret, codes = await set_up(company.bob)
    old, settings.SECRET_KEY = settings.SECRET_KEY, secrets.token_urlsafe(60)
    assert not await is_in(await sign_in(company.bob, code_of(secret, 1)))
    assert not await is_in(await sign_in(company.bob, codes[0]))
    settings.SECRET_KEY_FALLBACKS = [old]
    assert await is_in(await sign_in(company.bob, codes[0]))
