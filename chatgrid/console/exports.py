"""The record to take away: an auditor or IT chooses what, and gets a ZIP that verifies without ChatGrid.

Rules:
- One's own organization only; an operator, who belongs to none, uses `manage.py export_audit`.
- A sign-in of the last minutes is asked for, because what leaves here is all that the company asked.
- The file streams: neither this process nor the database collects it first, and a closed tab ends it. That somebody
  began is in the record before the first byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, time
from typing import Any, cast

from allauth.account.decorators import reauthentication_required
from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from audit.events import Event
from audit.export import Exporter, Filters, Format, export, stream_zip
from audit.roles import connect
from chatgrid.accounts.models import User
from chatgrid.console.scope import may_enter, viewer_of
from chatgrid.console.site import site
from chatgrid.flood import shield
from departments.http import client_address, require_person
from departments.models import Department

WORDS = {
    "CSV": "CSV, for a spreadsheet",
    "JSON_LINES": "JSON Lines, for a program",
    "PARQUET": "Parquet, for an analysis",
    "OCSF": "OCSF, for a SIEM",
}
LATEST = 10


class ExportForm(forms.Form):
    """What is taken away. Days are UTC, the last one included."""

    form = forms.ChoiceField(
        label="Format",
        choices=[(form.value, WORDS.get(form.name, form.value)) for form in Format],
    )
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    department = forms.ModelChoiceField(Department.objects.none(), required=False, empty_label="Every department")
    person = forms.ModelChoiceField(User.objects.none(), required=False, empty_label="Everybody")
    event = forms.ChoiceField(choices=[("", "Every event"), *Event.choices], required=False)
    model = forms.CharField(required=False, max_length=120, help_text="A model's name; empty for all.")

    def __init__(self, data: Any, viewer: User) -> None:
        super().__init__(data)
        self.viewer = viewer
        self.fields["department"].queryset = Department.objects.filter(organization=viewer.organization)  # type: ignore[attr-defined]
        self.fields["person"].queryset = User.objects.filter(organization=viewer.organization)  # type: ignore[attr-defined]

    def filters(self) -> Filters:
        chosen = self.cleaned_data
        assert self.viewer.organization_id is not None  # noqa: S101 the view has refused everybody else
        return Filters(
            organization_id=self.viewer.organization_id,
            since=chosen["since"] and datetime.combine(chosen["since"], time(), UTC),
            until=chosen["until"] and datetime.combine(chosen["until"], time.max, UTC),
            department_id=chosen["department"] and chosen["department"].pk,
            actor_id=chosen["person"] and chosen["person"].pk,
            events=[chosen["event"]] if chosen["event"] else [],
            model=chosen["model"],
        )


@never_cache
@require_http_methods(["GET", "POST"])
@require_person
@shield("download")
def export_record(request: HttpRequest) -> HttpResponseBase:
    """The form, and what it chose. Whoever may not export is told so before being asked for a password."""
    viewer = viewer_of(request)
    if not may_enter(viewer) or viewer.organization_id is None:
        raise PermissionDenied
    return cast(HttpResponseBase, _export(request, viewer))


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _export(request: HttpRequest, viewer: User) -> HttpResponseBase:
    form = ExportForm(request.POST if request.method == "POST" else None, viewer)
    if request.method == "POST" and form.is_valid():
        return _download(request, form, viewer)
    context = {**site.each_context(request), "title": "Export the record", "form": form}
    return TemplateResponse(request, "console/export.html", context)


def _download(request: HttpRequest, form: ExportForm, viewer: User) -> StreamingHttpResponse:
    who = Exporter(
        actor_id=viewer.pk,
        actor_name=viewer.name,
        organization_name=viewer.organization.name if viewer.organization else "",
        client_address=client_address(request),
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
