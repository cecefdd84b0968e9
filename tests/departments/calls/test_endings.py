"""Every way a call can end: what the person reads, what the record and the ledger hold, what the operator sees."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from django.test import override_settings

from audit.database import connection
from audit.events import Event, Outcome
from audit.models import AuditEvent
from chatgrid.dev.services.ports import pick
from departments.calls import provider_errors, run, sentences
from departments.calls.caller import CallEndedEarly, CallFailed
from departments.calls.run import PassageData, Turn, answering
from departments.calls.tokens import count_tokens
from departments.keys import reader
from departments.keys.cache import SecretCache
from departments.keys.models import KeyReference
from departments.keys.vaults import VaultUnavailable
from departments.limits import budget
from departments.limits.models import Reservation
from departments.models import Membership
from departments.prompts.guard import canary_of
from tests.company import Company, give_key, make_key
from tests.departments.calls.calling import (
    QUESTION,
    ask,
    assert_ended,
    assert_told,
    disconnected,
    events,
    made,
    requests_of,
    spent,
    until,
    whole,
)
from tests.provider import Provider

NO_USAGE_KNOWN = {"tokens_estimated": True}
NOTHING_USED = {"tokens_estimated": False, "tokens_input": 0, "tokens_output": 0}


@pytest.fixture
def quick_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is renewed, and the membership asked for, twenty times a second."""
    monkeypatch.setattr(budget, "RENEW_SECONDS", 0.05)


# --- before the first byte -------------------------------------------------------------------------------------------

REFUSALS: list[tuple[str, dict[str, Any], str, str, int]] = [
    # kind, options, reason, sentence, requests
    ("forbidden", {}, "provider_forbids", sentences.NOT_ALLOWED, 1),
    ("error", {"status": 404, "code": "model_not_found"}, "model_unknown", sentences.MODEL_UNKNOWN, 1),
    ("error", {"status": 400, "code": "model_not_found"}, "model_unknown", sentences.MODEL_UNKNOWN, 1),
    ("error", {"status": 400, "code": "invalid_prompt"}, "provider_400", sentences.PROVIDER_REFUSED, 1),
    ("error", {"status": 422}, "provider_422", sentences.PROVIDER_REFUSED, 1),
    ("error", {"status": 400, "code": "context_length_exceeded"}, "context_length_exceeded", sentences.TOO_LONG, 1),
    ("rate_limited", {"retry_after": 0}, "provider_rate_limited", sentences.PROVIDER_BUSY, 2),
    ("rate_limited", {"retry_after": 60}, "provider_rate_limited", sentences.PROVIDER_BUSY, 1),
    ("spend_limit", {}, "project_spend_limit_exceeded", sentences.PROVIDER_LIMIT, 1),
    ("spend_limit", {"retry_after": 0}, "project_spend_limit_exceeded", sentences.PROVIDER_LIMIT, 1),
    ("rate_limited", {"code": "insufficient_quota"}, "insufficient_quota", sentences.PROVIDER_LIMIT, 1),
    (
        "rate_limited",
        {"code": "429", "message": "You exceeded your current quota, check your plan."},
        "spend_limit",
        sentences.PROVIDER_LIMIT,
        1,
    ),
    ("server_error", {"retry_after": 0}, "provider_500", sentences.PROVIDER_DOWN, 3),
    ("overloaded", {"retry_after": 0}, "provider_503", sentences.PROVIDER_DOWN, 3),
    ("overloaded", {"retry_after": 600}, "provider_503", sentences.PROVIDER_DOWN, 1),
]


@pytest.mark.parametrize(("kind", "options", "reason", "sentence", "requests"), REFUSALS)
async def test_a_refusal_costs_nothing_and_is_retried_only_where_that_helps(
    company: Company,
    provider: Provider,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    options: dict[str, Any],
    reason: str,
    sentence: str,
    requests: int,
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, kind, **options)
    with pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    assert failed.value.sentence == sentence
    assert failed.value.reason == reason
    assert len(requests_of(provider, key)) == requests
    assert_ended(company, Outcome.FAILED, reason, attempts=requests, **NOTHING_USED)
    assert_told(caplog, key, reason)


