"""What a request is: who sent it, from where, and which rule stands before the view.

Rules:
- Every view is stamped with exactly one rule. A route without a stamp fails tests/architecture/test_routes.py.
- `require_person` knows that somebody is signed in; which objects are theirs is decided by the `access_` functions.
- Nobody signed in: a page redirects to the sign-in, anything else answers 401.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeVar, cast
from uuid import UUID

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

# some proxies write the port along; it is another one with every connection
_WITH_PORT = re.compile(r"(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9A-Fa-f:.]{2,45})\])(?::\d{1,5})?")

AnyView = TypeVar("AnyView", bound=Callable[..., HttpResponseBase | Awaitable[HttpResponseBase]])


class Person(Protocol):
    """A signed-in person, as far as departments need to know one."""

    id: UUID
    organization_id: UUID | None
    name: str
    is_active: bool


class PersonRequest(HttpRequest):
    """A request whose sender is signed in: what `require_person` hands to the view."""

    person: Person


class AccessRule(Enum):
    """Who may reach a view at all."""

    PUBLIC = "anybody, signed in or not"
    PERSON = "anybody signed in; objects through access functions"


def public(view: AnyView) -> AnyView:
    """The view is for everybody, on purpose."""
    view.access_rule = AccessRule.PUBLIC  # type: ignore[attr-defined]
    return view


def require_person(view: AnyView) -> AnyView:
    """The view is for signed-in people; works for synchronous and asynchronous views."""

    @wraps(view)
    async def asynchronous(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        person = await request.auser()
        if not person.is_authenticated:
            return _ask_to_sign_in(request)
        cast(PersonRequest, request).person = cast(Person, person)
        # templates ask for `user`: the lazy one would go to the database from the event loop
        request.user = person
        return cast(HttpResponseBase, await cast(Any, view)(request, *args, **kwargs))

    @wraps(view)
    def synchronous(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _ask_to_sign_in(request)
        cast(PersonRequest, request).person = cast(Person, request.user)
        return cast(HttpResponseBase, view(request, *args, **kwargs))

    guarded: Any = asynchronous if iscoroutinefunction(view) else synchronous
    guarded.access_rule = AccessRule.PERSON
    return cast(AnyView, guarded)


def client_address(request: HttpRequest) -> str:
    """The address of the browser: the entry our own proxies wrote, never one that the browser could have sent.

    With `TRUSTED_PROXIES` = n the n-th entry from the right of X-Forwarded-For is the one our outermost proxy saw.
    A port that it wrote along is left out.
    """
    trusted = settings.TRUSTED_PROXIES
    forwarded = [entry.strip() for entry in request.headers.get("X-Forwarded-For", "").split(",") if entry.strip()]
    if trusted and len(forwarded) >= trusted:
        found = _WITH_PORT.fullmatch(forwarded[-trusted])
        return found[1] or found[2] if found else forwarded[-trusted]
    return str(request.META.get("REMOTE_ADDR") or "")


def wants_json(request: HttpRequest) -> bool:
    """Whether a script of ours asks, which can show a sentence but not a page."""
    accept = request.headers.get("Accept", "")
    return "text/event-stream" in accept or "application/json" in accept


def _ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    if wants_json(request):
        sentence = "You are signed out. Open the sign-in page in another tab, then send again."
        return JsonResponse({"title": "Signed out", "sentence": sentence}, status=401)
    if request.method in {"GET", "HEAD"}:
        return redirect_to_login(request.get_full_path())
    return redirect_to_login("/")
