"""The live page: what happens now, one answer stopped, a department paused and let go on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from audit.events import Event, Outcome
from audit.models import AuditEvent
from audit.writer import Entry, record
from chatgrid.console import live
from departments.calls.caller import Caller, CallFailed, Purpose
from departments.calls.embeddings import embed
from departments.limits.models import Reservation
from departments.models import Department
from tests.company import Company, freshly_signed_in, give_key, give_store, signed_in
from tests.departments.calls.calling import ask, asked, made, until, whole
from tests.provider import Provider

LIVE = reverse("admin:live")


def acts(company: Company) -> list[str]:
    events = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.ADMIN_CHANGED)
    return [event.details["action"] for event in events.order_by("at")]


def under_way(company: Company, **fields: object) -> Reservation:
    now = timezone.now()
    return Reservation.objects.create(
        **{
            "call_id": uuid4(),
            "organization_id": company.organization.pk,
            "department_id": company.hr.pk,
            "person_id": company.bob.pk,
            "purpose": "chat",
            "model": "gpt-6-luna",
            "day": now.date(),
            "admitted_at": now,
            "lease_until": now + timedelta(seconds=45),
            "tokens_prompt": 10,
            "tokens_reserved": 20,
            **fields,
        }
    )


async def test_a_running_answer_is_shown_and_stopped(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "slow", first_byte_ms=50_000)
    answering = asyncio.ensure_future(made(ask(company)))
    await asked(provider, key)
    client = await freshly_signed_in(company.ivan)
    (call,) = live.running(company.ivan)
    page = (await client.get(LIVE)).content.decode()
    assert "<td>Human Resources</td><td>Bob</td>" in page
    stop = reverse("admin:live_stop", args=[call.call_id])
    stopped = await client.post(stop, {"reason": "It runs away"}, follow=True)
    assert "ends within five seconds" in stopped.content.decode()
    _, answer = await asyncio.wait_for(answering, 30)
    assert answer.ending.outcome is Outcome.STOPPED
    await until(lambda: not live.running(company.ivan))
    assert acts(company) == ["answer stopped"]
    again = await client.post(stop, follow=True)
    assert "had ended already" in again.content.decode()


async def test_a_paused_department_answers_a_sentence_and_sends_nothing(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    client = await freshly_signed_in(company.ivan)
    pause = reverse("admin:live_pause", args=[company.hr.pk])
    await client.post(pause, {"reason": " "}, follow=True)
    assert Department.objects.get(pk=company.hr.pk).paused_at is None
    page = await client.post(pause, {"reason": "Wrong document online"}, follow=True)
    assert "Human Resources is paused" in page.content.decode()
    assert "Wrong document online" in page.content.decode()
    with pytest.raises(CallFailed, match=r"IT has paused this department: Wrong document online\. Your question"):
        await whole(ask(company))
    caller = Caller(company.bob.pk, "Bob")
    stale = Department.objects.select_related("organization").get(pk=company.hr.pk)
    stale.paused_at = None  # background work carries its department along
    with pytest.raises(CallFailed, match="paused"):
        await embed(stale, caller, ["words"], purpose=Purpose.INGEST)
    asked_for = [entry for entry in provider.journal()["requests"] if entry["key"] == key.fingerprint()]
    assert asked_for == []
    refused = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.CALL_REFUSED)
    assert {event.details["reason"] for event in refused} == {"paused"}
    await client.post(reverse("admin:live_resume", args=[company.hr.pk]), {"reason": "It is gone"})
    assert await whole(ask(company))
    assert acts(company) == ["paused", "resumed"]


async def test_a_pause_ends_answers_that_run(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "slow", first_byte_ms=50_000)
    answering = asyncio.ensure_future(made(ask(company)))
    await asked(provider, key)
    live.pause(company.hr, "An incident")
    _, answer = await asyncio.wait_for(answering, 30)
    assert answer.ending.reason == "paused"
    assert "An incident" in answer.ending.sentence


async def test_an_employee_reads_why_and_keeps_the_question(company: Company) -> None:
    give_key(company.hr)
    give_store(company.hr)
    live.pause(company.hr, "An incident")
    bob = await signed_in(company.bob)
    page = await bob.post(reverse("chat:ask_new", args=["hr"]), {"question": "How many days of leave?"}, follow=True)
    text = page.content.decode()
    assert "IT has paused this department: An incident" in text
    assert "How many days of leave?" in text


async def test_the_page_counts_tokens_errors_and_what_waits(company: Company, other_company: Company) -> None:
    now = timezone.now()
    for each, tokens in ((company, 900), (other_company, 7_777)):
        under_way(each, settled_at=now, tokens_used=tokens, tokens_input=600)
        entry = {"organization_id": each.organization.pk, "department_name": "HR", "outcome": "failed"}
        record(Entry(event=Event.CALL_ANSWERED, details={"reason": f"silent-{tokens}"}, **entry))
    under_way(company, lease_until=now - timedelta(seconds=1))  # its process died: nothing is being written
    page = (await (await signed_in(company.ivan)).get(LIVE)).content.decode()
    assert "<title>Live · ChatGrid</title>" in page
    assert "900 tokens in all" in page
    assert "silent-900 (HR)" in page
    assert "7777" not in page.replace(",", "")
    assert "<strong>0</strong> answers being written" in page
    assert "documents to read waiting" in page


async def test_a_broker_that_is_away_is_said(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    page = (await (await signed_in(company.ivan)).get(LIVE)).content.decode()
    assert "the broker does not answer" in page


async def test_others_see_and_stop_nothing_of_a_company(company: Company, other_company: Company) -> None:
    call = under_way(company)
    stranger = await signed_in(other_company.ivan)
    assert "Bob" not in (await stranger.get(LIVE)).content.decode()
    await stranger.post(reverse("admin:live_stop", args=[call.call_id]))
    assert not Reservation.objects.get(pk=call.pk).stop_requested
    for name in ("live_pause", "live_resume"):
        address = reverse(f"admin:{name}", args=[company.hr.pk])
        assert (await stranger.post(address, {"reason": "mine"})).status_code == 404
        for person in (company.ada, company.alice):
            assert (await (await signed_in(person)).post(address, {"reason": "mine"})).status_code == 403
    assert (await (await signed_in(company.ada)).get(LIVE)).status_code == 200
    assert (await (await signed_in(company.alice)).get(LIVE)).status_code == 403
    assert Department.objects.get(pk=company.hr.pk).paused_at is None
