"""Chat completions as the real SDK sees them."""

from __future__ import annotations

import asyncio
from typing import Any, get_type_hints
from urllib.parse import urlsplit

import openai as sdk
import pytest
from openai import AsyncOpenAI
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

from chatgrid.dev.openai_simulator import tokens
from chatgrid.dev.openai_simulator.keys import fingerprint
from chatgrid.dev.openai_simulator.server import Simulator
from chatgrid.dev.openai_simulator.validation import CHAT_FIELDS

HELLO: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there"}]


async def ask(openai: AsyncOpenAI, **changes: Any) -> Any:
    return await openai.chat.completions.create(**{"model": "gpt-6-luna", "messages": HELLO, "store": False, **changes})


async def stream(openai: AsyncOpenAI, **changes: Any) -> list[Any]:
    options = {"stream": True, "stream_options": {"include_usage": True}, **changes}
    return [chunk async for chunk in await ask(openai, **options)]


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_it_answers_in_one_body_with_usage(openai: AsyncOpenAI) -> None:
    answer = await ask(openai)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == tokens.count(answer.choices[0].message.content)
    assert answer.usage.prompt_tokens == tokens.count("Be brief.") + tokens.count("Hello there") + 3 * 2 + 3
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id.startswith("req_")


async def test_it_streams_the_same_answer_as_it_gives_in_one_body(openai: AsyncOpenAI) -> None:
    whole = await ask(openai)
    chunks = await stream(openai)
    assert text_of(chunks) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


async def test_it_streams_the_chunks_of_openai(openai: AsyncOpenAI) -> None:
    chunks = await stream(openai)
    first, last_choice, usage = chunks[0], chunks[-2], chunks[-1]
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert last_choice.choices[0].finish_reason == "stop"
    assert last_choice.choices[0].delta.content is None
    assert usage.choices == []
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert {chunk.id for chunk in chunks} == {first.id}
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}


async def test_it_sends_usage_in_a_stream_only_when_asked(openai: AsyncOpenAI) -> None:
    assert (await stream(openai))[-1].usage is not None
    without = await stream(openai, stream_options=None)
    assert all(chunk.choices for chunk in without)
    assert all(chunk.usage is None for chunk in without)


async def test_it_sends_the_headers_of_openai(openai: AsyncOpenAI) -> None:
    raw = await openai.chat.completions.with_raw_response.create(model="gpt-6-luna", messages=HELLO)
    for name in ("x-request-id", "openai-processing-ms", "openai-version", "openai-organization"):
        assert raw.headers[name]
    for subject in ("requests", "tokens"):
        assert int(raw.headers[f"x-ratelimit-remaining-{subject}"]) < int(raw.headers[f"x-ratelimit-limit-{subject}"])
        assert raw.headers[f"x-ratelimit-reset-{subject}"].endswith("s")


@pytest.mark.parametrize("cap", [1, 2, 7])
async def test_it_writes_exactly_as_many_tokens_as_it_may(openai: AsyncOpenAI, cap: int) -> None:
    chunks = await stream(openai, max_completion_tokens=cap)
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == cap
    assert tokens.count(text_of(chunks)) == cap
    assert all(chunk.choices[0].delta.content for chunk in chunks[1:-2])


async def test_it_never_cuts_a_character_in_half_and_still_charges_the_cap(
    openai: AsyncOpenAI, simulator: Simulator
) -> None:
    simulator.behave("scripted", text="🧑🏽‍🚀🧑🏽‍🚀🧑🏽‍🚀")
    for cap in range(1, 12):
        chunks = await stream(openai, max_completion_tokens=cap)
        assert "\ufffd" not in text_of(chunks)
        assert chunks[-1].usage.completion_tokens == cap


async def test_hidden_reasoning_is_charged_and_can_eat_the_whole_cap(openai: AsyncOpenAI) -> None:
    answer = await ask(openai, reasoning_effort="medium")
    reasoning = answer.usage.completion_tokens_details.reasoning_tokens
    assert answer.usage.completion_tokens == reasoning + tokens.count(answer.choices[0].message.content)
    starved = await ask(openai, reasoning_effort="medium", max_completion_tokens=20)
    assert (starved.choices[0].message.content, starved.choices[0].finish_reason) == ("", "length")
    assert starved.usage.completion_tokens == 20


async def test_a_long_prompt_seen_before_is_reported_as_cached(openai: AsyncOpenAI) -> None:
    long = [{"role": "system", "content": "Answer from the documents. " * 400}, {"role": "user", "content": "Hello"}]
    first, second = await ask(openai, messages=long), await ask(openai, messages=long)
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert second.usage.prompt_tokens_details.cached_tokens == 1024


