"""What a person types that looks like a secret: warned of, blocked or redacted before anything is sent."""

from __future__ import annotations

import time

import pytest
from django.urls import reverse

from audit.events import Event
from audit.models import AuditEvent, AuditText
from chatgrid.chat.models import Conversation, Message
from departments.calls.typed import SecretTyped, find_secrets, redacted
from departments.models import TypedSecrets
from tests.company import Company, give_key, give_store, signed_in
from tests.departments.calls.calling import ask, events, requests_of, whole
from tests.departments.documents.shelf import LEAVE, add
from tests.provider import Provider

KEY = "sk-" + "proj-" + "Ab3_x9Kd-Qz7" * 5 + "T3Blbk" + "FJ" + "Ab3_x9Kd-Qz7" * 5
PEM = "PRIV" + "ATE KEY-----"
CARD = "4111 1111 1111 1111"
SECRETS = {
    "key": KEY,
    "AWS key": "AKIA" + "IOSFODNN7EXAMPLE",
    "access token": "ghp_" + "a1B2c3D4e5" * 4,
    "private key": f"-----BEGIN RSA {PEM}\nMIIEow\n-----END RSA {PEM}",
    "password in an address": "postgresql://app:" + "hunter2secret@db.example/app",
    "password": "password: " + "Tr0ub4dor&3",
    "card number": CARD,
}
HONEST = (
    "The password: must be changed every year.",
    "My order is 4111-1111-1111-1112 and my IBAN is DE89 3704 0044 0532 0130 00.",
    "Call +44 20 7946 0958 or 1234 5678 9012 3456 7890.",
    "Where is the API key kept, and who may read it?",
    "See https://intranet.example/a:b@c and the key sk-folding-cube-grid.",
    "0000 0000 0000 0000",
)
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
async def office(company: Company, provider: Provider) -> Company:
    """HR with a key, a store and a document, so that a question would be embedded and answered."""
    give_key(company.hr)
    give_store(company.hr)
    await add(company.hr, company.alice, LEAVE)
    return company


def policy(company: Company, chosen: TypedSecrets) -> None:
    company.hr.typed_secrets = chosen
    company.hr.save()


@pytest.mark.parametrize("kind", SECRETS)
def test_it_sees_a_secret_in_a_sentence_and_takes_it_out(kind: str) -> None:
    text = f"Please look at this: {SECRETS[kind]} - what is wrong?"
    found = find_secrets(text)
    assert [typed.kind for typed in found] == [kind]
    without = redacted(text, found)
    assert f"[{kind} removed]" in without
    assert SECRETS[kind][-6:] not in without
    assert without.endswith("what is wrong?")


@pytest.mark.parametrize("kind", ["card number", "key", "AWS key"])
def test_a_secret_in_other_letters_is_one_and_goes_in_its_own_place(kind: str) -> None:
    wide = "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in SECRETS[kind])
    text = f"Тоже: {wide}, верно?"
    (found,) = find_secrets(text)
    assert redacted(text, [found]) == f"Тоже: [{kind} removed], верно?"


@pytest.mark.parametrize("text", HONEST)
def test_it_leaves_honest_words_and_numbers_alone(text: str) -> None:
    assert find_secrets(text) == []


@pytest.mark.parametrize("piece", ["4", "4 ", "sk-", "password: ", "eyJa", "a://b:", f"-----BEGIN {PEM}", "xoxb-"])
def test_its_time_grows_with_the_length_only(piece: str) -> None:
    def seconds(length: int) -> float:
        started = time.thread_time()
        find_secrets((piece * length)[:length])
        return time.thread_time() - started

    assert min(seconds(16_000) for _ in range(2)) < 40 * min(seconds(1_600) for _ in range(3)) + 0.1


