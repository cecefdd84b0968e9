"""The record to take away: an auditor or IT chooses what, and gets a ZIP that verifies without ChatGrid.

Rules:
- One's own organization only; an operator, who belongs to none, uses `manage.py export_audit`.
- A sign-in of the last minutes and a reason are asked for, because what leaves here is all that the company asked.
- The file streams: neither this process nor the database collects it first, and a closed tab ends it. That somebody
  began is in the record before the first byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from audit.events import Event
from audit.export import Exporter, Format, export
from audit.export_filters import Filters
from audit.export_zip import stream_zip
from audit.models import AuditEvent
from audit.roles import connect
from chatgrid.accounts.models import User
from chatgrid.console.fresh import LONGEST_REASON, confirmed, reason_of
from chatgrid.console.record.filters import LENGTHS, begin_of, date_field, event_choices, known_models, people_named
from chatgrid.console.scope import may_enter, viewer_of, visible
from chatgrid.console.site import site
from chatgrid.flood import shield
from departments.http import client_address, require_person
from departments.models import Department

WORDS = {
    Format.CSV: "CSV, for a spreadsheet",
    Format.JSON_LINES: "JSON Lines, for a program",
    Format.PARQUET: "Parquet, for a data warehouse",
    Format.OCSF: "OCSF, for a SIEM",
}
LATEST = 10


@dataclass(frozen=True)
class Export:
    """An export that was begun. `events` is None while it is not complete, or where it was broken off."""

    event: AuditEvent
    words: str
    filters: Sequence[str]
    events: int | None


class ExportForm(forms.Form):
    """What is taken away. Days are UTC, the last one included."""

    form = forms.ChoiceField(label="Format", choices=list(WORDS.items()))
    since = date_field("From")
    until = date_field("To")
    event = forms.ChoiceField(required=False)
    department = forms.ModelChoiceField(Department.objects.none(), required=False, empty_label="Every department")
    person = forms.CharField(required=False, max_length=254, help_text="A name, an address or an id; empty for all.")
    model = forms.ChoiceField(required=False)
    reason = forms.CharField(max_length=LONGEST_REASON, help_text="What it is for. It stands in the record.")

    def __init__(self, data: Any, viewer: User, chosen: Mapping[str, str]) -> None:
        """`chosen` are the filters of the list from which somebody came here."""
        super().__init__(data, initial=_initial(chosen), label_suffix="")
        self.viewer = viewer
        self.fields["event"].choices = [("", "Every event"), *event_choices()]  # type: ignore[attr-defined]
        own = Department.objects.filter(organization=viewer.organization).order_by("name")
        self.fields["department"].queryset = own  # type: ignore[attr-defined]
        asked = (data or chosen).get("model", "")
        names = sorted({*known_models(viewer), *filter(None, [asked])})
        self.fields["model"].choices = [("", "Every model"), *((name, name) for name in names)]  # type: ignore[attr-defined]

    def clean_person(self) -> UUID | None:
        text = self.cleaned_data["person"]
        people = people_named(text, self.viewer) if text else []
        if text and len(people) != 1:
            raise forms.ValidationError("Several people are called that." if people else "Nobody is called that.")
        return people[0] if people else None

    def filters(self) -> Filters:
        chosen = self.cleaned_data
        assert self.viewer.organization_id is not None  # noqa: S101 the view has refused everybody else
        return Filters(
            organization_id=self.viewer.organization_id,
            since=chosen["since"] and begin_of(chosen["since"]),
            until=chosen["until"] and begin_of(chosen["until"] + timedelta(days=1)),
            department_id=chosen["department"] and chosen["department"].pk,
            actor_id=chosen["person"],
            events=[chosen["event"]] if chosen["event"] else [],
            model=chosen["model"],
        )


def _initial(chosen: Mapping[str, str]) -> dict[str, Any]:
    days = LENGTHS.get(chosen.get("period", ""))
    since = {"since": (timezone.now() - timedelta(days=days)).date()} if days else {}
    names = ("since", "until", "event", "department", "person", "model")
    return since | {name: chosen[name] for name in names if chosen.get(name)}


@never_cache
@require_http_methods(["GET", "POST"])
@require_person
@shield("download")
def export_record(request: HttpRequest) -> HttpResponseBase:
    """The form, and what it chose. Whoever may not export is told so before being asked for a password."""
    viewer = viewer_of(request)
    if not may_enter(viewer) or viewer.organization_id is None:
        raise PermissionDenied
    return _export(request, viewer)


@confirmed("Take the record away.", allowed=may_enter)
def _export(request: HttpRequest, viewer: User) -> HttpResponseBase:
    form = ExportForm(request.POST if request.method == "POST" else None, viewer, request.GET.dict())
    if request.method == "POST" and form.is_valid():
        return _download(request, form, viewer)
    page = {**site.each_context(request), "title": "Export the record", "tab": "export"}
    return TemplateResponse(request, "console/export.html", {**page, "form": form, "exports": _exports(viewer)})


def _exports(viewer: User) -> list[Export]:
    """The exports of the viewer's organization, newest first, as the record has them."""
    own = visible(AuditEvent.objects.order_by("-at"), viewer)
    begun = list(own.filter(event=Event.EXPORT_BEGUN)[:LATEST])
    ends = own.filter(event=Event.EXPORT_FINISHED, subject_id__in=[each.subject_id for each in begun])
    counts = {end.subject_id: end.details.get("events") for end in ends}
    return [
        Export(
            event=each,
            words=WORDS.get(each.details.get("format"), ""),
            filters=[name for name in each.details.get("filters", {}) if name != "organization_id"],
            events=counts.get(each.subject_id),
        )
        for each in begun
    ]


def _download(request: HttpRequest, form: ExportForm, viewer: User) -> StreamingHttpResponse:
    who = Exporter(
        actor_id=viewer.pk,
        actor_name=viewer.name,
        organization_name=viewer.organization.name if viewer.organization else "",
        client_address=client_address(request),
        reason=reason_of(request),
    )
    packed = _packed(form.filters(), Format(form.cleaned_data["form"]), who)
    response = StreamingHttpResponse(_off_the_loop(packed), content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="record-{timezone.now():%Y-%m-%d-%H%M}.zip"'
    return response


def _packed(filters: Filters, form: Format, who: Exporter) -> Iterator[bytes]:
    with connect("default") as rows, connect("default") as beside:
        yield from stream_zip(export(rows, beside, filters, form, who))


async def _off_the_loop(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, each made in a thread: Django would read a synchronous iterator to its end before it sends."""
    try:
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield chunk
    finally:
        await asyncio.to_thread(chunks.close)  # type: ignore[attr-defined]
