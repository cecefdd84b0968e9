"""The one door to the provider. Nothing else in ChatGrid calls a model.

The life of a call, each step a function:
access -> guard_in -> key -> fit -> reserve and record the request -> send -> stream (guard out) -> settle and record.

Rules:
- Nothing is sent before the request event is committed, in the same transaction as the reservation.
- Whatever happens after that, the call is settled and its response event written; a process that dies is settled by
  `departments.calls.tasks`.
- Retries are ours: before the first byte only (departments/calls/attempts.py).
- An embedding goes the same way (departments/calls/embeddings.py), told apart by its purpose.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import httpx2
from django.conf import settings
from openai import AsyncOpenAI

from audit.database import connection
from audit.events import Outcome
from departments.access import astanding
from departments.calls import key, sentences
from departments.calls.answer import Answer
from departments.calls.attempts import request_options, with_retries
from departments.calls.booking import (
    Booking,
    Result,
    admit,
    finished,
    needs_the_record,
    record_not_made,
    settle_and_record,
)
from departments.calls.caller import Caller, CallFailed, Purpose
from departments.calls.catalogue import corrected, model_named
from departments.calls.events import NOT_USED, Usage
from departments.calls.guard_in import guard_in
from departments.calls.hold import ABANDONED, CallOver, Ending, Hold, kept_alive
from departments.calls.models import CatalogueModel
from departments.calls.query_policy import KeptQuery, keep
from departments.calls.tokens import count_tokens
from departments.calls.wire import chat_body, open_chat
from departments.keys.client import Provider
from departments.keys.patterns import contains_key
from departments.keys.reader import ProviderKey
from departments.keys.vaults import VaultError
from departments.limits import budget
from departments.models import Department
from departments.prompts.assemble import PassageData as PassageData  # part of a question, for whoever asks one
from departments.prompts.assemble import Prompt, assemble
from departments.prompts.assemble import Turn as Turn
from departments.prompts.guard import OutputFilter, canary_of
from departments.prompts.scope import rules_text

MESSAGE_TOKENS = 4  # what a message costs beside its text: its frame and its role; also the answer's beginning
GUESSED_ENCODING = 1.15  # a compatible server has its own tokenizer; ours is an estimate for it

logger = logging.getLogger(__name__)
_running: dict[UUID, Answer] = {}


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A question with everything it may be answered from.

    `passage_ids` name the passages for the record; `labels` say what a scan has seen in question and passages.
    `in_doubt` tells the model that the search has no confidence in the passages.
    """

    department: Department
    caller: Caller
    question: str
    history: Sequence[Turn] = ()
    passages: Sequence[PassageData] = ()
    passage_ids: Sequence[str] = ()
    in_doubt: bool = False
    labels: Sequence[str] = ()
    call_id: UUID = field(default_factory=uuid4)
    confirmed: bool = False  # the person was warned of a secret in the question and sends it all the same
    purpose: Purpose = Purpose.CHAT
    most_tokens: int | None = None  # of the answer, where less is wanted than the settings allow


@asynccontextmanager
async def answering(ask: Ask) -> AsyncIterator[tuple[Answer, AsyncIterator[str]]]:
    """Make the call; gives the answer and its text. Raises CallRefused or CallFailed where there is none.

    Leaving the block early, by an exception or a cancelled task, ends the provider's stream and settles the call.
    """
    await access(ask)
    guarded = await guard_in(ask.department, ask.caller, ask.question, ask.passages, confirmed=ask.confirmed)
    ask = replace(ask, question=guarded.question, labels=(*ask.labels, *guarded.labels))
    provider, its_key = await key.read(ask.department, ask.caller, ask.purpose)
    model = await _model_of(ask)
    prompt, booking = await fit(ask, model, provider, its_key)
    granted = await admit(booking)
    answer = Answer(Hold(booking), granted.answer_cap, _output_filter(ask.department), guarded)
    response: httpx2.Response | None = None
    _running[answer.call_id] = answer
    try:
        async with AsyncExitStack() as open_stream:
            await open_stream.enter_async_context(kept_alive(answer.hold, answer.written))
            response = await send(answer, provider, ask, prompt, open_stream)
            text = _nothing() if response is None else answer.text(response.aiter_bytes())
            yield answer, await open_stream.enter_async_context(aclosing(text))
    finally:
        _running.pop(answer.call_id, None)
        await finished(settle(answer, model, response))


