"""The chat path neither takes a thread nor holds a connection while a model writes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings

from audit import database
from departments.calls.run import Ask, answering, running
from departments.keys import client
from tests.company import Company, give_key
from tests.departments.calls.calling import ask, until, whole
from tests.provider import Provider

STREAMS = 64


class Hops:
    """Everything that went to a thread of this event loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        loop = asyncio.get_running_loop()
        original = loop.run_in_executor

        def run_in_executor(executor: Any, function: Any, *arguments: Any) -> Any:
            self.seen.append(repr(function))
            return original(executor, function, *arguments)

        async def call(hop: SyncToAsync[Any, Any], *arguments: Any, **named: Any) -> Any:
            self.seen.append(repr(hop.func))
            raise AssertionError("a hop to a thread")

        monkeypatch.setattr(loop, "run_in_executor", run_in_executor)
        monkeypatch.setattr(SyncToAsync, "__call__", call)


async def test_more_streams_than_threads_and_connections_run_at_once_without_either(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert max(32, settings.CONTROL_POOL_SIZE) < STREAMS, "more than the default pool of threads, and than connections"
    key = give_key(company.hr)
    await whole(ask(company))  # the key and the catalogue are read, which may take a thread once a minute
    provider.misbehave(key, "long", first_token_ms=1, tokens_per_second=20)
    hops = Hops(monkeypatch)
    threads, others = threading.active_count(), running()
    all_begun, enough = asyncio.Barrier(STREAMS + 1), asyncio.Event()

    async def stream(question: Ask) -> None:
        async with answering(question) as (_, text):
            await anext(text)
            await all_begun.wait()
            await enough.wait()

    streams = [asyncio.create_task(stream(ask(company))) for _ in range(STREAMS)]
    async with asyncio.timeout(30):
        await all_begun.wait()
    assert STREAMS <= running() <= STREAMS + others
    assert threading.active_count() <= threads
    figures = (await database._pool()).get_stats
    # one may still be made, or renew a lease; if the answers held them, there would be no such moment
    await until(lambda: figures()["pool_available"] == figures()["pool_size"])
    assert figures()["pool_size"] <= settings.CONTROL_POOL_SIZE
    enough.set()
    await asyncio.gather(*streams)
    assert hops.seen == []


async def test_a_connection_to_the_provider_is_used_again(company: Company, provider: Provider) -> None:
    give_key(company.hr)
    await client.close()
    for _ in range(5):
        await whole(ask(company))
    assert len(_open_connections()) == 1


def _open_connections() -> list[Any]:
    return list(client._pool()._client._transport._pool.connections)  # type: ignore[attr-defined]
