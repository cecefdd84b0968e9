"""An entry with its proof, the text of its question, and the search for a known question."""

from __future__ import annotations

import asyncio
import os
import re
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from django.test import AsyncClient
from django.urls import reverse

from audit.events import Event
from audit.models import AuditText
from audit.proofs import prove
from audit.writer import Entry, KeptText, record
from chatgrid.dev.services.bootstrap import APP
from departments.calls.query_policy import digest_of, make_pepper
from departments.models import Department, QueryPolicy
from tests.audit.places import new_record
from tests.chatgrid.console.recording import asealed, call, freshly, own, write
from tests.company import Company, signed_in

REASON = {"reason": "Complaint 17 of the works council"}


def address(event: object, page: str = "change") -> str:
    return reverse(f"admin:audit_auditevent_{page}", args=[event])


async def shown(client: AsyncClient, event: object) -> str:
    page = (await client.get(address(event))).content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


async def test_an_entry_is_shown_whole_with_every_field_that_holds_something(company: Company) -> None:
    columns = {"actor_name": "Bob", "client_address": "192.0.2.7", "model_asked": "gpt-6-luna", "key_version": "v-7"}
    more = {"details": {"reason": "limit"}, "labels": ["orders"], "passages": ["doc-1/4"]}
    [event] = write(company, 1, Event.CALL_REFUSED, **columns, **more)
    page = await shown(await signed_in(company.ivan), event)
    for words in (*columns.values(), "&quot;reason&quot;: &quot;limit&quot;", "orders", "doc-1/4"):
        assert words in page, words
    assert str(event) in page


async def test_both_entries_of_a_call_lead_to_one_another(company: Company) -> None:
    request = call(company, company.bob)
    client = await signed_in(company.ada)
    [answer] = own(company, Event.CALL_ANSWERED)
    assert f'href="{address(answer.pk)}"' in (await client.get(address(request))).content.decode()
    assert f'href="{address(request)}"' in (await client.get(address(answer.pk))).content.decode()


async def test_an_entry_that_waits_for_its_seal_says_so_and_then_every_step_holds(company: Company) -> None:
    [event] = write(company)
    client = await signed_in(company.ada)
    assert "Not sealed yet" in await shown(client, event)
    await asealed()
    response = await client.get(address(event))
    assert response.context["proof"].holds
    assert all(step.holds for step in response.context["steps"][:4])
    page = response.content.decode()
    proof = response.context["proof"]
    for value in (proof.seal.root, proof.computed, proof.seal.signature, proof.seal.public_key, *proof.steps):
        assert value.hex() in page
    assert "exactly as it was sealed" in page


@pytest.mark.parametrize(
    ("harm", "broken"),
    [
        ("UPDATE audit_event SET actor_name = 'Nobody' WHERE id = %(event)s", "is_unchanged"),
        ("UPDATE audit_leaf SET hash = sha256('x') WHERE event_id = %(event)s", "is_unchanged"),
        ("UPDATE audit_leaf SET hash = sha256('x') WHERE event_id <> %(event)s", "reaches_root"),
        ("UPDATE audit_seal SET root = sha256('x') WHERE n = 2", "is_signed"),
        ("UPDATE audit_seal SET signature = sha256('x') || sha256('y') WHERE n = 1", "follows"),
    ],
)
def test_each_step_fails_where_its_part_was_changed(harm: str, broken: str, tmp_path: object) -> None:
    """With full rights over the database, as in the tamper matrix."""
    with new_record(tmp_path) as held:  # type: ignore[arg-type]
        held.write(3)
        held.seal()
        held.write(4)
        held.seal()
        event = held.ask("SELECT event_id FROM audit_leaf ORDER BY seq DESC LIMIT 1")
        with held.as_role(APP) as connected:
            whole = prove(connected, event)
            held.tamper(harm.replace("%(event)s", f"'{event}'"))
            harmed = prove(connected, event)
    assert whole is not None
    assert whole.holds
    assert harmed is not None
    assert not getattr(harmed, broken)
    assert not harmed.holds


def test_the_proof_s_anchors_say_whether_they_were_given_the_seal(tmp_path: object) -> None:
    with new_record(tmp_path) as held:  # type: ignore[arg-type]
        held.write(1)
        held.seal()
        event = held.ask("SELECT event_id FROM audit_leaf")
        with held.as_role(APP) as connected:
            [mark] = prove(connected, event).anchors  # type: ignore[union-attr]
            assert mark.has_it
            assert mark.name == held.anchor.name
            held.tamper("UPDATE audit_anchor_state SET seal = 0")
            [mark] = prove(connected, event).anchors  # type: ignore[union-attr]
    assert not mark.has_it


def test_there_is_no_proof_of_what_is_not_there() -> None:
    connection.ensure_connection()
    with pytest.raises(LookupError):
        prove(connection.connection, uuid4())


# -- the text of a question


