"""Events and calls for the tests of the auditor's pages, written and sealed as the product does it."""

from __future__ import annotations

import asyncio
import io
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.core.management import call_command
from django.db import connection
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from audit import rollups
from audit.events import Event
from audit.models import AuditEvent, VerificationRun
from audit.writer import Entry, KeptText, record
from chatgrid.accounts.models import User
from tests.company import PASSWORD, Company, signed_in

LIST = reverse("admin:audit_auditevent_changelist")


def write(company: Company, number: int = 1, event: Event = Event.CALL_REFUSED, **columns: Any) -> list[UUID]:
    """Events of this company, in HR unless said otherwise; their ids."""
    shared = {
        "organization_id": company.organization.pk,
        "organization_name": company.organization.name,
        "department_id": company.hr.pk,
        "department_name": "Human Resources",
    }
    entries = [Entry(event=event, **{**shared, **columns}) for _ in range(number)]
    for entry in entries:
        record(entry)
    return [entry.id for entry in entries]


def call(company: Company, person: User, question: str = "How long is leave?", **columns: Any) -> UUID:
    """The two events of an answered call with its kept text; the id of the first."""
    text = KeptText.of(question)
    shared = {
        "call_id": uuid4(),
        "organization_id": company.organization.pk,
        "organization_name": company.organization.name,
        "department_id": company.hr.pk,
        "department_name": "Human Resources",
        "actor_id": person.pk,
        "actor_name": person.name,
        "model_asked": "gpt-6-luna",
        "purpose": "chat",
        "query_hash": text.digest,
        **columns,
    }
    request = Entry(event=Event.CALL_REQUESTED, **shared)
    record(request, text)
    counts = {"tokens_input": 900, "tokens_cached": 100, "tokens_output": 60, "cost": Decimal("0.0123")}
    record(Entry(event=Event.CALL_ANSWERED, outcome="answered", **shared, **counts))
    return request.id


def seal() -> None:
    """What the sealer and the worker do within a minute."""
    call_command("seal_audit", stdout=io.StringIO())
    with connection.cursor() as cursor:
        rollups.advance(cursor)


def nobody_verifies() -> None:
    """Ends the verifications that others have asked for and nobody makes: only one is made at a time."""
    VerificationRun.objects.filter(finished_at=None).update(finished_at=timezone.now())


async def asealed() -> None:
    await asyncio.to_thread(seal)


async def freshly(person: User) -> AsyncClient:
    """A browser whose person has just typed their password once more."""
    client = await signed_in(person)
    response = await client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    assert response.status_code == 302
    return client


def own(company: Company, event: Event) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(organization_id=company.organization.pk, event=event).order_by("at"))
