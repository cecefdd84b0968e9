"""The chat path makes no thread hop, and holds no connection while the model writes.

More answers stream at once than any pool of threads or connections has places. With one hop a stream, or one
connection held a stream, they would wait for each other.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.core import signals
from django.db import close_old_connections, reset_queries

from audit import database
from chatgrid.asgi import application
from departments.documents.store import open_store
from departments.keys.reader import read_provider_key
from tests.company import Company, give_key, give_store, signed_in
from tests.provider import Provider

STREAMS = 64


async def stream(cookies: str, token: str, seen: asyncio.Semaphore, go_on: asyncio.Event) -> bytes:
    """One question through the ASGI application; says when its first text has come, and reads on when told."""
    body = f"question=hello&csrfmiddlewaretoken={token}".encode()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/d/hr/ask",
        "query_string": b"",
        "scheme": "http",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
        "headers": [
            (b"host", b"localhost"),
            (b"accept", b"text/event-stream"),
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"cookie", cookies.encode()),
        ],
    }
    messages = [{"type": "http.request", "body": body}]
    received = b""

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()  # the browser stays
        raise AssertionError("never")

    async def send(message: Any) -> None:
        nonlocal received
        first = b"event: block" not in received
        received += message.get("body", b"")
        if first and b"event: block" in received:
            seen.release()
            await go_on.wait()

    await application(scope, receive, send)
    return received


async def test_many_streams_take_no_thread_and_hold_no_connection(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = give_key(company.hr)
    give_store(company.hr)
    provider.misbehave(key, "scripted", text="word " * 40, tokens_per_second=100)
    client = await signed_in(company.bob)
    await client.get("/d/hr/")
    token = client.cookies["chatgrid_csrf"].value
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    company.hr.refresh_from_db()
    # a secret that is not in this process's cache may take a thread: once a minute for a department
    await read_provider_key(company.hr)
    async with open_store(company.hr) as store:
        await store.count()
    # the test client connects this again after its own requests; the handler had disconnected it
    signals.request_started.disconnect(close_old_connections)
    signals.request_started.disconnect(reset_queries)

    hops: list[str] = []
    hop = SyncToAsync.__call__

    async def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        hops.append(getattr(self.func, "__qualname__", str(self.func)))
        return await hop(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    loop = asyncio.get_running_loop()
    submit = loop.run_in_executor

    def watched(executor: Any, function: Any, *args: Any) -> Any:
        hops.append(getattr(function, "__qualname__", str(function)))
        return submit(executor, function, *args)

    monkeypatch.setattr(loop, "run_in_executor", watched)
    assert STREAMS > 3 * settings.CONTROL_POOL_SIZE
    first, go_on = asyncio.Semaphore(0), asyncio.Event()
    streams = [asyncio.ensure_future(stream(cookies, token, first, go_on)) for _ in range(STREAMS)]
    async with asyncio.timeout(60):
        for _ in range(STREAMS):
            await first.acquire()
        # all of them are being written now, and none of them holds anything: some moment finds every connection free
        figures = (await database._pool()).get_stats
        while figures()["pool_available"] != figures()["pool_size"]:
            await asyncio.sleep(0.01)
        go_on.set()
        bodies = await asyncio.gather(*streams)
    assert all(b"event: done" in body for body in bodies)
    assert hops == [], f"{len(hops)} hops to a thread, the first {hops[0][:300]}"
