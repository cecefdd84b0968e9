"""Every order the simulator takes, seen through the SDK."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import openai as sdk
import pytest
from openai import AsyncOpenAI

from chatgrid.dev.openai_simulator.server import Simulator

HELLO: list[Any] = [{"role": "user", "content": "Grüße — is the canteen open on Straßenfest day? 🎉"}]


async def ask(openai: AsyncOpenAI, **changes: Any) -> Any:
    return await openai.chat.completions.create(**{"model": "gpt-6-luna", "messages": HELLO, **changes})


async def stream(openai: AsyncOpenAI, **changes: Any) -> list[Any]:
    options = {"stream": True, "stream_options": {"include_usage": True}, **changes}
    return [chunk async for chunk in await ask(openai, **options)]


async def collect(openai: AsyncOpenAI, received: list[Any]) -> None:
    """Read a stream into `received`, which keeps what came before the stream broke."""
    async for chunk in await ask(openai, stream=True):
        received += [chunk]


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


ERRORS: list[tuple[str, type[sdk.APIStatusError], str, str]] = [
    ("rate_limited", sdk.RateLimitError, "rate_limit_exceeded", "tokens"),
    ("spend_limit", sdk.RateLimitError, "project_spend_limit_exceeded", "insufficient_quota"),
    ("unauthorized", sdk.AuthenticationError, "invalid_api_key", "invalid_request_error"),
    ("forbidden", sdk.PermissionDeniedError, "missing_scope", "invalid_request_error"),
    ("server_error", sdk.InternalServerError, "server_error", "server_error"),
    ("overloaded", sdk.InternalServerError, "server_is_overloaded", "service_unavailable_error"),
]


@pytest.mark.parametrize(("kind", "error", "code", "type_"), ERRORS)
async def test_it_refuses_once_as_ordered_and_then_answers(
    openai: AsyncOpenAI, simulator: Simulator, kind: str, error: type[sdk.APIStatusError], code: str, type_: str
) -> None:
    simulator.behave(kind, times=1)
    with pytest.raises(error) as refused:
        await stream(openai)
    assert (refused.value.code, refused.value.type) == (code, type_)
    assert refused.value.request_id
    assert text_of(await stream(openai))


async def test_a_rate_limit_says_when_to_come_back_only_if_ordered(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("rate_limited", times=1, retry_after=7)
    simulator.behave("rate_limited", times=1)
    with pytest.raises(sdk.RateLimitError) as told:
        await ask(openai)
    with pytest.raises(sdk.RateLimitError) as untold:
        await ask(openai)
    assert told.value.response.headers["retry-after"] == "7"
    assert "retry-after" not in untold.value.response.headers


async def test_any_other_error_can_be_ordered(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("error", status=429, code="429", type="throttling_error", message="a proxy's own words")
    with pytest.raises(sdk.RateLimitError, match="a proxy's own words") as refused:
        await ask(openai)
    assert (refused.value.code, refused.value.type) == ("429", "throttling_error")


async def test_an_order_for_one_key_leaves_the_others_alone(
    openai: AsyncOpenAI, simulator: Simulator, key: str
) -> None:
    other = openai.with_options(api_key=key + "x")
    simulator.behave("server_error", key=key)
    for _ in range(2):
        with pytest.raises(sdk.InternalServerError):
            await ask(openai)
    assert await ask(other)
    simulator.behave_well(key)
    assert await ask(openai)


async def test_an_order_for_one_route_leaves_the_others_alone(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("server_error", endpoint="embeddings")
    assert await ask(openai)
    assert await openai.models.retrieve("gpt-6-luna")
    with pytest.raises(sdk.InternalServerError):
        await openai.embeddings.create(model="text-embedding-3-small", input="x")


async def test_counted_orders_come_before_the_standing_one(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("scripted", text="standing")
    simulator.behave("scripted", times=2, text="counted")
    said = [(await ask(openai)).choices[0].message.content for _ in range(3)]
    assert said == ["counted", "counted", "standing"]


@pytest.mark.parametrize(
    "order", [{"kind": "nonsense"}, {"kind": "cut", "after": 3}, {"kind": "echo", "endpoint": "x"}], ids=str
)
async def test_it_refuses_orders_it_does_not_understand(simulator: Simulator, order: dict[str, Any]) -> None:
    simulator.behave("cut", after_chunks=3)
    with pytest.raises(ValueError, match="refused the order"):
        simulator.behave(**order)


async def test_slow_waits_before_the_headers_and_between_chunks(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("slow", first_byte_ms=150, between_ms=20, chunks=["a"] * 10)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    chunks = await ask(openai, stream=True)
    headers_at = loop.time() - begun
    assert text_of([chunk async for chunk in chunks]) == "a" * 10
    assert headers_at >= 0.15
    assert loop.time() - begun >= 0.15 + 0.2


async def test_silent_sends_headers_and_then_nothing(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("silent")
    quick = openai.with_options(timeout=httpx2.Timeout(5, read=1))
    chunks = await ask(quick, stream=True)
    with pytest.raises(sdk.APITimeoutError):
        await anext(aiter(chunks))
    await chunks.close()


async def test_silent_can_keep_the_headers_too_and_notices_that_the_client_left(
    openai: AsyncOpenAI, simulator: Simulator
) -> None:
    simulator.behave("silent", headers=False)
    with pytest.raises(sdk.APITimeoutError):
        await ask(openai.with_options(timeout=httpx2.Timeout(2, read=0.2)), stream=True)
    for _ in range(1000):
        journal = simulator.journal(last=1)
        if not journal["open"]:
            break
        await asyncio.sleep(0.02)
    assert journal["requests"][0]["disconnected"] is True


async def test_cut_closes_the_connection_after_some_chunks(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("cut", times=1, after_chunks=3, chunks=["a", "b", "c", "d"])
    received: list[Any] = []
    with pytest.raises(sdk.APIConnectionError):
        await collect(openai, received)
    assert text_of(received) == "ab"
    assert simulator.journal(last=1)["requests"][0]["completion_tokens"] == 2
    assert text_of(await stream(openai))


async def test_cut_breaks_off_a_whole_answer_too(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("cut", times=1)
    with pytest.raises(sdk.APIConnectionError):
        await ask(openai)
    assert await ask(openai)


async def test_malformed_puts_a_broken_line_into_the_stream(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("malformed", after_chunks=2, chunks=["a", "b", "c"])
    received: list[Any] = []
    with pytest.raises(json.JSONDecodeError):
        await collect(openai, received)
    assert text_of(received) == "a"


async def test_an_error_event_ends_the_stream(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("error_event", after_chunks=2, chunks=["a", "b"], code="server_error", message="it broke")
    received: list[Any] = []
    with pytest.raises(sdk.APIError, match="it broke") as broken:
        await collect(openai, received)
    assert not isinstance(broken.value, sdk.APIStatusError)
    assert broken.value.code == "server_error"
    assert text_of(received) == "a"


async def test_an_order_for_streams_waits_for_a_stream(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("error_event", times=1)
    assert await ask(openai)
    with pytest.raises(sdk.APIError):
        await stream(openai)


async def test_no_usage_never_reports_what_it_charged(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("no_usage")
    chunks = await stream(openai)
    assert text_of(chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert (await ask(openai)).usage is None
    assert simulator.journal()["totals"]["completion_tokens"] > 0


async def test_odd_usage_arrives_beside_an_empty_choice(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("odd_usage")
    last = (await stream(openai))[-1]
    assert last.usage.total_tokens > 0
    assert len(last.choices) == 1
    assert last.choices[0].delta.content is None


@pytest.mark.parametrize("kind", ["crlf", "split_bytes"])
async def test_other_line_ends_and_cuts_change_nothing_for_a_careful_client(
    openai: AsyncOpenAI, simulator: Simulator, kind: str
) -> None:
    text = "Zwölf Boxkämpfer 🥊 jagen Viktor quer über den Sylter Deich.\n\ndata: [DONE]\r\n"
    simulator.behave(kind, text=text)
    assert text_of(await stream(openai)) == text


async def test_split_bytes_cuts_inside_a_character(openai: AsyncOpenAI, simulator: Simulator, key: str) -> None:
    simulator.behave("split_bytes", text="ü🥊" * 20, sizes=[1])
    pieces = await raw_pieces(simulator, key)
    assert any(not is_text(piece) for piece in pieces)
    assert "ü🥊"[0] in b"".join(pieces).decode()


async def test_crlf_really_sends_crlf(openai: AsyncOpenAI, simulator: Simulator, key: str) -> None:
    simulator.behave("crlf")
    raw = b"".join(await raw_pieces(simulator, key))
    assert raw.endswith(b"data: [DONE]\r\n\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n")


async def raw_pieces(simulator: Simulator, key: str) -> list[bytes]:
    body = {"model": "gpt-6-luna", "messages": HELLO, "stream": True}
    headers = {"authorization": f"Bearer {key}"}
    url = f"{simulator.base_url}/chat/completions"
    async with (
        httpx2.AsyncClient(trust_env=False) as http,
        http.stream("POST", url, json=body, headers=headers) as response,
    ):
        return [piece async for piece in response.aiter_raw()]


def is_text(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


async def test_echo_answers_with_the_whole_prompt(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("echo")
    assert json.loads(text_of(await stream(openai))) == HELLO


async def test_a_script_is_said_in_the_given_chunks(openai: AsyncOpenAI, simulator: Simulator) -> None:
    script = ["Sh", "ort ", "", "chunks", "\n\n**and** a long one, all at once"]
    simulator.behave("scripted", chunks=script)
    chunks = await stream(openai)
    assert [chunk.choices[0].delta.content for chunk in chunks[1:-2]] == script


async def test_long_goes_on_to_the_cap(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("long")
    chunks = await stream(openai, max_completion_tokens=3_000)
    assert chunks[-1].usage.completion_tokens == 3_000
    assert chunks[-2].choices[0].finish_reason == "length"