@pytest.mark.parametrize("retry_after", ["60", "1e400", "nan", "soon", "-1"])
async def test_a_wait_that_the_provider_asks_for_is_told_as_far_as_it_makes_sense(
    company: Company, provider: Provider, retry_after: str
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "rate_limited", retry_after=retry_after)
    with pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    expected = {"60": 60, "1e400": 86_400}.get(retry_after)
    assert failed.value.retry_after == (expected and pytest.approx(expected, abs=20))


@pytest.mark.parametrize("kind", ["server_error", "overloaded", "rate_limited"])
async def test_a_short_trouble_is_not_noticed_by_the_person(company: Company, provider: Provider, kind: str) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, kind, times=1, retry_after=0)
    text, answer = await made(ask(company))
    assert text
    assert answer.ending is not None
    assert answer.ending.sentence == ""
    event = assert_ended(company, Outcome.ANSWERED, "", attempts=2)
    assert event.tokens_output == requests_of(provider, key)[-1]["completion_tokens"]


async def test_a_provider_that_is_down_is_said_to_be(company: Company, caplog: pytest.LogCaptureFixture) -> None:
    give_key(company.hr)
    nobody = {"openai": {"kind": "openai", "base_url": f"http://127.0.0.1:{pick()}/v1"}}
    with override_settings(PROVIDERS=nobody), pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    assert failed.value.sentence == sentences.PROVIDER_DOWN
    assert_ended(company, Outcome.FAILED, "provider_unreachable", attempts=3, **NOTHING_USED)
    assert_told(caplog, None, "provider_unreachable")


@override_settings(SILENCE_SECONDS=0.2)
async def test_a_provider_that_takes_the_question_and_says_nothing_may_charge_for_it(
    company: Company, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "silent", headers=False)
    with pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    assert failed.value.sentence == sentences.PROVIDER_SILENT
    assert await disconnected(provider, key)
    event = assert_ended(company, Outcome.FAILED, "provider_timeout", attempts=1, **NO_USAGE_KNOWN)
    assert event.tokens_input >= requests_of(provider, key)[0]["prompt_tokens"] > 0
    assert_told(caplog, key, "provider_timeout")


async def test_a_slow_provider_is_waited_for_and_the_lease_kept(
    company: Company, provider: Provider, quick_renewals: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "LEASE_SECONDS", 2)
    key = give_key(company.hr)
    provider.misbehave(key, "slow", first_byte_ms=2500, between_ms=1)
    assert await whole(ask(company))
    event = assert_ended(company, Outcome.ANSWERED, "")
    assert event.first_token_ms >= 2500


async def test_a_prompt_that_is_too_long_after_all_is_sent_with_less_history(
    company: Company, provider: Provider
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "error", times=2, status=400, code="context_length_exceeded")
    history = [Turn("person", f"Question {number}") for number in range(8)]
    assert await whole(ask(company, history=history))
    sent = [[message["content"] for message in entry["body"]["messages"]] for entry in requests_of(provider, key)]
    turns = ["".join(contents).count('"text": "Question ') for contents in sent]
    assert turns == [8, 4, 0]
    assert "Question 7" in "".join(sent[1])
    assert_ended(company, Outcome.ANSWERED, "", attempts=3)


# --- the key ---------------------------------------------------------------------------------------------------------


async def test_a_key_that_was_replaced_is_read_again_and_nobody_notices(company: Company, provider: Provider) -> None:
    old = give_key(company.hr)
    assert await whole(ask(company))
    question = ask(company)
    new = give_key(company.hr)  # the department object above still has the old epoch: this process has not heard
    provider.misbehave(old, "unauthorized")
    question = replace(question, caller=replace(question.caller, address=""))
    assert await whole(question)
    answered = events(company)[-1]
    assert (answered.outcome, answered.details["attempts"]) == (Outcome.ANSWERED, 2)
    assert answered.key_fingerprint == new.fingerprint()
    assert KeyReference.objects.get(department=company.hr).state == KeyReference.State.ACTIVE


