"""The middleware of every request. All of it runs on the event loop.

Django's own classes hop to a thread for each of their two methods, although none of these methods waits for anything
(the session's save apart). `InPlace` runs them where they are; that is worth 1 ms a request here and, under load, the
difference between an answer and a queue (docs/performance.md).
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.messages.storage import default_storage
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import DisallowedHost, DisallowedRedirect
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.functional import SimpleLazyObject, empty

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "object-src 'none'",
        "report-uri /csp-report",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-DNS-Prefetch-Control": "off",
    "X-Frame-Options": "DENY",
}


def with_headers(response: HttpResponse) -> HttpResponse:
    """The response with every header that does not depend on the request; also for those that no middleware sees."""
    own = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
        "Cross-Origin-Opener-Policy": settings.SECURE_CROSS_ORIGIN_OPENER_POLICY,
        "Cache-Control": "no-store",  # pages hold conversations and names; static files set their own
    }
    for name, value in (HEADERS | own).items():
        response.headers.setdefault(name, value)
    return response


class InPlace:
    """Mixed in before one of Django's middleware classes: its methods run on the event loop, without a thread."""

    get_response: Any  # one layer further in, asynchronous here

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        process_request = getattr(self, "process_request", None)
        response = process_request(request) if process_request else None
        if response is None:
            response = await self.get_response(request)
        process_response = getattr(self, "process_response", None)
        return cast(HttpResponseBase, process_response(request, response) if process_response else response)


class SecurityHeaders(InPlace, SecurityMiddleware):
    """The whole set of security headers, on every response, static files included."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:  # type: ignore[override]  # it may refuse
        try:
            return super().process_request(request)
        except DisallowedHost:
            return None  # `Common` refuses it, further in, so that the refusal gets these headers, too
        except DisallowedRedirect:
            return HttpResponseBadRequest("This address is too long to be sent on to https.", "text/plain")

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        return with_headers(super().process_response(request, response))


class Sessions(SessionMiddleware):
    """Django's sessions; only a session that changed is saved, and only that takes a thread."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        self.process_request(request)
        response = cast(HttpResponse, await self.get_response(request))  # type: ignore[misc]
        if request.session.modified:
            return await sync_to_async(self.process_response, thread_sensitive=True)(request, response)
        return self.process_response(request, response)


class Common(InPlace, CommonMiddleware):
    """Slashes and the length header."""


class Csrf(InPlace, CsrfViewMiddleware):
    """Refuses a form that did not come from a page of ours."""

    async def process_view(self, request: HttpRequest, *arguments: Any) -> Any:  # type: ignore[override]
        # asynchronous, so that Django awaits it where it is instead of moving it to a thread
        return super().process_view(request, *arguments)


class Authentication(InPlace, AuthenticationMiddleware):
    """Says who sent the request, when asked."""


class Messages(InPlace, MessageMiddleware):
    """Sentences for the next page, looked for only where a page shows or leaves one: reading them checks signatures."""

    def process_request(self, request: HttpRequest) -> None:
        request._messages = SimpleLazyObject(partial(default_storage, request))  # type: ignore[attr-defined]

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        untouched = request._messages._wrapped is empty  # type: ignore[attr-defined]
        return response if untouched else super().process_response(request, response)
