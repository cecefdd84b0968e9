"""The door: what a call leaves in the ledger and in the record, however it ends."""

from __future__ import annotations

import pytest

from audit.events import Event, Outcome
from audit.models import AuditText
from departments.calls import sentences
from departments.calls.caller import CallFailed, CallRefused
from departments.limits.models import Reservation, Spent
from tests.company import Company, give_key, set_limit
from tests.departments.calls.calling import ask, events, whole
from tests.provider import Provider


async def test_an_answer_leaves_two_events_and_a_settled_ledger(company: Company, provider: Provider) -> None:
    give_key(company.hr)
    question = ask(company)
    text = await whole(question)
    assert text
    requested, answered = events(company)
    assert requested.event == Event.CALL_REQUESTED
    assert answered.event == Event.CALL_ANSWERED
    assert answered.outcome == Outcome.ANSWERED
    assert requested.id == question.call_id == answered.call_id
    assert requested.actor_name == "Bob"
    assert requested.client_address == "192.0.2.7"
    reservation = Reservation.objects.get(call_id=question.call_id)
    assert reservation.settled_at is not None
    assert reservation.tokens_used == answered.tokens_input + answered.tokens_output
    spent = Spent.objects.get(scope="person", scope_id=company.bob.pk)
    assert spent.tokens == reservation.tokens_used
    assert not answered.tokens_estimated
    assert AuditText.objects.get(event_id=requested.id).text == question.question


async def test_no_key_means_no_call_and_says_who_can_help(company: Company, provider: Provider) -> None:
    with pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    assert failed.value.sentence == sentences.NO_KEY
    assert [event.details["reason"] for event in events(company)] == ["no_key"]


async def test_a_budget_that_is_used_up_refuses_and_records(company: Company, provider: Provider) -> None:
    give_key(company.hr)
    set_limit(company, person=company.bob, tokens_per_day=10)
    with pytest.raises(CallRefused) as refused:
        await whole(ask(company))
    assert "10 tokens" in refused.value.sentence
    (event,) = events(company)
    assert event.event == Event.CALL_REFUSED
    assert event.details["scope"] == "person"
    assert not Reservation.objects.filter(person_id=company.bob.pk).exists()
