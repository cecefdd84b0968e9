"""The flood shield: django-ratelimit before every route that costs something.

Rules:
- It stands before the exact limits (departments/limits) and is no substitute for them.
- Nobody signed in is counted by address, everybody else by id; a limit is named after what it protects.
- The shared cache away: the shield lets pass, and the exact step alone decides for calls, because correctness never
  depends on the cache. django-ratelimit would raise; its fixed windows may also let twice the limit pass at an edge,
  which is fine here.
- On the chat path the count is made without a thread, in the library's own window and under its own key, so that both
  ways count together. After a failure the cache is left alone for a few seconds: waiting for it would be the flood.
- The answer is 429 with Retry-After, never 403.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, cast
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django_ratelimit.core import ALL, EXPIRATION_FUDGE, _get_window, _make_cache_key, _split_rate, get_usage
from redis.asyncio import Redis
from redis.exceptions import RedisError

from audit.events import Event
from audit.writer import Entry, arecord, record
from departments.http import AnyView, client_address, wants_json

RATES = {
    "ask": "120/m",  # far above any person's own limit: this stops a script, not a person
    "upload": "600/m",  # a folder of 500 files is one wish
    "sign_in": "30/m",
    "more": "20/m",
    "download": "120/m",
    "preview": "240/m",  # pages of a document as pictures, fetched as a person scrolls
    "report": "60/m",
}

AWAY_SECONDS = 5.0

logger = logging.getLogger(__name__)
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Redis] = WeakKeyDictionary()
_away_until = [float("-inf")]


def shield(group: str) -> Callable[[AnyView], AnyView]:
    """Decorator: at most `RATES[group]` of this view for a person or address."""

    def decorate(view: AnyView) -> AnyView:
        @wraps(view)
        async def asynchronous(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            refusal = await _acheck(request, group) if settings.RATELIMIT_ENABLE else None
            return refusal or cast(HttpResponseBase, await cast(Any, view)(request, *args, **kwargs))

        @wraps(view)
        def synchronous(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            refusal = _check(request, group) if settings.RATELIMIT_ENABLE else None
            return refusal or cast(HttpResponseBase, view(request, *args, **kwargs))

        guarded: Any = asynchronous if iscoroutinefunction(view) else synchronous
        guarded.shield_group = group
        return cast(AnyView, guarded)

    return decorate


def _check(request: HttpRequest, group: str) -> HttpResponse | None:
    try:
        usage = get_usage(request, group=_named(group), key=_who, rate=RATES[group], increment=True)
    except RedisError:
        logger.warning("flood shield for %s open: the cache is away", group)
        return None
    if not usage or not usage["should_limit"]:
        return None
    if usage["count"] == usage["limit"] + 1:  # once a window, or a flood would flood the record
        record(_entry(request, group))
    return _refused(request, usage["time_left"])


async def _acheck(request: HttpRequest, group: str) -> HttpResponse | None:
    limit, period = _split_rate(RATES[group])
    who = _who(group, request)
    window = _get_window(who, period)
    try:
        count = await _count(_make_cache_key(_named(group), window, RATES[group], who, ALL), period)
    except RedisError:
        logger.warning("flood shield for %s open: the cache is away", group)
        _away_until[0] = time.monotonic() + AWAY_SECONDS
        return None
    if count <= limit:
        return None
    if count == limit + 1:
        await arecord(_entry(request, group))
    # a page is rendered with its frame, which reads the database: refusals may take a thread
    return await sync_to_async(_refused)(request, max(1, window - int(time.time())))


async def _count(key: str, period: int) -> int:
    """How often this has been asked in this window, this time included. 0 while the cache is known to be away."""
    if time.monotonic() < _away_until[0]:
        return 0
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=0.5)
    name = cache.make_key(key)
    async with _clients[loop].pipeline(transaction=False) as commands:
        commands.incr(name)
        commands.expire(name, period + EXPIRATION_FUDGE, nx=True)
        counted, _ = await commands.execute()
    return int(counted)


async def close() -> None:
    """Give the running loop's connections to the cache back."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.aclose()


def _named(group: str) -> str:
    return f"chatgrid.{group}"


def _entry(request: HttpRequest, group: str) -> Entry:
    return Entry(event=Event.FLOOD_REFUSED, client_address=client_address(request), details={"group": group})


def _who(group: str, request: HttpRequest) -> str:
    person = getattr(request, "person", None)
    return str(person.id) if person else client_address(request)


def _refused(request: HttpRequest, seconds: int) -> HttpResponse:
    problem = {"title": "Too many at once", "sentence": f"Wait {seconds} seconds, then try again."}
    response: HttpResponse
    if wants_json(request):
        response = JsonResponse(problem, status=429)
    else:
        response = render(request, "errors/problem.html", problem, status=429)
    response.headers["Retry-After"] = str(seconds)
    return response
