"""A call when the ground moves: the database refuses or goes away, a process is killed in the middle of an answer."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings
from django.utils import timezone
from psycopg import sql

from audit.events import Event, Outcome
from audit.models import AuditEvent
from chatgrid.dev.services import bootstrap
from departments.calls import booking, sentences
from departments.calls.caller import CallFailed, Purpose
from departments.calls.embeddings import embed
from departments.calls.run import answering
from departments.calls.tasks import settle_lost
from departments.limits import budget
from departments.limits.models import Reservation
from tests.company import Company, give_key, set_limit
from tests.departments.calls.calling import ask, assert_ended, assert_told, events, made, requests_of, until, whole
from tests.provider import Provider
from tests.stack import STACK

pytestmark = pytest.mark.faults


@contextmanager
def owner() -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(os.environ["CHATGRID_OWNER_DATABASE_URL"], autocommit=True) as held:
        yield held


@contextmanager
def refusing(table: str, columns: str) -> Iterator[None]:
    """The application may not add to a table of the record."""
    role, name = sql.Identifier(settings.DATABASE_APPLICATION_ROLE), sql.Identifier(table)
    names = sql.SQL(columns)
    with owner() as held:
        try:
            held.execute(sql.SQL("REVOKE INSERT, INSERT ({}) ON {} FROM {}").format(names, name, role))
            yield
        finally:
            held.execute(sql.SQL("GRANT INSERT ({}) ON {} TO {}").format(names, name, role))


@contextmanager
def away() -> Iterator[None]:
    """The control database sends the chat path away and lets nobody in; the tests keep their own connection."""
    name = sql.Identifier(settings.DATABASES["default"]["NAME"])
    with STACK.postgres._connect(bootstrap.MAINTENANCE) as server:
        try:
            server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            leave = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
            )
            server.execute(leave, [settings.DATABASES["default"]["NAME"], "chatgrid-async"])
            yield
        finally:
            server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))


def all_columns() -> str:
    from audit.writer import COLUMNS

    return ", ".join(COLUMNS)


@pytest.mark.parametrize("table", ["audit_event", "audit_text"])
async def test_no_call_is_made_that_cannot_be_recorded(
    company: Company, provider: Provider, caplog: pytest.LogCaptureFixture, table: str
) -> None:
    key = give_key(company.hr)
    assert await whole(ask(company))  # the key is read, and that read recorded
    columns = all_columns() if table == "audit_event" else "event_id, salt, text"
    with refusing(table, columns), pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    assert failed.value.sentence == sentences.RECORD_DOWN
    assert len(requests_of(provider, key)) == 1
    assert Reservation.objects.filter(organization_id=company.organization.pk).count() == 1, "nothing stays reserved"
    assert_told(caplog, key, "the record cannot be written")
    assert await whole(ask(company)), "and it goes on by itself"


async def test_no_embedding_is_made_that_cannot_be_recorded(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    question = ask(company)
    await embed(question.department, question.caller, ["leave"], purpose=Purpose.SEARCH)
    with refusing("audit_event", all_columns()), pytest.raises(CallFailed):
        await embed(question.department, question.caller, ["leave"], purpose=Purpose.SEARCH)
    assert len(requests_of(provider, key)) == 1


async def test_no_key_is_handed_out_when_its_reading_cannot_be_recorded(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    with refusing("audit_event", all_columns()), pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    assert failed.value.reason == "record_unavailable"
    assert requests_of(provider, key) == []


async def test_no_call_is_made_while_the_database_is_away(
    company: Company, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    key = give_key(company.hr)
    question = ask(company)
    with away():
        began = time.monotonic()
        with pytest.raises(CallFailed) as failed:
            await whole(question)
        assert time.monotonic() - began < 30
    assert failed.value.sentence == sentences.RECORD_DOWN
    assert requests_of(provider, key) == []
    assert_told(caplog, key, "the record cannot be written")
    assert await whole(question), "and it goes on by itself"


async def test_an_answer_under_way_is_settled_with_its_real_figures_when_the_database_is_back(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(booking, "RETRY_SECONDS", 0.3)
    key = give_key(company.hr)
    async with answering(ask(company)) as (_, text):
        leaving = away()
        leaving.__enter__()
        try:
            assert [flush async for flush in text]
        except BaseException:
            leaving.__exit__(None, None, None)
            raise
    leaving.__exit__(None, None, None)
    await booking.drain()
    event = assert_ended(company, Outcome.ANSWERED, "", tokens_estimated=False)
    (request,) = requests_of(provider, key)
    assert event.tokens_input + event.tokens_output == request["prompt_tokens"] + request["completion_tokens"]
    assert_told(caplog, key, "not settled yet")


async def test_an_answer_does_not_outlive_a_lease_that_cannot_be_renewed(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from departments.calls import hold

    monkeypatch.setattr(budget, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(budget, "LEASE_SECONDS", 2)
    monkeypatch.setattr(hold, "TIMEOUT", 0.2)
    monkeypatch.setattr(booking, "RETRY_SECONDS", 0.3)
    key = give_key(company.hr)
    provider.misbehave(key, "long", tokens_per_second=100)
    async with answering(ask(company)) as (answer, text):
        await anext(text)
        with away():
            async for _ in text:
                pass
            assert answer.ending is not None
            assert answer.ending.sentence == sentences.LEASE_LOST
    await booking.drain()
    await settle_lost()
    (answered,) = [event for event in events(company) if event.event == Event.CALL_ANSWERED]
    assert answered.outcome in (Outcome.CUT, Outcome.LOST)
    assert_told(caplog, key, "lease not renewed")


async def test_a_lock_on_the_ledger_does_not_hang_the_person(
    company: Company, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    key = give_key(company.hr)
    question = ask(company)
    with psycopg.connect(os.environ["CHATGRID_OWNER_DATABASE_URL"]) as somebody:
        somebody.execute("LOCK TABLE limits_spent IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(CallFailed) as failed:
            await whole(question)
        assert time.monotonic() - began < 30
    assert failed.value.sentence == sentences.RECORD_DOWN
    assert requests_of(provider, key) == []


async def test_a_killed_process_leaves_a_call_that_is_booked_once_and_a_budget_that_is_free(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "long", tokens_per_second=300)
    set_limit(company, tokens_per_day=4_000)
    program = "from departments.limits import budget; budget.LEASE_SECONDS = 2; budget.RENEW_SECONDS = 0.2\n"
    program += "from runpy import run_module; run_module('tests.departments.limits.many_calls', run_name='__main__')"
    arguments = [company.organization.slug, company.bob.email, "1", "1"]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "chatgrid.settings"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import sys; sys.argv[0] = 'x'; {program}", *arguments, env=environment
    )
    mine = Reservation.objects.filter(organization_id=company.organization.pk)
    await until(lambda: mine.filter(tokens_written__gt=0).exists(), seconds=30)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await until(lambda: mine.filter(lease_until__lt=timezone.now()).exists())
    assert await settle_lost() >= 1
    requested, lost = events(company)
    assert (requested.event, lost.outcome, lost.details) == (
        Event.CALL_REQUESTED,
        Outcome.LOST,
        {"reason": "process_died"},
    )
    row = mine.get()
    assert row.tokens_used == lost.tokens_input + lost.tokens_output == row.tokens_prompt + row.tokens_written
    await settle_lost()
    assert AuditEvent.objects.filter(call_id=row.call_id).count() == 2
    provider.behave()
    assert (await made(ask(company)))[0], "what the dead call had reserved can be used again"