async def access(ask: Ask) -> None:
    """The department is open, goes on, and the person still belongs to it, whatever the page believed."""
    async with needs_the_record():
        standing = await astanding(ask.caller.person_id, ask.department.pk)
    if not standing.is_member:
        raise CallFailed(sentences.ACCESS_ENDED, reason="access_ended")
    if standing.pause_reason is not None:
        await record_not_made(ask.department, ask.caller, ask.purpose, "paused")
        raise CallFailed(sentences.paused(standing.pause_reason), reason="paused")


async def keep_query(ask: Ask) -> KeptQuery:
    """What of the question the record will hold. Raises CallFailed where the department's policy cannot be followed."""
    try:
        return await keep(ask.department, ask.question)
    except VaultError as error:
        logger.error("question of department %s cannot be hashed: %s", ask.department.pk, error)
    await record_not_made(ask.department, ask.caller, ask.purpose, "pepper_unavailable")
    raise CallFailed(sentences.VAULT_DOWN, reason="pepper_unavailable")


async def fit(ask: Ask, model: CatalogueModel, provider: Provider, its_key: ProviderKey) -> tuple[Prompt, Booking]:
    """The prompt, with as much history as the model takes, and what the call may cost at most."""
    most = ask.most_tokens or settings.ANSWER_TOKENS
    wanted = min(most, model.output_tokens or most)
    history = list(ask.history)
    prompt, estimate = _assembled(ask, history, provider)
    while history and estimate + wanted > model.context_tokens:
        del history[: max(1, len(history) // 4)]
        prompt, estimate = _assembled(ask, history, provider)
    if estimate + wanted > model.context_tokens:
        await record_not_made(ask.department, ask.caller, ask.purpose, "too_long")
        raise CallFailed(sentences.TOO_LONG, reason="too_long")
    kept = await keep_query(ask)
    at_most = await corrected(ask.department.model, estimate)
    price_input, price_output = model.dearest(at_most)
    booking = Booking(
        department=ask.department,
        caller=ask.caller,
        purpose=ask.purpose,
        model=ask.department.model,
        key=its_key,
        prompt=at_most,
        counted=estimate,
        wanted=wanted,
        smallest=model.smallest_answer,
        price_input=price_input,
        price_output=price_output,
        call_id=ask.call_id,
        text=kept.text,
        query_hash=kept.digest,
        passages=tuple(ask.passage_ids),
        labels=tuple(ask.labels),
    )
    return prompt, booking


def prompt_tokens(messages: Sequence[dict[str, str]], provider: Provider) -> int:
    """The most that messages will be counted as by the provider."""
    counted = sum(count_tokens(message["content"]) + MESSAGE_TOKENS for message in messages) + MESSAGE_TOKENS
    return round(counted * GUESSED_ENCODING) if provider.kind == "compatible" else counted


async def send(
    answer: Answer, provider: Provider, ask: Ask, prompt: Prompt, open_stream: AsyncExitStack
) -> httpx2.Response | None:
    """The provider's open stream; None where the call ended before there was one. Raises CallFailed.

    Where the provider finds the prompt too long in spite of our count, the history is halved, then left out.
    """
    shorter = _shortened(ask, prompt)
    while True:
        try:
            return await _request(answer, provider, prompt, open_stream)
        except CallOver:
            return None
        except CallFailed as failure:
            following = next(shorter, None) if failure.reason == "context_length_exceeded" else None
            if following is None:
                answer.hold.end(Ending(Outcome.FAILED, failure.sentence, failure.reason))
                raise
            prompt = following


async def settle(answer: Answer, model: CatalogueModel, response: httpx2.Response | None) -> None:
    """Book what the call has used, reported or estimated, and write its response event."""
    hold = answer.hold
    hold.end(ABANDONED)  # which holds where nothing ended it before
    ending = hold.ending or ABANDONED
    if ending.outcome is Outcome.CUT:
        logger.warning("call %s was cut short: %s", hold.call_id, ending.reason)
    usage = answer.usage or _estimate(answer)
    result = Result(
        outcome=ending.outcome,
        usage=usage,
        estimated=answer.usage is None and usage != NOT_USED,
        cost=model.cost(usage.prompt, usage.cached, usage.output, usage.written),
        model=answer.model,
        reason=ending.reason,
        attempts=hold.attempts,
        provider_request_id="" if response is None else response.headers.get("x-request-id", "")[:200],
        first_token_ms=answer.first_token_ms,
        total_ms=hold.milliseconds,
        labels=(f"answer:{ending.label}",) if ending.label else (),
    )
    answer.meter = await settle_and_record(hold.booking, result)


async def stop(call_id: UUID) -> None:
    """End a running answer, in this process at once and in another one at its next renewal. Raises DatabaseDown."""
    if call_id in _running:
        _running[call_id].stop()
        return
    async with connection() as held:
        await budget.request_stop(held, call_id)


def running() -> int:
    """How many answers this process is writing."""
    return len(_running)


def rules_of(department: Department) -> str:
    """What the department's admin has written for the assistant, as it stands in the system message."""
    return rules_text(department.instructions, department.off_limits)


def canary(department: Department) -> str:
    """The token that stands in the department's system message and must never come out again."""
    return canary_of(department.pk, rules_of(department))


def _output_filter(department: Department) -> OutputFilter:
    """Rules that everybody may read may also be said."""
    hidden = "" if department.rules_public else rules_of(department)
    return OutputFilter(canary(department), contains_key, hidden)


async def _model_of(ask: Ask) -> CatalogueModel:
    async with needs_the_record():
        return await model_named(ask.department.model)


def _assembled(ask: Ask, history: Sequence[Turn], provider: Provider) -> tuple[Prompt, int]:
    prompt = prompt_of(ask, history)
    return prompt, prompt_tokens(prompt.messages, provider)


def prompt_of(ask: Ask, history: Sequence[Turn]) -> Prompt:
    """The messages of a question as they would be sent with this much of its history."""
    return assemble(
        instructions=rules_of(ask.department),
        canary=canary(ask.department),
        passages=ask.passages,
        history=history,
        question=ask.question,
        in_doubt=ask.in_doubt,
    )


def _shortened(ask: Ask, prompt: Prompt) -> Iterator[Prompt]:
    """The same question with half of the history that was sent, then with none of it."""
    kept = list(ask.history)[len(ask.history) - prompt.turns :]
    if len(kept) > 1:
        yield prompt_of(ask, kept[len(kept) // 2 :])
    if kept:
        yield prompt_of(ask, ())


async def _request(answer: Answer, provider: Provider, prompt: Prompt, open_stream: AsyncExitStack) -> httpx2.Response:
    booking = answer.booking
    body = chat_body(provider, booking.department, booking.caller, prompt.messages, answer.cap)

    async def attempt(client: AsyncOpenAI) -> httpx2.Response:
        response = await open_chat(client, body, request_options(answer.hold))
        open_stream.push_async_callback(response.aclose)
        return response

    return await with_retries(answer.hold, provider, attempt)


async def _nothing() -> AsyncGenerator[str, None]:
    """The text of an answer that ended before it began."""
    for text in tuple[str, ...]():
        yield text


def _estimate(answer: Answer) -> Usage:
    """What a call without reported usage is booked with: its prompt and what arrived, or nothing if none was taken."""
    return Usage(answer.booking.prompt, answer.written()) if answer.hold.taken else NOT_USED
