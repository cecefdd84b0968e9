"""Leave now: what a person could do ends within a minute, keys they could see are exchanged, a receipt tells."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import psycopg
import pytest
from django.core import mail
from django.test import AsyncClient
from django.urls import reverse

from audit.events import Event, Outcome
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from chatgrid.console.leaving import Receipt
from chatgrid.console.models import Departure
from departments.keys.key_people import note_pasted
from departments.keys.rotation_models import Rotation
from departments.limits.models import Reservation
from departments.models import Membership
from tests.company import PASSWORD, Company, freshly_signed_in, give_key, signed_in
from tests.departments.calls.calling import ask, asked, made
from tests.provider import Provider

REASON = {"reason": "left the company"}


def leave(person: User) -> str:
    return reverse("admin:accounts_user_leave", args=[person.pk])


def departure_of(person: User) -> Departure:
    return Departure.objects.select_related("person").get(person=person)


async def test_sessions_answers_and_access_end_within_a_minute(company: Company, provider: Provider) -> None:
    """With a real call that a provider answers slowly: it is ended by the process that holds it."""
    key = give_key(company.hr)
    provider.misbehave(key, "slow", first_byte_ms=55_000)
    bob = await signed_in(company.bob)
    assert (await bob.get("/d/hr/")).status_code == 200
    answering = asyncio.ensure_future(made(ask(company)))
    await asked(provider, key)
    client = await freshly_signed_in(company.ivan)
    began = time.monotonic()
    receipt = await client.post(leave(company.bob), REASON)
    assert receipt.status_code == 302
    assert (await bob.get("/d/hr/")).url.startswith(reverse("account_login")), "the session is dead at once"
    _, answer = await asyncio.wait_for(answering, 60)
    assert time.monotonic() - began < 60
    assert (answer.ending.outcome, answer.ending.reason) == (Outcome.CUT, "access_ended")
    (call,) = Reservation.objects.filter(person_id=company.bob.pk)
    assert call.settled_at is not None
    again = await AsyncClient().post(reverse("account_login"), {"login": company.bob.email, "password": PASSWORD})
    assert again.status_code == 200, "no sign-in any more"
    assert not Membership.objects.filter(user=company.bob).exists()
    departure = departure_of(company.bob)
    assert departure.calls == [str(call.call_id)]
    told = Receipt(departure)
    assert told.is_complete
    assert told.seconds is not None
    assert told.seconds < 60
    page = (await client.get(receipt.url)).content.decode()
    assert "Nothing of theirs runs any more" in page
    assert "1 ended, 0 open now" in page
    assert "1 were running, 1 have ended" in page


async def test_the_receipt_says_what_still_runs(company: Company) -> None:
    running = Reservation.objects.create(
        call_id=company.bob.pk,
        organization_id=company.organization.pk,
        department_id=company.hr.pk,
        person_id=company.bob.pk,
        purpose="chat",
        day="2026-11-23",
        admitted_at="2026-11-23T00:00Z",
        lease_until="2126-11-23T00:00Z",
        tokens_prompt=1,
        tokens_reserved=2,
    )
    client = await freshly_signed_in(company.ivan)
    page = await client.post(leave(company.bob), REASON, follow=True)
    assert "Being ended" in page.content.decode()
    assert Receipt(departure_of(company.bob)).seconds is None
    Reservation.objects.filter(pk=running.pk).update(settled_at=departure_of(company.bob).at)
    assert Receipt(departure_of(company.bob)).seconds == 0


async def test_keys_they_could_have_seen_are_exchanged_and_no_others(company: Company) -> None:
    for department in (company.hr, company.finance):
        give_key(department)
    note_pasted(company.hr, company.bob.pk)
    client = await freshly_signed_in(company.ivan)
    before = (await client.get(leave(company.bob))).content.decode()
    assert "Keys they could have seen are exchanged: Human Resources." in before
    page = (await client.post(leave(company.bob), REASON, follow=True)).content.decode()
    (rotation,) = Rotation.objects.filter(department__organization=company.organization)
    assert (rotation.department, rotation.trigger) == (company.hr, "person_left")
    assert departure_of(company.bob).rotations == [str(rotation.pk)]
    assert "Key of Human Resources" in page
    assert not Receipt(departure_of(company.bob)).is_complete, "the old key is not dead yet"


async def test_somebody_of_it_who_leaves_costs_every_key(company: Company) -> None:
    for department in (company.hr, company.finance):
        give_key(department)
    User.objects.filter(pk=company.carol.pk).update(role="it")
    client = await freshly_signed_in(company.ivan)
    await client.post(leave(company.carol), REASON)
    assert len(departure_of(company.carol).rotations) == 2
    assert User.objects.get(pk=company.carol.pk).role == "member"


async def test_it_is_in_the_record_with_reason_and_person(company: Company) -> None:
    client = await freshly_signed_in(company.ivan)
    await client.post(leave(company.bob), REASON)
    event = AuditEvent.objects.get(organization_id=company.organization.pk, event=Event.ACCESS_ENDED)
    assert (event.actor_id, event.subject_id) == (company.ivan.pk, str(company.bob.pk))
    assert event.details["reason"] == "left the company"
    assert event.details["memberships"] == ["Human Resources: Member"]
    assert event.details["signed_in_at"]


async def test_a_link_to_set_a_password_dies_with_the_access(company: Company) -> None:
    mail.outbox.clear()
    client = await signed_in(company.ivan)
    values = {"action": "send_link", "_selected_action": [str(company.bob.pk)]}
    await client.post(reverse("admin:accounts_user_changelist"), values)
    link = next(word for word in mail.outbox[0].body.split() if "/accounts/password/reset/key/" in word)
    client = await freshly_signed_in(company.ivan)
    await client.post(leave(company.bob), REASON)
    User.objects.filter(pk=company.bob.pk).update(is_active=True)  # even if somebody opens the sign-in again
    page = await AsyncClient().get(link.replace("http://testserver", ""), follow=True)
    assert b"password1" not in page.content


async def test_nothing_ends_without_a_fresh_sign_in_and_a_reason(company: Company) -> None:
    for client, form in (
        (await signed_in(company.ivan), REASON),
        (await freshly_signed_in(company.ivan), {"reason": " "}),
    ):
        await client.post(leave(company.bob), form)
        assert User.objects.get(pk=company.bob.pk).is_active
        assert not Departure.objects.filter(person=company.bob).exists()


async def test_nobody_makes_themselves_or_another_company_s_people_leave(
    company: Company, other_company: Company
) -> None:
    client = await freshly_signed_in(company.ivan)
    assert (await client.post(leave(company.ivan), REASON)).status_code == 403
    assert (await client.post(leave(other_company.bob), REASON)).status_code == 404
    for person in (company.ada, company.alice):
        assert (await (await freshly_signed_in(person)).post(leave(company.bob), REASON)).status_code == 403
    assert User.objects.get(pk=company.bob.pk).is_active
    await client.post(leave(company.bob), REASON)
    receipt = reverse("admin:console_departure_change", args=[departure_of(company.bob).pk])
    assert (await (await signed_in(other_company.ivan)).get(receipt)).status_code == 404
    assert (await (await signed_in(company.ada)).get(receipt)).status_code == 200


BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"


def leaves(person: User) -> tuple[str, dict[str, str]]:
    return leave(person), REASON


def closed(person: User) -> tuple[str, dict[str, str]]:
    chosen = {"action": "close", "_selected_action": str(person.pk)}
    return reverse("admin:accounts_user_changelist"), chosen | REASON


@pytest.mark.parametrize("act", [leaves, closed])
async def test_of_two_of_it_who_end_each_other_at_once_one_stays(
    company: Company, act: Callable[[User], tuple[str, dict[str, str]]]
) -> None:
    """Ivan's act is not committed yet when Alice asks for hers."""
    await User.objects.filter(pk=company.alice.pk).aupdate(role="it")
    alice = await freshly_signed_in(company.alice)
    url = os.environ["CHATGRID_DATABASE_URL"]
    async with await psycopg.AsyncConnection.connect(url) as ivans:
        close = f"UPDATE {User._meta.db_table} SET is_active = false WHERE id = %s"
        await ivans.execute(close.encode(), [company.alice.pk])
        address, form = act(company.ivan)
        hers = asyncio.ensure_future(alice.post(address, form))
        while not hers.done() and (await (await ivans.execute(BLOCKED)).fetchone()) == (0,):
            await asyncio.sleep(0.01)
        await ivans.commit()
    assert (await asyncio.wait_for(hers, 60)).status_code == 403
    assert User.objects.get(pk=company.ivan.pk).is_active
    assert not Departure.objects.filter(person=company.ivan).exists()
