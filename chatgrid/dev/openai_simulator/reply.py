"""Sending a body piece by piece while watching whether the client is still there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from starlette.types import Receive, Scope, Send

FOR_EVER = 86_400.0


class CutOff(Exception):
    """Raised by a body that is to end without its end: the connection is closed in the middle."""


class WatchedReply:
    """An ASGI response, begun after `delay` seconds.

    `on_end` is told once, at the very end, whether the client left before everything was sent.
    """

    def __init__(
        self,
        body: AsyncGenerator[bytes, None],
        *,
        headers: dict[str, str],
        status: int = 200,
        delay: float = 0.0,
        on_end: Callable[[bool], None],
    ) -> None:
        self._body = body
        self._status = status
        self._delay = delay
        self._headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = asyncio.ensure_future(self._write(send))
        watcher = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            await asyncio.wait({writer, watcher}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._on_end(not writer.done())
            await _cancel(writer, watcher)
        if not writer.cancelled():
            writer.result()

    async def _write(self, send: Send) -> None:
        await asyncio.sleep(self._delay)
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        async with aclosing(self._body) as body:
            try:
                async for piece in body:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except CutOff:
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(*tasks: asyncio.Future[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
