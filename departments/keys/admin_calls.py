"""How every call of the Admin API is made: patient or once, its lists read to their end, its errors ours.

The rules are in admin_api.py, whose class is put together from the rooms beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import openai
from openai import OpenAI

from departments.keys.admin_errors import AdminApiError, AdminMissing, AdminUnreadable, admin_error

if TYPE_CHECKING:
    # the SDK loads these 7 MB at the first call of the Admin API; most web processes never make one
    from openai.resources.admin.organization.organization import Organization as OrganizationResource

PAGE = 100

T = TypeVar("T")


class AdminCalls:
    """What the rooms of the Admin API stand on: one client that sends once, and one that tries a read again."""

    _once: OpenAI
    _patient: OpenAI

    @property
    def _reads(self) -> OrganizationResource:
        return self._patient.admin.organization

    @property
    def _writes(self) -> OrganizationResource:
        return self._once.admin.organization


def said(act: str, call: Callable[[], T]) -> T:
    """What the call gives, or our error. It is raised outside the handler, so that it carries none of the SDK's."""
    problem: AdminApiError
    try:
        return call()
    except openai.APIError as error:
        problem = admin_error(error, act)
    except (AttributeError, TypeError, ValueError):
        # a field that is missing or of another kind: not the Admin API, but a proxy or a wrong base URL
        problem = AdminUnreadable(f"OpenAI's answer to our request to {act} could not be read. Check the base URL.")
    raise problem


def found(act: str, call: Callable[[], T]) -> T | None:
    """As `said`; None where there is none."""
    try:
        return said(act, call)
    except AdminMissing:
        return None


def deleted(act: str, call: Callable[[], object]) -> bool:
    """True: deleted now. False: it was gone."""
    try:
        said(act, call)
    except AdminMissing:
        return False
    return True


def converted(page: Any, convert: Callable[[Any], T]) -> list[T]:
    """The items of one page. ValueError where it has no list: an answer without one must not pass for an empty one."""
    if not isinstance(page.data, list):
        raise ValueError("a page without a list")
    return [convert(item) for item in page.data]


def every(page: Any, convert: Callable[[Any], T]) -> list[T]:
    """The items of this page and of all that follow."""
    items = converted(page, convert)
    while page.has_next_page():
        page = page.get_next_page()
        items += converted(page, convert)
    return items


def buckets(act: str, read: Callable[..., Any], asked: dict[str, Any], convert: Callable[[Any, Any], T]) -> Iterator[T]:
    """The rows of every bucket of every page; the SDK does not page these by itself."""
    page = said(act, lambda: read(**asked))
    while True:
        rows = said(act, partial(converted, page, lambda bucket: [convert(bucket, row) for row in bucket.results]))
        yield from chain.from_iterable(rows)
        if not page.has_more or not page.next_page:
            return
        page = said(act, partial(read, **asked, page=page.next_page))