async def test_a_warned_person_decides_and_nothing_is_sent_or_kept_before(office: Company, provider: Provider) -> None:
    key = give_key(office.hr)
    client = await signed_in(office.bob)
    response = await client.post("/d/hr/ask", {"question": f"Is {CARD} ours?"}, headers=STREAM)
    assert response.status_code == 422
    assert response.json()["may_confirm"] is True
    assert "a card number" in response.json()["sentence"]
    assert "4111" not in response.content.decode()
    assert requests_of(provider, key) == []
    assert not Conversation.objects.filter(owner=office.bob).exists()
    (refused,) = events(office)[-1:]
    assert (refused.event, refused.details["reason"]) == (Event.CALL_REFUSED, "secret_typed")
    assert not AuditText.objects.filter(event_id=refused.id).exists()

    again = {"question": f"Is {CARD} ours?", "confirmed": "1"}
    response = await client.post("/d/hr/ask", again, headers=STREAM)
    assert response.status_code == 200
    async for _ in response.streaming_content:
        pass
    assert Message.objects.filter(conversation__owner=office.bob, role="person", text__contains=CARD).exists()
    asked = AuditEvent.objects.get(actor_id=office.bob.pk, event=Event.CALL_REQUESTED, purpose="chat")
    assert "question:card number" in asked.labels


async def test_characters_that_nobody_sees_hide_no_secret(office: Company, provider: Provider) -> None:
    key = give_key(office.hr)
    hidden = "\u200b".join(CARD)
    response = await (await signed_in(office.bob)).post("/d/hr/ask", {"question": f"Is {hidden} ours?"}, headers=STREAM)
    assert response.status_code == 422
    assert requests_of(provider, key) == []


async def test_without_javascript_the_page_asks_and_the_same_form_sends(office: Company) -> None:
    client = await signed_in(office.bob)
    page = await client.post("/d/hr/ask", {"question": f"Is {CARD} ours?"})
    text = page.content.decode()
    assert page.status_code == 422
    assert 'name="confirmed"' in text
    assert CARD in text, "the question is still in the box"
    sent = await client.post("/d/hr/ask", {"question": f"Is {CARD} ours?", "confirmed": "1"})
    assert sent.status_code == 303


async def test_a_question_that_was_sent_once_is_not_warned_of_again(office: Company) -> None:
    client = await signed_in(office.bob)
    await client.post("/d/hr/ask", {"question": f"Is {CARD} ours?", "confirmed": "1"})
    answer = Message.objects.get(conversation__owner=office.bob, role="assistant")
    again = await client.post(reverse("chat:ask", args=[answer.conversation_id]), {"retry": str(answer.pk)})
    assert again.status_code == 303


async def test_blocked_means_blocked_confirmed_or_not(office: Company, provider: Provider) -> None:
    policy(office, TypedSecrets.BLOCK)
    key = give_key(office.hr)
    client = await signed_in(office.bob)
    for confirmed in ("", "1"):
        asked = {"question": f"Is {CARD} ours?", "confirmed": confirmed}
        response = await client.post("/d/hr/ask", asked, headers=STREAM)
        assert response.status_code == 422
        assert response.json()["may_confirm"] is False
    page = await client.post("/d/hr/ask", {"question": f"Is {CARD} ours?"})
    assert b"Send anyway" not in page.content.split(b"<template")[0]
    assert requests_of(provider, key) == []


async def test_redacted_the_rest_goes_on_without_the_secret_anywhere(office: Company, provider: Provider) -> None:
    policy(office, TypedSecrets.REDACT)
    client = await signed_in(office.bob)
    response = await client.post("/d/hr/ask", {"question": f"Is {CARD} a card of ours?"}, headers=STREAM)
    assert response.status_code == 200
    shown = b"".join([chunk async for chunk in response.streaming_content]).decode()
    assert "[card number removed]" in shown
    assert CARD not in shown
    question = Message.objects.get(conversation__owner=office.bob, role="person")
    assert question.text == "Is [card number removed] a card of ours?"
    asked = AuditEvent.objects.get(actor_id=office.bob.pk, event=Event.CALL_REQUESTED, purpose="chat")
    assert AuditText.objects.get(event_id=asked.id).text == question.text


async def test_the_door_itself_sends_no_secret_whoever_forgot_to_ask(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    for text in (f"Is {CARD} ours?", f"Is {CARD} ours?".replace(" 1", "\u200b1")):
        with pytest.raises(SecretTyped):
            await whole(ask(company, question=text))
    assert requests_of(provider, key) == []
    assert await whole(ask(company, question=f"Is {CARD} ours?", confirmed=True))
