"""How much of a request's body is taken at all.

Django writes a body to disk before anything asks who sent it, and sets no end to it. So the end is here: for strangers
and for every form a small one, for the files of somebody who is signed in a large one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpResponse, parse_cookie

from audit.database import DatabaseDown
from chatgrid.accounts.sessions import SessionStore

FORM_BYTES = 16 * 1024 * 1024  # the largest form has fields of text and a small file
FILES_AT_ONCE = 100  # of the largest size, in one form; a script sends them one by one
UPLOAD_PATH = "/documents/upload"

Message = Mapping[str, Any]


class Bounded:
    """Receives a body up to `most` bytes; what is longer ends there, as if the browser had gone away."""

    def __init__(self, receive: Callable[[], Awaitable[Message]], most: int) -> None:
        self._receive = receive
        self._left = most

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.is_exceeded else message

    @property
    def is_exceeded(self) -> bool:
        return self._left < 0


async def most_bytes(scope: Mapping[str, Any]) -> int:
    """How long the body of this request may be."""
    if scope["path"].endswith(UPLOAD_PATH) and await _is_signed_in(scope):
        return max(FORM_BYTES, int(settings.UPLOAD_BYTES) * FILES_AT_ONCE)
    return FORM_BYTES


def too_large() -> HttpResponse:
    return HttpResponse("This is too large. Go back and send less at once.", "text/plain", 413)


async def _is_signed_in(scope: Mapping[str, Any]) -> bool:
    cookies = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
    session = SessionStore(parse_cookie("; ".join(cookies)).get(settings.SESSION_COOKIE_NAME))
    try:
        return SESSION_KEY in await session.aload()
    except DatabaseDown:
        return True  # the view says it better, once the files are here