async def test_an_auditor_reads_a_question_with_a_reason_and_that_is_an_event_before_it_is_seen(
    company: Company,
) -> None:
    request = call(company, company.bob, "Is my colleague ill?")
    client = await freshly(company.ada)
    asked = await client.post(address(request, "question"))
    assert "colleague" not in asked.content.decode()
    assert own(company, Event.QUESTION_READ) == []
    page = (await client.post(address(request, "question"), REASON)).content.decode()
    assert "Is my colleague ill?" in page
    assert "Its hash is the one that was sealed" in page
    [event] = own(company, Event.QUESTION_READ)
    assert (event.actor_id, event.subject_id) == (company.ada.pk, str(request))
    assert event.details["reason"] == REASON["reason"]
    assert event.details["asked_by"] == "Bob"
    assert "colleague" not in str(event.details)


async def test_where_the_event_cannot_be_written_the_question_is_not_shown(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise psycopg.OperationalError("no space left")

    monkeypatch.setattr("chatgrid.console.record.entry.record", refuse)
    request = call(company, company.bob, "Is my colleague ill?")
    client = await freshly(company.ada)
    client.raise_request_exception = False
    response = await client.post(address(request, "question"), REASON)
    assert response.status_code >= 500
    assert "colleague" not in response.content.decode()


async def test_an_old_sign_in_is_asked_for_again_before_a_question_is_read(company: Company) -> None:
    request = call(company, company.bob)
    client = await signed_in(company.ada)
    response = await client.post(address(request, "question"), REASON)
    assert response.status_code == 302
    assert "/accounts/reauthenticate/" in response["Location"]
    assert own(company, Event.QUESTION_READ) == []


@pytest.mark.parametrize("name", ["ivan", "alice", "bob"])
async def test_nobody_else_reads_a_question_not_even_it(company: Company, name: str) -> None:
    request = call(company, company.bob, "Is my colleague ill?")
    client = await freshly(getattr(company, name))
    response = await client.post(address(request, "question"), REASON)
    assert response.status_code == 403
    assert own(company, Event.QUESTION_READ) == []


async def test_an_auditor_of_another_company_finds_no_question(company: Company, other_company: Company) -> None:
    request = call(company, company.bob)
    client = await freshly(other_company.ada)
    assert (await client.post(address(request, "question"), REASON)).status_code == 404


async def test_an_erased_text_is_gone_and_the_proof_stands(company: Company) -> None:
    request = call(company, company.bob)
    await asealed()
    with psycopg.connect(os.environ["CHATGRID_RETENTION_DATABASE_URL"], autocommit=True) as retention:
        retention.execute("DELETE FROM audit_text WHERE event_id = %s", [request])
    client = await freshly(company.ada)
    assert "The text has been erased" in await shown(client, request)
    response = await client.post(address(request, "question"), REASON, follow=True)
    assert "There is no text to read" in response.content.decode()
    assert own(company, Event.QUESTION_READ) == []
    assert (await client.get(address(request))).context["proof"].holds


async def test_a_text_that_is_not_the_sealed_one_is_named(company: Company) -> None:
    other = KeptText.of("Something else")
    entry = Entry(
        event=Event.CALL_REQUESTED,
        organization_id=company.organization.pk,
        query_hash=KeptText.of("What was asked").digest,
    )
    record(entry, other)
    client = await freshly(company.ada)
    page = (await client.post(address(entry.id, "question"), REASON)).content.decode()
    assert "NOT the one that was sealed" in page
    AuditText.objects.filter(event_id=entry.id).delete()  # a verification of the whole record would find it


async def test_a_page_with_a_question_is_kept_by_no_browser(company: Company) -> None:
    request = call(company, company.bob)
    response = await (await freshly(company.ada)).post(address(request, "question"), REASON)
    assert "no-store" in response["Cache-Control"]


# -- a known question among hashed ones


def hashed(company: Company, department: Department, question: str) -> None:
    Department.objects.filter(pk=department.pk).update(query_policy=QueryPolicy.HASHED)
    department.refresh_from_db()
    make_pepper(department)


async def ask_hashed(company: Company, department: Department, question: str) -> None:
    await asyncio.to_thread(hashed, company, department, question)
    digest = await digest_of(department, question)
    await asyncio.to_thread(
        write,
        company,
        1,
        Event.CALL_REQUESTED,
        department_id=department.pk,
        department_name=department.name,
        query_hash=digest,
        actor_name="Bob",
    )


async def test_a_known_question_is_found_among_hashed_ones_and_looking_is_an_event(
    company: Company, other_company: Company
) -> None:
    question = "How much does the director earn?"
    for each in (company, other_company):
        await ask_hashed(each, each.hr, question)
    client = await signed_in(company.ada)
    find = reverse("admin:audit_auditevent_questions")
    response = await client.post(find, {"question": "  how much does  the DIRECTOR earn? "})
    assert [event.organization_id for event in response.context["found"]] == [company.organization.pk]
    [event] = own(company, Event.QUESTION_SEARCHED)
    assert event.actor_id == company.ada.pk
    assert event.details["found"] == 1
    assert "director" not in str(event.details)
    assert (await client.post(find, {"question": "How much?"})).context["found"] == []


async def test_looking_for_a_question_makes_no_key_and_keeps_no_text(company: Company) -> None:
    client = await signed_in(company.ada)
    response = await client.post(reverse("admin:audit_auditevent_questions"), {"question": "Who is ill?"})
    assert response.context["found"] == []
    assert response.context["unreadable"] == []
    assert not AuditText.objects.filter(text__contains="Who is ill?").exists()
    assert "ill" not in str([event.details for event in own(company, Event.QUESTION_SEARCHED)])
