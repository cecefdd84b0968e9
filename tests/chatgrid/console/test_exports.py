"""Exporting from the console: who may, after a fresh sign-in, and what comes out."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.test import AsyncClient, Client
from django.urls import path
from django.utils import timezone

from audit.events import Event
from audit.export import Format
from audit.models import AuditEvent
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from chatgrid.console.exports import WORDS, export_record
from chatgrid.urls import urlpatterns as product
from tests.company import PASSWORD, Company

ADDRESS = "/record/export/"
WHY = {"reason": "Audit of the year"}
urlpatterns = [path("record/export/", export_record, name="export_record"), *product]
pytestmark = pytest.mark.urls(__name__)


def fresh(person: User) -> Client:
    """A browser whose person has just typed their password."""
    client = Client()
    client.force_login(person)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def collected(response: Any) -> bytes:
    """The whole body of a response that streams without a thread."""

    async def read() -> bytes:
        return b"".join([chunk async for chunk in response.streaming_content])

    return async_to_sync(read)()


def written(company: Company) -> None:
    record(Entry(event=Event.CALL_ANSWERED, organization_id=company.organization.pk, model_asked="gpt-6-luna"))
    call_command("seal_audit")


def test_an_auditor_gets_a_file_of_their_company_alone(
    company: Company, other_company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.export.RECEIPT_SECONDS", 0.0)
    written(company)
    written(other_company)
    response = fresh(company.ada).post(ADDRESS, WHY | {"form": "jsonl", "event": "call:answered"})
    assert response.status_code == 200
    assert response["Content-Disposition"].startswith("attachment; filename=")
    archive = zipfile.ZipFile(io.BytesIO(collected(response)))
    events = [json.loads(line) for line in archive.read("events.jsonl").splitlines()]
    assert {event["organization_id"] for event in events} == {str(company.organization.pk)}
    found = AuditEvent.objects.filter(actor_id=company.ada.pk, event__startswith="record:export").order_by("at")
    assert [event.event for event in found] == [Event.EXPORT_BEGUN, Event.EXPORT_FINISHED]
    assert found[0].details["reason"] == WHY["reason"]


def test_a_sign_in_of_the_last_minutes_is_asked_for(company: Company) -> None:
    stale = AsyncClient()
    stale.force_login(company.ada)
    for ask in (stale.get, stale.post):
        response = async_to_sync(ask)(ADDRESS)
        assert response.status_code == 302
        assert response["Location"].startswith("/accounts/reauthenticate/")
    assert not AuditEvent.objects.filter(actor_id=company.ada.pk, event=Event.EXPORT_BEGUN).exists()


@pytest.mark.parametrize("name", ["alice", "bob", "carol"])
def test_nobody_else_may(company: Company, name: str) -> None:
    assert fresh(getattr(company, name)).get(ADDRESS).status_code == 403


def test_the_form_offers_nothing_of_another_company(company: Company, other_company: Company) -> None:
    page = fresh(company.ivan).get(ADDRESS).content.decode()
    assert str(company.hr.pk) in page
    assert str(other_company.hr.pk) not in page
    refused = fresh(company.ivan).post(ADDRESS, WHY | {"form": "csv", "department": other_company.hr.pk})
    assert "Select a valid choice" in refused.content.decode()


def test_every_format_of_the_record_is_offered_in_words(company: Company) -> None:
    page = fresh(company.ada).get(ADDRESS).content.decode()
    for form in Format:
        assert f'<option value="{form.value}">' in page
    assert set(WORDS) == set(Format)


def test_the_filters_of_the_list_are_filled_in(company: Company) -> None:
    query = {"event": "call:refused", "department": str(company.hr.pk), "person": company.bob.email, "period": "week"}
    form = fresh(company.ada).get(ADDRESS, query).context["form"]
    assert form["event"].value() == "call:refused"
    assert form["department"].value() == str(company.hr.pk)
    assert form["person"].value() == company.bob.email
    assert form["since"].value() == (timezone.now() - timedelta(days=7)).date()


def test_an_export_is_narrowed_by_person_and_day_the_last_one_included(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.export.RECEIPT_SECONDS", 0.0)
    record(Entry(event=Event.DOCUMENT_LIVE, organization_id=company.organization.pk, actor_id=company.bob.pk))
    record(Entry(event=Event.DOCUMENT_LIVE, organization_id=company.organization.pk, actor_id=company.dave.pk))
    call_command("seal_audit")
    today = timezone.now().date().isoformat()
    form = {
        **WHY,
        "form": "jsonl",
        "person": company.bob.email,
        "event": "document:live",
        "since": today,
        "until": today,
    }
    archive = zipfile.ZipFile(io.BytesIO(collected(fresh(company.ada).post(ADDRESS, form))))
    [line] = archive.read("events.jsonl").splitlines()
    assert json.loads(line)["actor_id"] == str(company.bob.pk)


@pytest.mark.parametrize(("person", "words"), [("nobody at all", "Nobody is called"), ("a", "Several people")])
def test_somebody_who_cannot_be_told_is_asked_for_again(company: Company, person: str, words: str) -> None:
    page = fresh(company.ada).post(ADDRESS, WHY | {"form": "csv", "person": person}).content.decode()
    assert words in page
    assert not AuditEvent.objects.filter(actor_id=company.ada.pk, event=Event.EXPORT_BEGUN).exists()


def test_a_day_at_the_end_of_the_calendar_is_asked_for_again(company: Company) -> None:
    page = fresh(company.ada).post(ADDRESS, WHY | {"form": "csv", "until": "9999-12-31"}).content.decode()
    assert "Choose a day from 2000 to 2199." in page


def test_the_page_shows_the_last_exports_of_the_own_company(
    company: Company, other_company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.export.RECEIPT_SECONDS", 0.0)
    written(company)
    collected(fresh(company.ada).post(ADDRESS, WHY | {"form": "csv", "event": "call:answered"}))
    [shown] = fresh(company.ivan).get(ADDRESS).context["exports"]
    assert (shown.event.actor_id, shown.words, shown.filters, shown.events) == (
        company.ada.pk,
        "CSV, for a spreadsheet",
        ["events"],
        1,
    )
    assert fresh(other_company.ada).get(ADDRESS).context["exports"] == []
