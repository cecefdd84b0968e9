"""Asking, through the page: with and without JavaScript, and what is left of it in the conversation."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.test import AsyncClient
from django.urls import reverse
from psycopg import AsyncCursor

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.chat.models import Conversation, Message
from departments.calls import sentences
from departments.documents.ingest import ingest_version
from departments.models import Membership
from tests.company import Company, give_key, give_store, set_limit, signed_in
from tests.departments.documents.shelf import LEAVE, upload
from tests.provider import Provider

STREAM = {"Accept": "text/event-stream"}
Events = list[tuple[str, dict[str, Any]]]


async def read_events(response: Any) -> Events:
    body = b"".join([chunk async for chunk in response.streaming_content]).decode()
    events = []
    for block in body.strip().split("\n\n"):
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


async def ask_streaming(client: AsyncClient, address: str, question: str, **more: str) -> Events:
    response = await client.post(address, {"question": question, **more}, headers=STREAM)
    assert response.status_code == 200, response.content
    return await read_events(response)


@pytest.fixture
async def ready(company: Company, provider: Provider) -> Company:
    """HR with a key, a store, and one document that can be asked about."""
    give_key(company.hr)
    give_store(company.hr)
    version = await upload(company.hr, company.alice, LEAVE)
    await ingest_version(company.hr, version.id)
    return company


async def test_an_answer_streams_with_its_source(ready: Company) -> None:
    client = await signed_in(ready.bob)
    events = await ask_streaming(client, "/d/hr/ask", "How many unused days may I carry over into the next year?")
    names = [name for name, _ in events]
    assert names[0] == "start"
    assert names[-1] == "done"
    assert set(names[1:-1]) == {"block"}
    answer = Message.objects.get(conversation__owner=ready.bob, role="assistant")
    assert "five unused days" in answer.text
    assert answer.state == Message.State.COMPLETE
    (citation,) = answer.citations
    assert citation["title"] == "Leave"
    assert "#passage-" in events[-1][1]["message_html"]
    assert "tokens" in events[-1][1]["meter_html"]


async def test_a_question_and_its_answer_stand_in_their_order_though_one_statement_writes_both(ready: Company) -> None:
    client = await signed_in(ready.bob)
    await ask_streaming(client, "/d/hr/ask", "How many unused days may I carry over into the next year?")
    first, second = Message.objects.filter(conversation__owner=ready.bob).order_by("created_at")
    assert first.created_at < second.created_at
    assert [first.role, second.role] == ["person", "assistant"]


async def test_a_question_costs_ten_round_trips_and_not_one_more(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_key(company.hr)
    give_store(company.hr)
    client = await signed_in(company.bob)
    await ask_streaming(client, "/d/hr/ask", "the key and the catalogue are read")
    seen: list[str] = []
    execute = AsyncCursor.execute

    async def counted(cursor: AsyncCursor[Any], statement: Any, *more: Any, **named: Any) -> Any:
        text = statement.decode() if isinstance(statement, bytes) else str(statement)
        seen.append(" ".join(text.split())[:120])
        return await execute(cursor, statement, *more, **named)

    monkeypatch.setattr(AsyncCursor, "execute", counted)
    await ask_streaming(client, "/d/hr/ask", "hello")
    told = [statement for statement in seen if statement]  # an empty one asks a rested connection how it is
    # before the call: session, person, department, the store's recipe, standing, admission, question; after it:
    # settlement, answer, and that the documents had nothing to say
    assert len(told) == 10, "\n".join(told)


async def test_without_javascript_the_answer_comes_with_the_page(ready: Company) -> None:
    client = await signed_in(ready.bob)
    response = await client.post("/d/hr/ask", {"question": "How many unused days may I carry over?"})
    assert response.status_code == 303
    page = await client.get(response.headers["Location"].split("#")[0])
    assert "five unused days" in page.content.decode()
    assert "Leave" in page.content.decode()


async def test_a_conversation_goes_on_and_is_only_its_owners(ready: Company) -> None:
    client = await signed_in(ready.bob)
    await ask_streaming(client, "/d/hr/ask", "How many unused days may I carry over?")
    conversation = Conversation.objects.get(owner=ready.bob)
    await ask_streaming(client, reverse("chat:ask", args=[conversation.pk]), "Until when?")
    assert [message.role for message in conversation.messages.all()] == ["person", "assistant"] * 2
    carol = await signed_in(ready.carol)
    assert (await carol.get(reverse("chat:conversation", args=[conversation.pk]))).status_code == 404


async def test_a_refusal_leaves_the_words_in_the_box_and_nothing_in_the_conversation(ready: Company) -> None:
    set_limit(ready, person=ready.bob, requests_per_minute=1)
    client = await signed_in(ready.bob)
    await ask_streaming(client, "/d/hr/ask", "How many unused days may I carry over?")
    response = await client.post("/d/hr/ask", {"question": "And until when?"}, headers=STREAM)
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= 60
    assert "1 questions a minute" in response.json()["sentence"]
    page = await client.post("/d/hr/ask", {"question": "And until when?"})
    assert page.status_code == 429
    assert "And until when?" in page.content.decode()
    assert Conversation.objects.filter(owner=ready.bob).count() == 1


async def test_a_failed_call_keeps_the_question_and_can_be_asked_again(ready: Company, provider: Provider) -> None:
    key = give_key(ready.hr)
    provider.misbehave(key, "forbidden", times=1)
    client = await signed_in(ready.bob)
    # the search's embedding meets the refusal first: the question is kept all the same
    events = await ask_streaming(client, "/d/hr/ask", "How many unused days may I carry over?")
    assert events[-1][0] == "problem"
    failed = Message.objects.get(conversation__owner=ready.bob, role="assistant")
    assert failed.state == Message.State.FAILED
    assert failed.problem == sentences.NOT_ALLOWED
    again = reverse("chat:ask", args=[failed.conversation_id])
    events = await ask_streaming(client, again, "", retry=str(failed.pk))
    assert events[-1][0] == "done"
    (question, answer) = failed.conversation.messages.all()
    assert question.text == "How many unused days may I carry over?"
    assert "five unused days" in answer.text


async def test_an_answer_of_another_conversation_cannot_be_asked_again(ready: Company) -> None:
    client = await signed_in(ready.bob)
    await ask_streaming(client, "/d/hr/ask", "How many unused days may I carry over?")
    mine = Conversation.objects.get(owner=ready.bob)
    carol = await signed_in(ready.carol)
    await ask_streaming(carol, "/d/hr/ask", "Until when?")
    foreign = Message.objects.get(conversation__owner=ready.carol, role="assistant")
    for retry in (str(foreign.pk), str(uuid4()), "not an id"):
        response = await client.post(reverse("chat:ask", args=[mine.pk]), {"retry": retry}, headers=STREAM)
        assert response.status_code == 404
    assert Message.objects.filter(pk=foreign.pk).exists()


async def test_a_person_who_left_the_department_can_not_ask_in_it(ready: Company) -> None:
    client = await signed_in(ready.bob)
    await ask_streaming(client, "/d/hr/ask", "How many unused days may I carry over?")
    conversation = Conversation.objects.get(owner=ready.bob)
    Membership.objects.filter(user=ready.bob).delete()
    for address in ("/d/hr/ask", reverse("chat:ask", args=[conversation.pk])):
        assert (await client.post(address, {"question": "Hello?"}, headers=STREAM)).status_code == 404
    assert (await client.get(reverse("chat:conversation", args=[conversation.pk]))).status_code == 404


@pytest.mark.parametrize("question", ["", "   ", "x" * 16_001])
async def test_an_empty_or_endless_question_is_not_sent(ready: Company, question: str) -> None:
    client = await signed_in(ready.bob)
    response = await client.post("/d/hr/ask", {"question": question}, headers=STREAM)
    assert response.status_code == 400
    assert not Conversation.objects.filter(owner=ready.bob).exists()


async def test_what_a_person_types_is_shown_as_typed(ready: Company) -> None:
    client = await signed_in(ready.bob)
    hostile = "<script>alert(1)</script> {{7*7}} {% debug %} \x00 \u202e"
    events = await ask_streaming(client, "/d/hr/ask", hostile)
    shown = [text for _, data in events for name, text in data.items() if name.endswith("html")]
    assert shown
    assert not any("<script>" in text for text in shown)
    assert "&lt;script&gt;" in events[0][1]["question_html"]
    conversation = Conversation.objects.get(owner=ready.bob)
    page = await client.get(reverse("chat:conversation", args=[conversation.pk]))
    assert "<script>alert" not in page.content.decode()
    assert "{{7*7}}" in page.content.decode()


async def test_deleting_a_conversation_leaves_the_record(ready: Company) -> None:
    client = await signed_in(ready.bob)
    await ask_streaming(client, "/d/hr/ask", "How many unused days may I carry over?")
    conversation = Conversation.objects.get(owner=ready.bob)
    await client.post(reverse("chat:delete", args=[conversation.pk]))
    assert not Conversation.objects.filter(pk=conversation.pk).exists()
    mine = AuditEvent.objects.filter(actor_id=ready.bob.pk)
    assert mine.filter(event=Event.CONVERSATION_DELETED, subject_id=str(conversation.pk)).count() == 1
    assert mine.filter(event=Event.CALL_ANSWERED, purpose="chat").count() == 1


async def test_an_answer_its_process_left_behind_says_so(company: Company) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from chatgrid.chat.tasks import close_lost_answers

    conversation = Conversation.objects.create(department=company.hr, owner=company.bob, title="t")
    lost = Message.objects.create(conversation=conversation, role="assistant", state="writing", text="So far")
    alive = Message.objects.create(conversation=conversation, role="assistant", state="writing")
    Message.objects.filter(pk=lost.pk).update(alive_at=timezone.now() - timedelta(seconds=60))
    close_lost_answers()
    lost.refresh_from_db()
    alive.refresh_from_db()
    assert (lost.state, lost.problem, lost.text) == ("interrupted", sentences.LOST, "So far")
    assert alive.state == "writing"
