"""A key in a field that is for something else: a reason, a name, a title. Refused before anything reads it.

Rules:
- What is typed anywhere is kept: in our database, in the record for years, in a form that is carried over a sign-in. So
  every form of every page is looked at, by the middleware, and no view has to remember it.
- A field for keys is called `key`, and only the pages that exchange one have it. A password is compared and never kept.
- A view that keeps what people ask says so (`may_hold_key`): the department's policy decides about a question.
- A view that Django's check against forgery leaves alone reads large files itself: it calls `refused_key`, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from chatgrid.errors import problem
from chatgrid.middleware import InPlace
from departments.keys.patterns import contains_key

ELSEWHERE = frozenset({"key", "password"})
TITLE = "There is a key in a field that is for something else"

View = TypeVar("View", bound=Callable[..., Any])


def may_hold_key(*fields: str) -> Callable[[View], View]:
    """These fields of the view are looked at by something else, before anything keeps them."""

    def decorate(view: View) -> View:
        view.may_hold_key = frozenset(fields)  # type: ignore[attr-defined]
        return view

    return decorate


class MisplacedKeys(InPlace, MiddlewareMixin):
    """Comes after the check against forgery, which has read the form already."""

    async def process_view(self, request: HttpRequest, view: Any, *_: Any) -> HttpResponse | None:
        if getattr(view, "csrf_exempt", False):
            return None  # the middleware would read all of an upload on the event loop
        return refused_key(request, getattr(view, "may_hold_key", frozenset()))


def refused_key(request: HttpRequest, elsewhere: frozenset[str] = frozenset()) -> HttpResponse | None:
    """The page that says so, without a character of what was typed; None where every field is in order."""
    if request.method != "POST":
        return None
    name = next((name for name, value in _typed(request) if _is_misplaced(name, value, ELSEWHERE | elsewhere)), None)
    return None if name is None else problem(request, 400, TITLE, _sentence(name))


def _typed(request: HttpRequest) -> Iterator[tuple[str, str]]:
    for name, values in request.POST.lists():
        yield from ((name, value) for value in values)
    for _, files in request.FILES.lists():
        yield from (("name of a file", file.name or "") for file in files)


def _is_misplaced(name: str, value: str, elsewhere: frozenset[str]) -> bool:
    return contains_key(name) or (name not in elsewhere and contains_key(value))


def _sentence(name: str) -> str:
    field = "" if contains_key(name) else f" “{name.replace('_', ' ')}”"
    return (
        f"The field{field} holds something that looks like a key, so nothing was saved. Take it out and send the form "
        "again; a key is pasted into the field for keys only. If others could see it, have it exchanged."
    )
