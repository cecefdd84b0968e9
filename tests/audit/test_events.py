"""Each thing that people do writes exactly its events: the table of what is logged.

An action is done through the product; what it wrote for the company, and nothing else, is compared. Every event of the
product is in the table, or stands in ELSEWHERE with the test that shows it.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.chat.models import Conversation
from chatgrid.chat.retention import delete_expired_conversations
from chatgrid.console.models import SavedSearch
from departments.calls.caller import CallFailed, CallRefused
from departments.limits.alert_models import AlertTarget
from departments.limits.grant_models import MoreAsked
from departments.models import Department
from tests.company import PASSWORD, Company, freshly_signed_in, give_key, give_store, set_limit, signed_in
from tests.departments.calls.calling import ask, whole
from tests.provider import Provider

ROOT = Path(__file__).resolve().parents[2]
Action = Callable[[Company], Awaitable[object]]


async def sign_in(company: Company, password: str = PASSWORD) -> AsyncClient:
    client = AsyncClient()
    await client.post("/accounts/login/", {"login": company.bob.email, "password": password})
    return client


async def mistype_a_password(company: Company) -> None:
    await sign_in(company, "not this one at all")


async def sign_in_and_out(company: Company) -> None:
    await (await sign_in(company)).post("/accounts/logout/")


async def store_a_key(company: Company) -> None:
    give_key(company.hr)


async def make_a_store(company: Company) -> None:
    give_store(company.hr)


async def ask_a_question(company: Company) -> None:
    give_key(company.hr)
    await whole(ask(company))


async def ask_without_a_key(company: Company) -> None:
    with pytest.raises(CallFailed):
        await whole(ask(company))


async def ask_beyond_a_limit(company: Company) -> None:
    give_key(company.hr)
    set_limit(company, person=company.bob, tokens_per_day=10)
    with pytest.raises(CallRefused):
        await whole(ask(company))


async def delete_a_conversation(company: Company) -> None:
    made = await Conversation.objects.acreate(department=company.hr, owner=company.bob, title="Leave")
    client = AsyncClient()
    await client.aforce_login(company.bob)
    await client.post(reverse("chat:delete", args=[made.pk]))


async def rename_the_company(company: Company) -> None:
    client = AsyncClient()
    await client.aforce_login(company.ivan)
    address = reverse("admin:departments_organization_change", args=[company.organization.pk])
    await client.post(
        address, {"name": "Acme Europe", "time_zone": company.organization.time_zone, "second_factor": "off"}
    )


async def let_a_conversation_expire(company: Company) -> None:
    company.organization.conversation_days = 30
    company.organization.save()
    made = await Conversation.objects.acreate(department=company.hr, owner=company.bob, title="Old")
    old = timezone.now() - timedelta(days=31)
    await Conversation.objects.filter(pk=made.pk).aupdate(updated_at=old)
    delete_expired_conversations()


async def save_a_search(company: Company) -> None:
    client = await signed_in(company.ada)
    await client.post(reverse("admin:audit_auditevent_search_save"), {"name": "Refused", "query": "event=call:refused"})
    assert await SavedSearch.objects.filter(owner=company.ada).aexists()


async def export_the_record(company: Company) -> None:
    client = await freshly_signed_in(company.ada)
    with patch("audit.export.RECEIPT_SECONDS", 0.0):
        response = await client.post(reverse("export_record"), {"form": "csv", "reason": "The yearly audit"})
        assert b"".join([chunk async for chunk in response.streaming_content]).startswith(b"PK")


async def ask_for_more_and_be_given_it(company: Company) -> None:
    set_limit(company, person_tokens_per_day=200)
    await (await signed_in(company.bob)).post("/d/hr/budget/ask", {"reason": "The yearly report"})
    asked = await MoreAsked.objects.aget(person=company.bob)
    answer = {"amount": "400", "end": "today"}
    await (await signed_in(company.alice)).post(f"/d/hr/budget/{asked.pk}", answer)


async def let_somebody_leave_now(company: Company) -> None:
    client = await freshly_signed_in(company.ivan)
    await client.post(reverse("admin:accounts_user_leave", args=[company.bob.pk]), {"reason": "Laptop stolen"})


async def set_up_a_webhook(company: Company) -> None:
    hook = {"kind": "webhook", "address": "https://hooks.example.com/chatgrid", "is_active": "on"}
    await (await freshly_signed_in(company.ivan)).post(reverse("admin:limits_alerttarget_add"), hook)
    assert await AlertTarget.objects.filter(organization=company.organization).aexists()


async def apply_a_file_of_the_company(company: Company) -> None:
    await asyncio.to_thread(apply_with_another_name, company)
    assert (await Department.objects.aget(pk=company.hr.pk)).name == "People"


def apply_with_another_name(company: Company) -> None:
    """Exported, one name changed, applied."""
    said = StringIO()
    call_command("company", "export", company.organization.slug, stdout=said)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".yaml") as file:
        file.write(said.getvalue().replace("Human Resources", "People"))
        file.flush()
        how = {"reason": "A new name", "stdout": StringIO()}
        call_command("company", "apply", company.organization.slug, file.name, **how)


TABLE: list[tuple[Action, list[Event]]] = [
    (sign_in, [Event.SIGNED_IN]),
    (mistype_a_password, [Event.SIGN_IN_REFUSED]),
    (sign_in_and_out, [Event.SIGNED_IN, Event.SIGNED_OUT]),
    (store_a_key, [Event.SECRET_STORED]),
    (make_a_store, [Event.SECRET_READ, Event.STORE_CREATED]),
    (ask_a_question, [Event.SECRET_STORED, Event.SECRET_READ, Event.CALL_REQUESTED, Event.CALL_ANSWERED]),
    (ask_without_a_key, [Event.CALL_REFUSED]),
    (ask_beyond_a_limit, [Event.SECRET_STORED, Event.SECRET_READ, Event.CALL_REFUSED]),
    (delete_a_conversation, [Event.SIGNED_IN, Event.CONVERSATION_DELETED]),
    (rename_the_company, [Event.SIGNED_IN, Event.ADMIN_CHANGED]),
    (let_a_conversation_expire, [Event.CONVERSATIONS_EXPIRED]),
    (save_a_search, [Event.SIGNED_IN]),  # one's own filters under a name: nothing that an auditor asks for
    (export_the_record, [Event.SIGNED_IN, Event.EXPORT_BEGUN, Event.EXPORT_FINISHED]),
    (ask_for_more_and_be_given_it, [Event.SIGNED_IN, Event.MORE_ASKED, Event.SIGNED_IN, Event.MORE_GRANTED]),
    (let_somebody_leave_now, [Event.SIGNED_IN, Event.ACCESS_ENDED]),
    (set_up_a_webhook, [Event.SIGNED_IN, Event.ADMIN_CHANGED]),
    (apply_a_file_of_the_company, [Event.ADMIN_CHANGED]),
]

# the beginning of an event's name -> the test that does it and looks for the event
ELSEWHERE = {
    "account:factor:": "tests/chatgrid/accounts/test_second_factor.py",
    "source:": "tests/departments/documents/test_sources.py",
    "document:infected": "tests/departments/documents/test_malware.py",
    "document:held": "tests/departments/documents/test_review.py",
    "document:approved": "tests/departments/documents/test_review.py",
    "document:rejected": "tests/departments/documents/test_review.py",
    "document:cancelled": "tests/chatgrid/documents/test_shelf.py",
    "document:deleted": "tests/departments/documents/test_store.py",
    "document:downloaded": "tests/departments/documents/test_store.py",
    "document:": "tests/departments/documents/test_ingest.py",
    "department:rules_changed": "tests/chatgrid/assistant/test_views.py",
    "search:": "tests/chatgrid/documents/test_bench.py",
    "trial:": "tests/departments/calls/test_trials.py",
    "rotation:repeated": "tests/departments/keys/test_rotation_crashes.py",
    "rotation:": "tests/departments/keys/test_rotation.py",
    "key:access_ended": "tests/departments/keys/test_triggers.py",
    "project:": "tests/departments/keys/test_provisioning.py",
    "drift:": "tests/departments/keys/test_drift.py",
    "store:deleted": "tests/departments/documents/test_provision.py",
    "store:backed_up": "tests/departments/documents/test_backup.py",
    "store:restored": "tests/departments/documents/test_backup.py",
    "account:access_ended": "tests/chatgrid/console/test_leaving.py",
    "control:": "tests/chatgrid/console/test_proofs.py",
    "limit:more": "tests/departments/calls/test_more.py",
    "limit:alerted": "tests/departments/limits/test_alerts.py",
    "limit:flood_refused": "tests/chatgrid/test_flood.py",
    "record:push_skipped": "tests/audit/test_push.py",
    "record:key_changed": "tests/audit/test_seals.py",
    "record:month_dropped": "tests/audit/test_retention.py",
    "record:texts_erased": "tests/audit/test_retention.py",
    "record:export": "tests/audit/test_export.py",
    "record:usage_": "tests/departments/keys/test_usage_check.py",
    "record:leak_closed": "tests/departments/keys/test_usage_check.py",
    "provider:": "tests/departments/keys/test_usage_check.py",
    "record:verified": "tests/chatgrid/console/test_seals_page.py",
    "record:question": "tests/chatgrid/console/test_record_entry.py",
}


@pytest.mark.parametrize(("action", "expected"), TABLE, ids=[row[0].__name__ for row in TABLE])
async def test_an_action_writes_exactly_its_events(
    company: Company, provider: Provider, action: Action, expected: list[Event]
) -> None:
    await action(company)
    written = AuditEvent.objects.filter(organization_id=company.organization.pk).order_by("at")
    assert [event.event for event in written] == expected


def test_every_event_is_in_the_table_or_shown_elsewhere() -> None:
    here = {event for _, expected in TABLE for event in expected}
    lost = [event for event in Event if event not in here and not any(event.startswith(each) for each in ELSEWHERE)]
    assert not lost, f"Add an action that writes these to TABLE: {lost}"


def shown_by(event: Event, file: str) -> bool:
    """Whether a test file speaks of the event: by its member, its name, or the part of it that stories are told in."""
    text = (ROOT / file).read_text(encoding="utf-8")
    action = re.escape(event.value.partition(":")[2])
    return f"Event.{event.name}" in text or event.value in text or bool(re.search(rf"\b{action}\b", text))


def test_elsewhere_names_tests_that_really_look_for_the_event() -> None:
    here = {event for _, expected in TABLE for event in expected}
    wanted = {event: next((start for start in ELSEWHERE if event.startswith(start)), "") for event in set(Event) - here}
    assert not [event for event, start in wanted.items() if not ELSEWHERE[start].startswith("tests/")]
    assert not [event for event, start in wanted.items() if not shown_by(event, ELSEWHERE[start])]


def test_no_entry_of_elsewhere_is_dead() -> None:
    dead = [start for start in ELSEWHERE if not any(event.startswith(start) for event in Event)]
    assert not dead
    assert not [place for place in ELSEWHERE.values() if not (ROOT / place).exists()]
