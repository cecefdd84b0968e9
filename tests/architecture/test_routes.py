"""Every route has a declared access rule. A forgotten one fails here, not in a review."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from departments.http import AccessRule

# route -> why its view carries no stamp of ours
EXCEPTIONS = {
    "admin/": "the console has its own gate for all of its views: see tests/chatgrid/console",
}


def routes(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for entry in (resolver or get_resolver()).url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry, route)
        elif isinstance(entry, URLPattern):
            yield route, entry.callback


def excepted(route: str) -> bool:
    return any(route.startswith(start) for start in EXCEPTIONS)


def test_every_route_declares_who_may_reach_it() -> None:
    bare = [
        route
        for route, view in routes()
        if not excepted(route) and not isinstance(getattr(view, "access_rule", None), AccessRule)
    ]
    assert not bare, f"Stamp these views with departments.http.public or require_person: {bare}"


def test_no_exception_is_dead() -> None:
    every = [route for route, _ in routes()]
    dead = [start for start in EXCEPTIONS if not any(route.startswith(start) for route in every)]
    assert not dead, f"Remove these from EXCEPTIONS: {dead}"
