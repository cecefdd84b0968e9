"""The list of the record: filters, pages by the place of their last row, saved searches."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.console.models import SavedSearch
from chatgrid.console.record import listing
from chatgrid.console.record.filters import RecordForm
from chatgrid.console.record.listing import Place, page_of
from chatgrid.console.scope import visible
from tests.chatgrid.console.recording import LIST, asealed, call, write
from tests.company import Company, signed_in


def ids(response: Any) -> list[UUID]:
    return [line.event.pk for line in response.context["lines"]]


@pytest.mark.parametrize("number", [0, 1, 49, 50, 51, 130])
async def test_paging_forwards_and_back_shows_every_event_once_in_order(company: Company, number: int) -> None:
    write(company, number)
    client = await signed_in(company.ada)
    expected = list(
        AuditEvent.objects.filter(organization_id=company.organization.pk)
        .order_by("-at", "-id")
        .values_list("pk", flat=True)
    )
    pages = [await client.get(LIST)]
    while older := pages[-1].context["older"]:
        pages.append(await client.get(LIST + older))
    assert [pk for page in pages for pk in ids(page)] == expected
    back = [pages[-1]]
    while newer := back[-1].context["newer"]:
        back.append(await client.get(LIST + newer))
    assert [pk for page in reversed(back) for pk in ids(page)] == expected


def test_events_of_one_moment_are_told_apart_and_none_is_skipped(company: Company) -> None:
    """One moment can have many events: the place of a row is its time and its id."""
    names = [uuid4() for _ in range(7)]
    with psycopg.connect(os.environ["CHATGRID_OWNER_DATABASE_URL"], autocommit=True) as owner:
        owner.execute(
            "INSERT INTO audit_event (id, at, event, organization_id)"
            " SELECT unnest(%s::uuid[]), now(), 'call:refused', %s",
            [names, company.organization.pk],
        )
    rows = AuditEvent.objects.filter(organization_id=company.organization.pk)
    assert len(set(rows.values_list("at", flat=True))) == 1
    assert walk(rows, 3) == sorted(names, reverse=True)


def walk(rows: Any, size: int) -> list[UUID]:
    page = page_of(rows, None, size)
    seen = [event.pk for event in page.rows]
    while page.older:
        page = page_of(rows, Place(page.rows[-1].at, page.rows[-1].pk), size)
        seen += [event.pk for event in page.rows]
    return seen


def plan(rows: Any) -> str:
    return str(rows.explain())


def test_a_page_deep_in_the_record_is_found_by_an_index_and_skips_nothing(company: Company) -> None:
    write(company, 60)
    rows = AuditEvent.objects.filter(organization_id=company.organization.pk)
    place = Place.of(rows.order_by("-at", "-id")[40])
    read = Place.read(place, backwards=False)
    assert read is not None
    statement = str(listing._beyond(rows, read).order_by("-at", "-id")[:51].query)
    assert "OFFSET" not in statement
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        found = plan(listing._beyond(rows, read).order_by("-at", "-id")[:51])
        cursor.execute("RESET enable_seqscan")
    assert "Index Scan" in found
    assert "Index Cond: ((organization_id = " in found
    assert "at <= " in found.partition("Index Cond")[2]


def test_a_rare_model_is_found_by_an_index_in_the_order_of_the_page(company: Company) -> None:
    write(company, 3, Event.CALL_ANSWERED, model_asked="gpt-6-rare")
    form = RecordForm({"model": "gpt-6-rare"}, company.ada)
    assert form.is_valid(), form.errors
    rows = form.narrow(visible(AuditEvent.objects.all(), company.ada)).order_by("-at", "-id")[:51]
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        found = plan(rows)
        cursor.execute("RESET enable_seqscan")
    assert re.search(r"_by_model|_model_asked_at_idx", found)
    assert re.search(
        r"Index Cond: \(\(organization_id = '\S+'::uuid\) AND \(model_asked = 'gpt-6-rare'::text\)\)", found
    )
    assert "Filter" not in found
    assert len(rows) == 3


async def test_the_record_is_filtered_by_event_department_person_model_and_time(company: Company) -> None:
    client = await signed_in(company.ivan)
    write(company, 2, Event.CALL_REFUSED, actor_id=company.bob.pk, actor_name="Bob", model_asked="gpt-6-sol")
    write(company, 1, Event.DOCUMENT_LIVE, department_id=company.finance.pk, actor_id=company.dave.pk)
    await asealed()

    async def shown(**query: object) -> int:
        return len(ids(await client.get(LIST, query)))

    assert await shown(event="call:refused") == 2
    assert await shown(department=str(company.finance.pk)) == 1
    assert await shown(person=str(company.bob.pk)) == 2
    assert await shown(person="Bob") == 2
    assert await shown(person=company.dave.email) == 1
    assert await shown(person="nobody at all") == 0
    assert await shown(model="gpt-6-sol") == 2
    assert await shown(model="gpt-6-sol", department=str(company.finance.pk)) == 0
    assert await shown(event="call:refused", period="hour") == 2
    today = timezone.now().date()
    assert await shown(since=today.isoformat(), until=today.isoformat(), event="document:live") == 1
    assert await shown(until=(today - timedelta(days=1)).isoformat()) == 0
    assert await shown(since=(today + timedelta(days=1)).isoformat()) == 0


async def test_an_id_finds_the_event_the_call_the_person_s_events_and_the_thing_s(company: Company) -> None:
    client = await signed_in(company.ada)
    document = uuid4()
    about = write(company, 2, Event.DOCUMENT_LIVE, subject_kind="document", subject_id=str(document))
    request = call(company, company.bob)
    event = AuditEvent.objects.get(pk=request)

    async def found(name: object) -> set[UUID]:
        return set(ids(await client.get(LIST, {"q": str(name)})))

    assert await found(about[0]) == {about[0]}
    assert await found(document) == set(about)
    both = set(AuditEvent.objects.filter(call_id=event.call_id).values_list("pk", flat=True))
    assert len(both) == 2
    assert await found(event.call_id) == both
    assert await found(company.bob.pk) >= both
    assert await found(uuid4()) == set()


async def test_the_models_offered_are_those_the_company_has_asked(company: Company, other_company: Company) -> None:
    call(company, company.bob, model_asked="gpt-6-luna")
    call(other_company, other_company.bob, model_asked="gpt-6-of-others")
    await asealed()
    page = (await (await signed_in(company.ada)).get(LIST)).content.decode()
    assert '<option value="gpt-6-luna">' in page
    assert "gpt-6-of-others" not in page


@pytest.mark.parametrize(
    "query",
    [
        "until=yesterday",
        "until=9999-12-31",
        "since=2026-99-99",
        "person=%00",
        "event=x",
        "department=x",
        "q=%00",
        "before=x",
        "after=%00_",
    ],
)
async def test_made_up_parameters_do_no_harm_and_show_nothing_that_was_not_asked_for(
    company: Company, query: str
) -> None:
    write(company, 1)
    client = await signed_in(company.ivan)
    response = await client.get(f"{LIST}?{query}")
    if "%00" in query:
        assert response.status_code == 400
        return
    assert response.status_code == 200
    if "before" not in query and "after" not in query:
        assert response.context["problem"]
        assert ids(response) == []


async def test_a_search_that_takes_too_long_is_stopped_and_says_what_to_do(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")

    monkeypatch.setattr(listing, "PATIENCE_MS", 50)
    monkeypatch.setattr(listing, "page_of", slow)
    response = await (await signed_in(company.ada)).get(LIST)
    assert response.status_code == 200
    assert "Narrow it" in response.content.decode()


async def test_a_database_that_is_away_is_not_taken_for_a_long_search(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(listing, "page_of", away)
    client = await signed_in(company.ada)
    client.raise_request_exception = False
    assert (await client.get(LIST)).status_code >= 500


async def test_no_row_and_no_page_holds_a_question_s_text(company: Company) -> None:
    request = call(company, company.bob, "Is my colleague ill?")
    for person in (company.ada, company.ivan):
        client = await signed_in(person)
        for address in (LIST, f"{LIST}{request}/change/"):
            assert "colleague" not in (await client.get(address)).content.decode()


def names(searches: Sequence[SavedSearch]) -> list[str]:
    return [search.name for search in searches]


async def test_a_search_is_saved_under_a_name_and_found_again(company: Company) -> None:
    write(company, 2, Event.CALL_REFUSED)
    write(company, 1, Event.DOCUMENT_LIVE)
    client = await signed_in(company.ada)
    form = {"name": "Refused", "query": "event=call%3Arefused&department=&period=week"}
    saved = await client.post(f"{LIST}searches/", form)
    page = await client.get(saved["Location"])
    assert len(ids(page)) == 2
    [search] = page.context["searches"]
    assert (search.name, search.query) == ("Refused", "period=week&event=call%3Arefused")
    assert len(ids(await client.get(f"{LIST}?{search.query}"))) == 2
    await client.post(f"{LIST}searches/", {"name": "Refused", "query": "event=document%3Alive"})
    [search] = SavedSearch.objects.filter(owner=company.ada)
    assert search.query == "event=document%3Alive"
    await client.post(f"{LIST}searches/{search.pk}/remove/")
    assert not SavedSearch.objects.filter(owner=company.ada).exists()


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("", "event=call%3Arefused"),
        ("x", ""),
        ("x", "event=made-up"),
        ("x", "colour=red"),
        ("\x00", "event=call%3Arefused"),
    ],
)
async def test_what_cannot_be_searched_is_not_saved(company: Company, name: str, query: str) -> None:
    client = await signed_in(company.ada)
    response = await client.post(f"{LIST}searches/", {"name": name, "query": query}, follow=True)
    assert "Nothing was saved" in response.content.decode()
    assert not SavedSearch.objects.filter(owner=company.ada).exists()


async def test_saved_searches_are_their_owner_s_alone(company: Company) -> None:
    search = SavedSearch.objects.create(owner=company.ada, name="Mine", query="period=week")
    client = await signed_in(company.ivan)
    assert "Mine" not in (await client.get(LIST)).content.decode()
    assert (await client.post(f"{LIST}searches/{search.pk}/remove/")).status_code == 404
    assert names(list(SavedSearch.objects.filter(owner=company.ada))) == ["Mine"]