async def test_a_key_that_is_refused_for_good_is_marked_and_said(
    company: Company, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "unauthorized")
    with pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    assert failed.value.sentence == sentences.KEY_REFUSED
    assert len(requests_of(provider, key)) == 2
    assert_ended(company, Outcome.FAILED, "key_refused", attempts=2, **NOTHING_USED)
    assert KeyReference.objects.get(department=company.hr).state == KeyReference.State.BROKEN
    assert_told(caplog, key, "refuses the key", str(company.hr.pk))
    reads = AuditEvent.objects.filter(event=Event.SECRET_READ, subject_id__contains=company.organization.slug)
    assert reads.count() == 2


async def test_a_trouble_before_the_refused_key_does_not_spare_it(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "server_error", times=1, retry_after=0)
    provider.misbehave(key, "unauthorized", times=1)
    assert await whole(ask(company))
    assert_ended(company, Outcome.ANSWERED, "", attempts=3)


async def test_without_a_key_there_is_no_call(company: Company, provider: Provider) -> None:
    with pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    assert failed.value.sentence == sentences.NO_KEY
    assert [(event.event, event.details["reason"]) for event in events(company)] == [(Event.CALL_REFUSED, "no_key")]
    assert not Reservation.objects.filter(organization_id=company.organization.pk).exists()


