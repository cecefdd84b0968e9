"""The ASGI application: `uvicorn chatgrid.asgi:application`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import django
from asgiref.sync import SyncToAsync, sync_to_async
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import close_old_connections, reset_queries
from django.http import HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.urls import set_script_prefix

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatgrid.settings")
django.setup(set_prefix=False)

# after Django is set up
from chatgrid.bodies import Bounded, most_bytes, too_large  # noqa: E402
from chatgrid.middleware import with_headers  # noqa: E402

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Handler(ASGIHandler):
    """Django's handler, which takes no thread for a request that used none.

    Django moves to a thread twice for every request: before it, to tidy up database connections that a fresh thread
    cannot have, and after it, to close those that were opened. The first is never needed under ASGI, where each
    request has its own thread; the second only where synchronous code ran.
    """

    def __init__(self) -> None:
        super().__init__()
        signals.request_started.disconnect(close_old_connections)
        signals.request_started.disconnect(reset_queries)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await super().__call__(scope, receive, send)

    def create_request(self, scope: Any, body_file: Any) -> Any:
        """Django's, without what it stumbles over: no header may hold a NUL, and Python's codecs raise at one."""
        if any(b"\x00" in value for _, value in scope["headers"]):
            return None, HttpResponseBadRequest("A header holds a character that none may hold.", "text/plain")
        return super().create_request(scope, body_file)

    async def handle(self, scope: Any, receive: Receive, send: Send) -> None:
        bounded = Bounded(receive, await most_bytes(scope))
        try:
            body = await self.read_body(bounded)
        except RequestAborted:
            if bounded.is_exceeded:
                await self.send_response(with_headers(too_large()), send)
            return
        with body:
            set_script_prefix(get_script_prefix(scope))
            await signals.request_started.asend(sender=self.__class__, scope=scope)
            request, refusal = self.create_request(scope, body)
            if request is None:
                refused = with_headers(cast(HttpResponse, refusal))
                await self.send_response(refused, send)
                await _close(refused)
                return
            answer = asyncio.ensure_future(self._answer(request, send))
            await _until_done_or_disconnected(answer, receive)
            if answer.cancelled():
                await signals.request_finished.asend(sender=self.__class__)
            else:
                await _close(answer.result())

    async def _answer(self, request: Any, send: Send) -> HttpResponseBase:
        response: HttpResponseBase = await self.run_get_response(request)
        try:
            await self.send_response(response, send)
        except asyncio.CancelledError:
            pass  # the browser went away; the view's own clean-up has run, and the response still has to be closed
        return response


async def _until_done_or_disconnected(answer: asyncio.Future[HttpResponseBase], receive: Receive) -> None:
    listening: asyncio.Future[Any] = asyncio.ensure_future(receive())
    await asyncio.wait((answer, listening), return_when=asyncio.FIRST_COMPLETED)
    for unfinished in (listening, answer):
        if not unfinished.done():
            unfinished.cancel()
    await asyncio.wait((answer, listening))


async def _close(response: HttpResponseBase) -> None:
    threads = SyncToAsync.context_to_thread_executor
    used_a_thread = SyncToAsync.thread_sensitive_context.get(None) in threads
    if used_a_thread:
        await sync_to_async(response.close)()
    else:
        response.close()


async def _lifespan(receive: Receive, send: Send) -> None:
    from chatgrid import process  # after Django is set up

    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await process.start()
            except Exception as error:
                # the operator sees it in the server's log; raised, it would make uvicorn go on as if nothing were wrong
                await send({"type": "lifespan.startup.failed", "message": f"ChatGrid does not start: {error}"})
                return
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await process.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


application = Handler()
