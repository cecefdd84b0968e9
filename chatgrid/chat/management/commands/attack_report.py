"""`manage.py attack_report`: what each layer against prompt injection does on this machine, and what it has seen."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver

from chatgrid.chat.markdown import render
from chatgrid.middleware import HEADERS, SecurityHeaders
from departments.calls.attack_scores import REACH, Score, corpus, labels_seen, scores, trials
from departments.http import AccessRule

# what a rendered answer may be made of
HARMLESS = frozenset(
    [
        "p",
        "br",
        "strong",
        "em",
        "s",
        "code",
        "pre",
        "ul",
        "ol",
        "li",
        "blockquote",
        "h3",
        "h4",
        "hr",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "a",
        "span",
        "div",
    ]
)
ATTRIBUTES = frozenset(("class", "href", "rel", "start"))


class Command(BaseCommand):
    help = "Tries attacks of our own on every layer and prints the scores. Ends with 1 where a layer does not hold."

    def handle(self, *args: Any, **options: Any) -> None:
        found = [routes_with_rule(), *scores(), *trials(), rendering(), headers()]
        for score in sorted(found, key=lambda each: each.layer):
            self.stdout.write(line_of(score))
        seen = labels_seen()
        self.stdout.write(f"Seen in {REACH.days} days: {sum(seen.values())} labels on calls")
        for label, times in seen.most_common():
            self.stdout.write(f"    {times:6}  {label}")
        if flaws := [score for score in found if score.is_flaw]:
            raise CommandError(f"These do not hold: {', '.join(f'{flaw.layer} {flaw.what}' for flaw in flaws)}.")


def line_of(score: Score) -> str:
    counted = f"{score.held} of {score.tried}" if score.tried else ""
    mark = "FLAW" if score.is_flaw else ""
    return f"{score.layer}  {score.what:52} {counted:12} {mark}".rstrip()


def routes_with_rule() -> Score:
    """L1: routes that say who may reach them."""
    views = list(_views(get_resolver()))
    stamped = sum(isinstance(getattr(view, "access_rule", None), AccessRule) for view in views)
    return Score("L1", "routes that declare who may reach them", stamped, len(views))


def rendering() -> Score:
    """L7: hostile answers that become nothing but words."""
    answers = corpus()["renderings"]
    return Score("L7", "hostile answers that are only read", sum(map(is_harmless, answers)), len(answers))


def headers() -> Score:
    """L8: security headers on a response."""
    middleware = SecurityHeaders(lambda request: HttpResponse())
    response = middleware.process_response(HttpRequest(), HttpResponse())
    wanted = [*HEADERS, "Referrer-Policy", "X-Content-Type-Options", "Cross-Origin-Opener-Policy", "Cache-Control"]
    return Score("L8", "security headers on a page", sum(name in response.headers for name in wanted), len(wanted))


def is_harmless(answer: str) -> bool:
    parser = _Elements()
    parser.feed(render(answer))
    parser.close()
    return not parser.harmful


class _Elements(HTMLParser):
    """Notices every element, attribute and link that an answer may not have."""

    harmful = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        links = [value or "" for name, value in attrs if name == "href"]
        allowed = tag in HARMLESS and all(name in ATTRIBUTES for name, _ in attrs)
        self.harmful |= not (allowed and all(link.startswith(("https://", "mailto:", "#")) for link in links))


def _views(resolver: URLResolver) -> Iterator[Any]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from _views(entry)
        elif isinstance(entry, URLPattern):
            yield entry.callback
