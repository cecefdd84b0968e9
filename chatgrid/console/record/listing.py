"""The list of the record, newest first, in pages that are found by the place of their last row.

Rules:
- No page counts rows or skips over them: with ten million of them either takes seconds. A page begins after a place
  (time and id of a row), which an index finds, and the page before it is found the same way backwards.
- A question's text is not shown and not searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_safe

from audit.events import Outcome
from audit.models import AuditEvent
from chatgrid.console.models import SavedSearch
from chatgrid.console.record.filters import RecordForm, as_uuid
from chatgrid.console.scope import viewer_of, visible
from chatgrid.console.site import site

PAGE = 50
PATIENCE_MS = 8_000
COLUMNS = (
    "id",
    "at",
    "event",
    "organization_name",
    "department_name",
    "actor_id",
    "actor_name",
    "subject_kind",
    "subject_id",
    "purpose",
    "model_asked",
    "tokens_input",
    "tokens_output",
    "outcome",
    "details",
)
TOO_LONG = "This search was stopped after 8 seconds. Narrow it: a shorter time, a person, a department."


@dataclass(frozen=True)
class Place:
    """Where a page begins: just after this row, or just before it where `backwards`."""

    at: datetime
    id: UUID
    backwards: bool = False

    @classmethod
    def read(cls, text: str, *, backwards: bool) -> Place | None:
        """The place that an address names ("2026-11-23T10:00:00.000001+00:00_…"); None for none that can be."""
        moment, _, name = text.partition("_")
        found = as_uuid(name)
        try:
            at = parse_datetime(moment)
        except ValueError:
            return None
        return cls(at.replace(tzinfo=at.tzinfo or UTC), found, backwards) if at and found else None

    @staticmethod
    def of(event: AuditEvent) -> str:
        return f"{event.at.isoformat()}_{event.pk}"


@dataclass(frozen=True)
class Page:
    """Rows, newest first, and the addresses of the pages beside; "" where there is none."""

    rows: Sequence[AuditEvent]
    older: str = ""
    newer: str = ""


@dataclass(frozen=True)
class Line:
    """A row as the list shows it."""

    event: AuditEvent
    who: str
    person_url: str
    about: str
    result: str
    tokens: int | None


def page_of(rows: QuerySet[AuditEvent], place: Place | None, size: int = PAGE) -> Page:
    """One page of `rows`, which have their filters already; the addresses are queries without filters."""
    if place is None:
        found = list(rows.order_by("-at", "-id")[: size + 1])
        return Page(found[:size], older=_older(found, size))
    if place.backwards:
        found = list(_beyond(rows, place).order_by("at", "id")[: size + 1])
        shown = found[:size][::-1]
        newer = urlencode({"after": Place.of(shown[0])}) if len(found) > size else ""
        return Page(shown, older=urlencode({"before": Place.of(shown[-1])}) if shown else "", newer=newer)
    found = list(_beyond(rows, place).order_by("-at", "-id")[: size + 1])
    newer = urlencode({"after": Place.of(found[0])}) if found else ""
    return Page(found[:size], older=_older(found, size), newer=newer)


def _older(found: Sequence[AuditEvent], size: int) -> str:
    return urlencode({"before": Place.of(found[size - 1])}) if len(found) > size else ""


def _beyond(rows: QuerySet[AuditEvent], place: Place) -> QuerySet[AuditEvent]:
    # the first condition is the index's, the second tells rows of one moment apart
    if place.backwards:
        return rows.filter(at__gte=place.at).filter(Q(at__gt=place.at) | Q(pk__gt=place.id))
    return rows.filter(at__lte=place.at).filter(Q(at__lt=place.at) | Q(pk__lt=place.id))


@require_safe
def list_events(request: HttpRequest) -> HttpResponse:
    """The page at the console's "Events"."""
    viewer = viewer_of(request)
    form = RecordForm(request.GET, viewer)
    page, problem = _page(request, form)
    chosen = form.chosen
    context = {
        **site.each_context(request),
        "title": "Events",
        "tab": "events",
        "form": form,
        "lines": [_line(event) for event in page.rows],
        "filters": urlencode(chosen),
        "is_filtered": bool(chosen),
        "older": _address(chosen, page.older),
        "newer": _address(chosen, page.newer),
        "problem": problem,
        "searches": SavedSearch.objects.filter(owner=viewer),
        "shows_organization": viewer.is_superuser,
    }
    return TemplateResponse(request, "console/record/list.html", context)


def _page(request: HttpRequest, form: RecordForm) -> tuple[Page, str]:
    if not form.is_valid():
        return Page([]), "These filters cannot be used; see what is said beside them."
    rows = form.narrow(visible(AuditEvent.objects.only(*COLUMNS), viewer_of(request)))
    try:
        # a transaction, so that the limit on its time ends with it
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(PATIENCE_MS)])
            return page_of(rows, _place(request)), ""
    except OperationalError as error:
        if "statement timeout" not in str(error):
            raise
        return Page([]), TOO_LONG


def _place(request: HttpRequest) -> Place | None:
    for name, backwards in (("before", False), ("after", True)):
        if name in request.GET:
            return Place.read(request.GET[name], backwards=backwards)
    return None


def _address(chosen: dict[str, str], place: str) -> str:
    return "?" + "&".join(filter(None, (urlencode(chosen), place))) if place else ""


def _line(event: AuditEvent) -> Line:
    counted = [count for count in (event.tokens_input, event.tokens_output) if count is not None]
    here = reverse("admin:audit_auditevent_changelist")
    return Line(
        event=event,
        who=event.actor_name or (str(event.actor_id) if event.actor_id else ""),
        person_url=f"{here}?person={event.actor_id}" if event.actor_id else "",
        about=about(event),
        result=result_of(event),
        tokens=sum(counted) if counted else None,
    )


def about(event: AuditEvent) -> str:
    """What an event is about, in a few words: a model, a thing's name, a purpose."""
    details: dict[str, Any] = event.details
    name = details.get("subject") or details.get("filename") or event.model_asked or details.get("action") or ""
    return f"{event.subject_kind} {name}".strip() or event.purpose


def result_of(event: AuditEvent) -> str:
    return str(Outcome(event.outcome).label) if event.outcome in Outcome.values else event.outcome