async def test_a_secret_that_is_no_key_is_not_shown_to_anybody(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    garbage = make_key()
    name = reader.key_name(company.hr)
    reader.current_vault().stage(name, token := secrets.token_hex(16), garbage)
    reader.current_vault().promote(name, token, None)
    with pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    assert failed.value.reason == "key_unreadable"
    assert failed.value.__cause__ is None
    assert_told(caplog, garbage, "has no api_key")


async def test_a_secret_manager_that_is_down_means_no_call(
    company: Company, provider: Provider, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        def get_current(self, name: str) -> None:
            raise VaultUnavailable("The secret manager did not answer.")

    key = give_key(company.hr)
    empty = SecretCache(Away(), reader._record_read)  # type: ignore[arg-type]
    monkeypatch.setattr(reader, "secret_cache", lambda: empty)
    with pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    assert failed.value.sentence == sentences.VAULT_DOWN
    assert [event.details["reason"] for event in events(company)] == ["secret_manager_unavailable"]
    assert requests_of(provider, key) == []
    assert_told(caplog, key, "cannot be read")


async def test_a_provider_that_is_no_longer_set_up_is_said(company: Company, caplog: pytest.LogCaptureFixture) -> None:
    give_key(company.hr)
    question = ask(company)
    question.department.provider = "gone"
    with pytest.raises(CallFailed) as failed:
        await whole(question)
    assert failed.value.sentence == sentences.PROVIDER_UNKNOWN
    assert_told(caplog, None, "CHATGRID_PROVIDERS")


# --- while the answer is written -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "reason", "sentence"),
    [
        ("cut", {"after_chunks": 5}, "connection_cut", sentences.CUT),
        ("malformed", {"after_chunks": 5}, "event_unreadable", sentences.CUT),
        ("error_event", {"after_chunks": 5}, "provider_error_event", sentences.CUT),
    ],
)
async def test_an_answer_that_breaks_off_keeps_what_came_and_is_booked_as_an_estimate(
    company: Company,
    provider: Provider,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    options: dict[str, Any],
    reason: str,
    sentence: str,
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, kind, text="One two three four five six seven eight.", **options)
    text, answer = await made(ask(company))
    assert text.startswith("One two")
    assert not text.endswith("eight.")
    assert answer.ending is not None
    assert answer.ending.sentence == sentence
    event = assert_ended(company, Outcome.CUT, reason, attempts=1, **NO_USAGE_KNOWN)
    assert event.tokens_output == count_tokens(text)
    assert event.tokens_input >= requests_of(provider, key)[0]["prompt_tokens"]
    assert len(requests_of(provider, key)) == 1, "nothing is retried after the first byte"
    assert_told(caplog, key, reason)


@override_settings(SILENCE_SECONDS=1)
async def test_a_model_that_falls_silent_ends_the_answer(
    company: Company, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "silent")
    text, answer = await made(ask(company))
    assert text == ""
    assert answer.ending is not None
    assert answer.ending.sentence == sentences.PROVIDER_SILENT
    assert_ended(company, Outcome.CUT, "provider_silent", **NO_USAGE_KNOWN)
    assert await disconnected(provider, key)
    assert_told(caplog, key, "provider_silent")


async def test_without_usage_our_own_count_is_booked_and_marked(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "no_usage", text="Twenty-eight days.")
    assert await whole(ask(company)) == "Twenty-eight days."
    event = assert_ended(company, Outcome.ANSWERED, "", **NO_USAGE_KNOWN)
    assert event.tokens_output == count_tokens("Twenty-eight days.")


async def test_usage_is_found_wherever_a_provider_puts_it(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "odd_usage", reasoning_tokens=7)
    assert await whole(ask(company))
    event = assert_ended(company, Outcome.ANSWERED, "", tokens_estimated=False, tokens_reasoning=7)
    (request,) = requests_of(provider, key)
    assert (event.tokens_input, event.tokens_output) == (request["prompt_tokens"], request["completion_tokens"])
    assert event.cost is not None
    assert event.provider_request_id == request["request_id"]
    assert request["client_request_id"] == str(event.call_id)


@pytest.mark.parametrize("kind", ["crlf", "split_bytes"])
async def test_the_text_is_whole_however_the_network_cuts_it(company: Company, provider: Provider, kind: str) -> None:
    key = give_key(company.hr)
    written = "Größe: 5 µm — naïve 日本語 🙂 %s {0}\r\nZwei\u2028drei\x85vier"
    provider.misbehave(key, kind, text=written)
    assert await whole(ask(company)) == written
    assert_ended(company, Outcome.ANSWERED, "", tokens_estimated=False)


async def test_an_answer_ends_at_its_cap_and_says_so(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "long")
    with override_settings(ANSWER_TOKENS=80):
        text, answer = await made(ask(company))
    assert requests_of(provider, key)[0]["body"]["max_completion_tokens"] == 80
    assert count_tokens(text) <= 80
    assert answer.ending is not None
    assert answer.ending.sentence == sentences.LENGTH
    assert_ended(company, Outcome.ANSWERED, "length", tokens_output=80)


async def test_a_provider_that_ignores_the_cap_is_held_to_it(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "long")
    monkeypatch.setattr(run, "chat_body", lambda *a: _without_cap(*a))
    with override_settings(ANSWER_TOKENS=1000):
        text, _ = await made(ask(company))
    assert 1000 < count_tokens(text) < 2500
    assert await disconnected(provider, key)
    assert_ended(company, Outcome.ANSWERED, "length", **NO_USAGE_KNOWN)


def _without_cap(*arguments: Any) -> dict[str, Any]:
    from departments.calls.wire import chat_body

    return {**chat_body(*arguments), "max_completion_tokens": 50_000}


@override_settings(ANSWER_SECONDS=1)
async def test_no_answer_takes_longer_than_allowed(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "long", tokens_per_second=50)  # would be done after 30 s
    text, answer = await made(ask(company))
    assert text
    assert answer.ending is not None
    assert answer.ending.sentence == sentences.TIME_UP
    event = assert_ended(company, Outcome.CUT, "time_up", **NO_USAGE_KNOWN)
    assert 1000 <= event.total_ms < 15_000
    assert await disconnected(provider, key)


# --- the person ------------------------------------------------------------------------------------------------------


async def test_the_person_can_stop_an_answer(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "long", tokens_per_second=100)
    arrived = []
    async with answering(ask(company)) as (answer, text):
        async for flush in text:
            arrived.append(flush)
            await run.stop(answer.call_id)
    assert arrived
    event = assert_ended(company, Outcome.STOPPED, "", **NO_USAGE_KNOWN)
    assert event.tokens_output >= count_tokens("".join(arrived))
    assert await disconnected(provider, key)


async def test_a_stop_does_not_wait_for_a_provider_that_says_nothing(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "silent", headers=False)
    question = ask(company)
    call = asyncio.create_task(made(question))
    await until(lambda: requests_of(provider, key))
    await run.stop(question.call_id)
    text, _ = await asyncio.wait_for(call, timeout=30)
    assert text == ""
    assert_ended(company, Outcome.STOPPED, "", **NO_USAGE_KNOWN)
    assert await disconnected(provider, key)


async def test_a_stop_does_not_wait_for_the_next_attempt(
    company: Company, provider: Provider, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_errors, "LONGEST_WAIT", 60.0)
    key = give_key(company.hr)
    provider.misbehave(key, "overloaded", retry_after=60)
    question = ask(company)
    call = asyncio.create_task(made(question))
    await until(lambda: "attempt 1" in caplog.text)
    await run.stop(question.call_id)
    await asyncio.wait_for(call, timeout=30)
    assert_ended(company, Outcome.STOPPED, "", attempts=1, **NOTHING_USED)


async def test_a_stop_reaches_the_process_that_holds_the_call_at_its_next_renewal(
    company: Company, provider: Provider, quick_renewals: None
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "long", tokens_per_second=100)
    async with answering(ask(company)) as (answer, text):
        async with connection() as held:  # as another process does, which does not have the answer
            await budget.request_stop(held, answer.call_id)
        assert [flush async for flush in text]
    assert_ended(company, Outcome.STOPPED, "", **NO_USAGE_KNOWN)
    assert await disconnected(provider, key)


async def test_a_membership_that_ends_ends_the_answer(
    company: Company, provider: Provider, quick_renewals: None
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "long", tokens_per_second=100)
    async with answering(ask(company)) as (answer, text):
        await anext(text)
        Membership.objects.filter(user=company.bob).delete()
        assert [flush async for flush in text]
    assert answer.ending is not None
    assert answer.ending.sentence == sentences.ACCESS_ENDED
    assert_ended(company, Outcome.CUT, "access_ended", **NO_USAGE_KNOWN)
    assert await disconnected(provider, key)


@pytest.mark.parametrize("ended", ["membership", "person", "department"])
async def test_whoever_is_no_longer_a_member_makes_no_call(company: Company, provider: Provider, ended: str) -> None:
    key = give_key(company.hr)
    question = ask(company)
    match ended:
        case "membership":
            Membership.objects.filter(user=company.bob).delete()
        case "person":
            type(company.bob).objects.filter(pk=company.bob.pk).update(is_active=False)
        case "department":
            type(company.hr).objects.filter(pk=company.hr.pk).update(is_active=False)
    with pytest.raises(CallFailed) as failed:
        await whole(question)
    assert failed.value.sentence == sentences.ACCESS_ENDED
    assert requests_of(provider, key) == []


async def _leaves_the_loop(company: Company) -> None:
    async with answering(ask(company)) as (_, text):
        async for _flush in text:
            break


async def _is_cancelled(company: Company) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async with answering(ask(company)) as (_, text):
            async for _flush in text:
                begun.set()

    reading = asyncio.create_task(read())
    await begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def _closes_its_generator(company: Company) -> None:
    async def stream() -> Any:
        async with answering(ask(company)) as (_, text):
            async for flush in text:
                yield flush

    flushes = stream()
    await anext(flushes)
    await flushes.aclose()


async def _never_reads(company: Company) -> None:
    async with answering(ask(company)):
        await asyncio.sleep(0.05)


async def _breaks(company: Company) -> None:
    async def read() -> None:
        async with answering(ask(company)) as (_, text):
            await anext(text)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await read()


@pytest.mark.parametrize("leave", [_leaves_the_loop, _is_cancelled, _closes_its_generator, _never_reads, _breaks])
async def test_whoever_leaves_early_leaves_a_closed_stream_and_a_settled_call(
    company: Company, provider: Provider, leave: Any
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "long", tokens_per_second=200)
    await leave(company)
    event = assert_ended(company, Outcome.ABANDONED, "browser_gone", **NO_USAGE_KNOWN)
    assert event.tokens_input > 0
    assert await disconnected(provider, key)


@pytest.mark.parametrize("milliseconds", [number / 2 for number in range(30)])
async def test_whoever_leaves_at_any_moment_leaves_the_ledger_and_the_record_whole(
    company: Company, provider: Provider, milliseconds: float
) -> None:
    give_key(company.hr)
    call = asyncio.create_task(made(ask(company)))
    await asyncio.sleep(milliseconds / 1000)
    call.cancel()
    with suppress(asyncio.CancelledError):  # a fast machine has the answer before the last of these moments
        await call
    assert not Reservation.objects.filter(organization_id=company.organization.pk, settled_at=None).exists()
    booked = [event.tokens_input + event.tokens_output for event in events(company)[1:]]
    assert [event.event for event in events(company)] in ([], [Event.CALL_REQUESTED, Event.CALL_ANSWERED])
    assert sum(booked) == spent(company).get("person", 0)


# --- what may not leave ----------------------------------------------------------------------------------------------


async def test_an_answer_with_the_canary_is_withheld_however_it_is_cut(
    company: Company, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    key = give_key(company.hr)
    canary = canary_of(company.hr.pk, company.hr.instructions)
    for cut in range(1, len(canary), 5):
        chunks = ["My rules say: ", canary[:cut], canary[cut:], " and more"]
        provider.misbehave(key, "scripted", times=1, chunks=chunks, tokens_per_second=500)
        text, answer = await made(ask(company))
        assert "My rules say: ".startswith(text)
        assert answer.ending is not None
        assert answer.ending.sentence == sentences.WITHHELD
    answered = events(company)[-1]
    assert (answered.outcome, answered.details["reason"]) == (Outcome.CUT, "output_filter")
    assert answered.labels == ["answer:canary"]
    assert_told(caplog, key, "output_filter")


async def test_an_answer_with_a_key_is_withheld(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    stranger = make_key().reveal()
    chunks = ["The key is ", *(stranger[at : at + 7] for at in range(0, len(stranger), 7)), "."]
    provider.misbehave(key, "scripted", chunks=chunks, tokens_per_second=1000)
    text, _ = await made(ask(company))
    assert "The key is ".startswith(text)
    event = assert_ended(company, Outcome.CUT, "output_filter")
    assert event.labels == ["answer:key"]


async def test_what_a_person_cannot_see_is_taken_out_and_labelled(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "obey")
    await whole(ask(company, question=f"Leave?{hidden}", labels=["document:instruction"]))
    requested = events(company)[0]
    assert requested.labels == ["document:instruction", "question:tags"]
    assert hidden not in str(requests_of(provider, key)[0]["body"])


async def test_the_provider_is_sent_what_the_record_names_and_nothing_that_tells_who_asked(
    company: Company, provider: Provider
) -> None:
    key = give_key(company.hr)
    passages = [PassageData(1, "Leave", "", "Twenty-eight days.")]
    question = ask(company, passages=passages, passage_ids=["v1:0"])
    await whole(question)
    (request,) = requests_of(provider, key)
    body = request["body"]
    assert body["store"] is False
    assert "tools" not in body
    assert len(body["safety_identifier"]) == 64
    for private in (company.bob.email, company.bob.name, str(company.bob.pk), key.reveal()):
        assert private not in str(body)
    assert QUESTION in body["messages"][-1]["content"]
    assert events(company)[0].passages == ["v1:0"]


async def test_no_sentence_repeats_the_provider(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "error", status=400, message="SECRET WORDS OF THE PROVIDER")
    with pytest.raises(CallEndedEarly) as failed:
        await whole(ask(company))
    assert "SECRET" not in str(failed.value)
    assert "SECRET" not in str([event.__dict__ for event in events(company)])
