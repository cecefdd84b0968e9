"""Which keys are let in, what the books say afterwards, and who may give orders."""

from __future__ import annotations

import asyncio
import json

import httpx2
import openai as sdk
import pytest
from openai import AsyncOpenAI
from starlette.testclient import TestClient

from chatgrid.dev.openai_simulator.app import make_app
from chatgrid.dev.openai_simulator.keys import fingerprint
from chatgrid.dev.openai_simulator.options import KeyPolicy, Options
from chatgrid.dev.openai_simulator.server import Simulator, running


async def models(openai: AsyncOpenAI, key: str) -> int:
    return len([model async for model in openai.with_options(api_key=key).models.list()])


async def assert_refused(openai: AsyncOpenAI, key: str) -> None:
    with pytest.raises(sdk.AuthenticationError) as refused:
        await models(openai, key)
    assert refused.value.code == "invalid_api_key"
    assert key not in str(refused.value)


async def test_any_well_formed_key_enters_until_one_is_registered(
    openai: AsyncOpenAI, simulator: Simulator, key: str
) -> None:
    other = key + "x"
    assert await models(openai, other)
    simulator.register(key, project="proj_hr", department="hr")
    assert await models(openai, key)
    await assert_refused(openai, other)


async def test_it_refuses_what_is_no_key(openai: AsyncOpenAI, key: str) -> None:
    assert await models(openai, key)
    await assert_refused(openai, "not-a-key-at-all-by-any-means")
    with pytest.raises(sdk.PermissionDeniedError):
        await models(openai, "sk-" + "admin-" + "a" * 40)


async def test_a_missing_key_is_a_401_of_its_own(simulator: Simulator) -> None:
    answer = simulator.http.get(f"{simulator.base_url}/models")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] is None


async def test_a_revoked_key_is_refused_and_can_be_registered_again(
    openai: AsyncOpenAI, simulator: Simulator, key: str
) -> None:
    assert await models(openai, key)
    simulator.revoke(key)
    await assert_refused(openai, key)
    simulator.register(key)
    assert await models(openai, key)


async def test_a_revoked_key_may_live_on_for_a_while(openai: AsyncOpenAI, simulator: Simulator, key: str) -> None:
    simulator.revoke(key, after_seconds=0.3)
    assert await models(openai, key)
    await asyncio.sleep(0.35)
    await assert_refused(openai, key)


@pytest.mark.parametrize(("policy", "enters"), [(KeyPolicy.ANY, True), (KeyPolicy.REGISTERED, False)])
def test_the_policy_decides_about_unregistered_keys(key: str, policy: KeyPolicy, enters: bool) -> None:
    with running(Options(keys=policy)) as simulator:
        simulator.register(key)
        for value, expected in ((key, 200), (key + "x", 200 if enters else 401)):
            headers = {"authorization": f"Bearer {value}"}
            assert simulator.http.get(f"{simulator.base_url}/models", headers=headers).status_code == expected


async def test_the_books_agree_with_the_usage_that_was_reported(
    openai: AsyncOpenAI, simulator: Simulator, key: str
) -> None:
    reported = 0
    for question in ("one", "two", "three"):
        answer = await openai.chat.completions.create(
            model="gpt-6-luna", messages=[{"role": "user", "content": question}]
        )
        assert answer.usage is not None
        reported += answer.usage.total_tokens
    vectors = await openai.embeddings.create(model="text-embedding-3-small", input=["some text", "more"])
    journal = simulator.journal()
    sums = journal["keys"][fingerprint(key)]
    assert sums["requests"] == 4
    assert sums["total_tokens"] == reported + vectors.usage.total_tokens
    assert sums == journal["totals"]
    by_model = {row["model"]: row["total_tokens"] for row in journal["models"]}
    assert by_model == {"gpt-6-luna": reported, "text-embedding-3-small": vectors.usage.total_tokens}


async def test_the_books_keep_the_request_but_never_the_key(
    openai: AsyncOpenAI, simulator: Simulator, key: str
) -> None:
    await openai.chat.completions.create(
        model="gpt-6-luna",
        messages=[{"role": "user", "content": "a question"}],
        extra_headers={"X-Client-Request-Id": "audit-17", "api-key": key},
    )
    simulator.register(key)
    simulator.behave("unauthorized", key=key, times=1)
    with pytest.raises(sdk.AuthenticationError):
        await models(openai, key)
    journal = simulator.journal(key=fingerprint(key))
    request, refused = journal["requests"]
    assert request["client_request_id"] == "audit-17"
    assert request["body"]["messages"][0]["content"] == "a question"
    assert request["headers"]["authorization"] == f"fingerprint {fingerprint(key)}"
    assert (refused["status"], refused["code"], refused["behaviour"]) == (401, "invalid_api_key", "unauthorized")
    assert key not in json.dumps(journal)


async def test_refused_requests_are_counted_and_not_charged(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("overloaded")
    with pytest.raises(sdk.InternalServerError):
        await openai.chat.completions.create(model="gpt-6-luna", messages=[{"role": "user", "content": "x"}])
    totals = simulator.journal()["totals"]
    assert (totals["requests"], totals["refused"], totals["total_tokens"]) == (1, 1, 0)


@pytest.mark.parametrize(("client", "status"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 403), ("nobody", 403)])
def test_only_this_machine_gives_orders(client: str, status: int) -> None:
    http = TestClient(make_app(), client=(client, 5000))
    for path in ("health", "journal", "keys", "behaviour"):
        assert http.get(f"/__simulator/{path}").status_code == status
    assert http.post("/__simulator/behaviour", json={"kind": "echo"}).status_code == status


def test_a_web_page_gives_no_orders(simulator: Simulator) -> None:
    url = f"{simulator.address}/__simulator/reset"
    assert simulator.http.post(url).status_code == 200
    assert simulator.http.post(url, headers={"origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/embeddings", 405)])
def test_an_unknown_route_is_an_error_in_openai_form(simulator: Simulator, method: str, path: str, status: int) -> None:
    answer = simulator.http.request(method, simulator.address + path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_body_that_is_no_json_is_refused(simulator: Simulator, key: str) -> None:
    headers = {"authorization": f"Bearer {key}"}
    for content in (b"{", b"[]", b'{"model": "\\ud800"}'):
        answer = simulator.http.post(f"{simulator.base_url}/chat/completions", content=content, headers=headers)
        assert answer.status_code == 400


async def test_fifty_streams_at_once_are_all_whole_and_all_charged(openai: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.behave("long", tokens_per_second=400)

    async def one() -> int:
        usage = 0
        chunks = await openai.chat.completions.create(
            model="gpt-6-luna",
            messages=[{"role": "user", "content": "x"}],
            max_completion_tokens=40,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in chunks:
            usage = chunk.usage.total_tokens if chunk.usage else usage
        return usage

    reported = await asyncio.gather(*(one() for _ in range(50)))
    assert min(reported) > 40
    assert simulator.journal()["totals"]["total_tokens"] == sum(reported)


def test_a_test_can_stop_it_while_a_stream_is_open(key: str) -> None:
    with running() as simulator:
        simulator.behave("silent")
        http = httpx2.Client(trust_env=False)
        body = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "x"}], "stream": True}
        headers = {"authorization": f"Bearer {key}"}
        stream = http.send(
            http.build_request("POST", f"{simulator.base_url}/chat/completions", json=body, headers=headers),
            stream=True,
        )
        assert stream.status_code == 200
    http.close()
    with pytest.raises(httpx2.TransportError):
        httpx2.get(simulator.base_url, trust_env=False)