REFUSED: list[tuple[dict[str, Any], int, str | None, str | None]] = [
    ({"model": "gpt-nonesuch"}, 404, "model_not_found", None),
    ({"model": "text-embedding-3-small"}, 404, None, "model"),
    ({"max_tokens": 5}, 400, "unsupported_parameter", "max_tokens"),
    ({"temperature": 0.2}, 400, "unsupported_parameter", "temperature"),
    ({"top_p": 0.2}, 400, "unsupported_parameter", "top_p"),
    ({"stop": ["x"]}, 400, "unsupported_parameter", "stop"),
    ({"extra_body": {"top_k": 4}}, 400, "unknown_parameter", "top_k"),
    ({"messages": []}, 400, "empty_array", "messages"),
    ({"messages": [{"role": "robot", "content": "x"}]}, 400, "invalid_value", "messages[0].role"),
    ({"messages": [{"role": "user", "content": 5}]}, 400, "invalid_type", "messages[0].content"),
    ({"max_completion_tokens": 0}, 400, "integer_below_min_value", "max_completion_tokens"),
    ({"max_completion_tokens": 128_001}, 400, "invalid_value", "max_completion_tokens"),
    ({"model": "gpt-6.2-sol", "reasoning_effort": "none"}, 400, "unsupported_value", "reasoning_effort"),
    ({"stream_options": {"include_usage": True}}, 400, None, "stream_options"),
    ({"safety_identifier": "a" * 65}, 400, "string_above_max_length", "safety_identifier"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, None, "tools"),
    ({"n": 2}, 400, "unsupported_value", "n"),
    ({"messages": [{"role": "user", "content": "word " * 5_000_000}]}, 400, "context_length_exceeded", "messages"),
]


@pytest.mark.parametrize(("changes", "status", "code", "param"), REFUSED, ids=lambda value: str(value)[:40])
async def test_it_refuses_what_openai_refuses(
    openai: AsyncOpenAI, simulator: Simulator, changes: dict[str, Any], status: int, code: str | None, param: str | None
) -> None:
    await ask(openai)
    charged = simulator.journal()["totals"]["total_tokens"]
    with pytest.raises(sdk.APIStatusError) as refused:
        await ask(openai, **changes)
    error = refused.value
    assert (error.status_code, error.code, error.param) == (status, code, param)
    assert error.type == "invalid_request_error"
    assert simulator.journal()["totals"]["total_tokens"] == charged


async def test_it_takes_sampling_without_reasoning_and_max_tokens_on_the_old_model(openai: AsyncOpenAI) -> None:
    assert (await ask(openai, temperature=0.2, reasoning_effort="none")).usage
    old = await ask(openai, model="gpt-4.1-mini", temperature=0.2, max_tokens=3)
    assert old.usage.completion_tokens == 3


async def test_it_knows_every_field_the_sdk_can_send() -> None:
    assert set(get_type_hints(CompletionCreateParamsStreaming)) == CHAT_FIELDS


async def test_it_lists_models_with_their_end(openai: AsyncOpenAI) -> None:
    models = {model.id: model async for model in openai.models.list()}
    assert {"gpt-6-luna", "gpt-6.1-terra", "gpt-6.2-sol", "text-embedding-3-small"} <= set(models)
    assert models["gpt-4.1-mini"].shutdown_date == "2027-01-14"
    assert (await openai.models.retrieve("gpt-6-luna")).owned_by
    with pytest.raises(sdk.NotFoundError):
        await openai.models.retrieve("gpt-nonesuch")


async def test_closing_a_stream_stops_the_charging(openai: AsyncOpenAI, simulator: Simulator, key: str) -> None:
    simulator.behave("long", tokens_per_second=200)
    async with await ask(openai, stream=True) as chunks:
        async for chunk in chunks:
            if chunk.choices[0].delta.content:
                break
    request = await closed_request(simulator)
    assert request["disconnected"] is True
    assert 0 < request["completion_tokens"] < 100
    sums = simulator.journal()["keys"][fingerprint(key)]
    assert (sums["disconnected"], sums["completion_tokens"]) == (1, request["completion_tokens"])


async def closed_request(simulator: Simulator) -> dict[str, Any]:
    for _ in range(1000):
        journal = simulator.journal(last=1)
        if journal["open"] == 0:
            return dict(journal["requests"][0])
        await asyncio.sleep(0.02)
    raise AssertionError("the request is still open long after its client left")


async def test_it_keeps_the_ordered_pace(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("scripted", chunks=["one"] * 20, first_token_ms=100, tokens_per_second=100)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await stream(openai)
    assert 0.28 < loop.time() - begun < 15


async def test_who_leaves_before_the_body_is_there_is_in_the_books_too(simulator: Simulator, key: str) -> None:
    address = urlsplit(simulator.base_url)
    head = f"POST {address.path}/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"{head}Content-Length: 90\r\n\r\n".encode())
    await writer.drain()
    while not simulator.journal()["requests"]:
        await asyncio.sleep(0.01)
    writer.close()
    await writer.wait_closed()
    assert (await closed_request(simulator))["disconnected"] is True
