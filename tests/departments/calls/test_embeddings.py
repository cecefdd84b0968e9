"""Embeddings go through the same door: batches, budgets, the record, and replies of the wrong shape."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import numpy
import orjson
import pytest
from django.test import override_settings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from audit.events import Event, Outcome
from chatgrid.dev.services.ports import pick
from departments.calls import embeddings, sentences
from departments.calls.caller import CallFailed, CallRefused, Purpose
from departments.calls.embeddings import embed
from departments.calls.tokens import count_tokens
from departments.limits.models import Reservation
from tests.company import Company, give_key, set_limit
from tests.departments.calls.calling import (
    ask,
    assert_ended,
    assert_told,
    disconnected,
    events,
    requests_of,
    spent,
    until,
)
from tests.departments.calls.serving import served
from tests.provider import Provider

DIMENSIONS = 8


@pytest.fixture(autouse=True)
def short_vectors() -> Iterator[None]:
    with override_settings(EMBEDDING_DIMENSIONS=DIMENSIONS):
        yield


async def embedded(company: Company, texts: list[str]) -> list[list[float]]:
    question = ask(company)
    return await embed(question.department, question.caller, texts, purpose=Purpose.INGEST)


async def test_each_text_has_its_vector_and_every_book_says_the_same(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    texts = ["leave", "pay", "leave"]
    vectors = await embedded(company, texts)
    assert [len(vector) for vector in vectors] == [DIMENSIONS] * 3
    assert vectors[0] == vectors[2] != vectors[1]
    assert numpy.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    event = assert_ended(company, Outcome.ANSWERED, "", tokens_estimated=False, purpose="ingest", tokens_output=0)
    (request,) = requests_of(provider, key)
    assert event.tokens_input == request["prompt_tokens"] == sum(count_tokens(text, "cl100k") for text in texts)
    assert event.provider_request_id == request["request_id"]
    assert event.cost is not None


async def test_texts_go_in_batches_each_booked_by_itself(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "BATCH_INPUTS", 3)
    monkeypatch.setattr(embeddings, "BATCH_TOKENS", 10)
    key = give_key(company.hr)
    texts = ["one", "two", "three", "four", "word " * 9, "word " * 30, "last"]
    vectors = await embedded(company, texts)
    assert [entry["body"]["input"] for entry in requests_of(provider, key)] == [
        texts[:3],
        texts[3:4],
        texts[4:5],
        texts[5:6],
        texts[6:],
    ]
    assert vectors == [(await embedded(company, [text]))[0] for text in texts]
    assert spent(company)["person"] == sum(entry["prompt_tokens"] for entry in requests_of(provider, key))


async def test_nothing_to_embed_is_no_call(company: Company) -> None:
    assert await embedded(company, []) == []
    assert events(company) == []


async def test_a_budget_stops_an_upload_between_two_batches(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "BATCH_INPUTS", 1)
    key = give_key(company.hr)
    set_limit(company, department=company.hr, tokens_per_day=25)
    with pytest.raises(CallRefused):
        await embedded(company, ["word " * 10] * 3)
    assert len(requests_of(provider, key)) == 2
    assert [event.event for event in events(company)].count(Event.CALL_REFUSED) == 1
    assert spent(company)["department"] <= 25


@pytest.mark.parametrize(
    ("kind", "options", "reason", "requests"),
    [
        ("spend_limit", {}, "project_spend_limit_exceeded", 1),
        ("rate_limited", {"retry_after": 0}, "provider_rate_limited", 2),
        ("unauthorized", {}, "key_refused", 2),
        ("overloaded", {"retry_after": 0}, "provider_503", 3),
        ("error", {"status": 400}, "provider_400", 1),
    ],
)
async def test_a_refusal_costs_nothing(
    company: Company,
    provider: Provider,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    options: dict[str, Any],
    reason: str,
    requests: int,
) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, kind, **options)
    with pytest.raises(CallFailed):
        await embedded(company, ["Zanzibar"])
    assert len(requests_of(provider, key)) == requests
    assert_ended(company, Outcome.FAILED, reason, attempts=requests, tokens_input=0, tokens_estimated=False)
    assert_told(caplog, key, reason)


@override_settings(SILENCE_SECONDS=0.2)
async def test_a_silent_provider_is_booked_with_the_estimate(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "silent")
    with pytest.raises(CallFailed) as failed:
        await embedded(company, ["leave"])
    assert failed.value.sentence == sentences.PROVIDER_SILENT
    assert_ended(company, Outcome.FAILED, "provider_timeout", tokens_input=1, tokens_estimated=True)


async def test_whoever_is_cancelled_leaves_a_settled_call(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "silent")
    call = asyncio.create_task(embedded(company, ["leave"]))
    await until(lambda: requests_of(provider, key))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert_ended(company, Outcome.ABANDONED, "browser_gone", tokens_input=1, tokens_estimated=True)
    assert await disconnected(provider, key)
    assert not Reservation.objects.filter(organization_id=company.organization.pk, settled_at=None).exists()


def row(index: Any = 0, embedding: Any = (1.0,) * DIMENSIONS) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": embedding}


PACKED_WRONG = base64.b64encode(b"\x00" * 7).decode()
NOT_A_NUMBER = base64.b64encode(numpy.full(DIMENSIONS, numpy.nan, dtype="<f4").tobytes()).decode()
USAGE = {"prompt_tokens": 2, "total_tokens": 2}


@pytest.mark.parametrize(
    "reply",
    [
        {"data": [row()], "usage": USAGE},
        {"data": [row(), row()], "usage": USAGE},
        {"data": [row(), row(2)], "usage": USAGE},
        {"data": [row(), row(1), row(2)], "usage": USAGE},
        {"data": [row(), row(1, (1.0,) * (DIMENSIONS - 1))], "usage": USAGE},
        {"data": [row(), row(1, "not base64!")], "usage": USAGE},
        {"data": [row(), row(1, PACKED_WRONG)], "usage": USAGE},
        {"data": [row(), row(1, NOT_A_NUMBER)], "usage": USAGE},
        {"data": [row(), row(1, (1e300,) * DIMENSIONS)], "usage": USAGE},
        {"data": [row(), row(1, ("1",) * DIMENSIONS)], "usage": USAGE},
        {"data": [row(), row(1, None)], "usage": USAGE},
        {"data": [row(), row("1")], "usage": USAGE},
        {"data": [row(), {"embedding": []}], "usage": USAGE},
        {"data": [row(), 5], "usage": USAGE},
        {"data": [], "usage": USAGE},
        {"data": None, "usage": USAGE},
        {"usage": USAGE},
    ],
)
async def test_vectors_of_another_shape_are_refused_and_paid_for(company: Company, reply: dict[str, Any]) -> None:
    with pytest.raises(CallFailed) as failed:
        await _answered_with(company, orjson.dumps(reply))
    assert failed.value.reason == "embedding_shape"
    assert_ended(company, Outcome.FAILED, "embedding_shape", tokens_input=2, tokens_estimated=False)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"<html>Busy</html>", b'{"usage": {"prompt_tokens": "many"}}'])
async def test_a_reply_that_cannot_be_read_is_booked_with_the_estimate(company: Company, content: bytes) -> None:
    with pytest.raises(CallFailed) as failed:
        await _answered_with(company, content)
    assert failed.value.sentence == sentences.PROVIDER_UNCLEAR
    assert_ended(company, Outcome.FAILED, "embedding_shape", tokens_input=2, tokens_estimated=True)


async def test_vectors_of_a_compatible_server_are_put_in_order_and_made_one_long(company: Company) -> None:
    long, short = [3.0] + [0.0] * (DIMENSIONS - 1), [0.0] * DIMENSIONS
    reply = {"data": [row(1, short), row(0, long)], "model": "local", "usage": USAGE}
    vectors = await _answered_with(company, orjson.dumps(reply), kind="compatible")
    assert vectors == [[1.0] + [0.0] * (DIMENSIONS - 1), short]


async def _answered_with(company: Company, content: bytes, kind: str = "openai") -> list[list[float]]:
    async def answer(request: Request) -> Response:
        return Response(content, media_type="application/json")

    give_key(company.hr)
    port = pick()
    there = {"openai": {"kind": kind, "base_url": f"http://127.0.0.1:{port}/v1"}}
    with override_settings(PROVIDERS=there):
        async with served(Starlette(routes=[Route("/v1/embeddings", answer, methods=["POST"])]), port):
            return await embedded(company, ["leave", "pay"])
