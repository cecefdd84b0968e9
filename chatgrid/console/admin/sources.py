"""Sources: which folder or bucket feeds which department. The departments' admins see the runs on their own page."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest

from chatgrid.console.admin.base import ConsoleAdmin, ConsoleForm
from chatgrid.console.scope import may_change
from chatgrid.console.site import site
from departments.documents.models import DocumentSource, SourceRun, places_of


class SourceForm(ConsoleForm):
    """The place is chosen from what the operator opened."""

    place = forms.ChoiceField(help_text="The operator opens places with CHATGRID_SOURCE_FOLDERS and _BUCKETS.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "place" in self.fields:
            opened = [(name, f"{name} ({kind.label})") for kind in DocumentSource.Kind for name in places_of(kind)]
            self.fields["place"].choices = opened  # type: ignore[attr-defined]


@admin.register(DocumentSource, site=site)
class SourceAdmin(ConsoleAdmin):
    empty = "No folder and no bucket feeds a department yet."
    form = SourceForm
    list_display = ("name", "department", "kind", "place", "path", "is_active", "last_run")
    list_filter = ("kind", "is_active")
    search_fields = ("name", "path")
    fields = ("department", "name", "kind", "place", "path", "minutes", "is_active")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # another place would make everything look deleted: make a new source instead
        return ("department", "kind", "place", "path") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_change(request.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DocumentSource]:
        rows: QuerySet[DocumentSource] = super().get_queryset(request).select_related("department")
        latest = Prefetch("runs", SourceRun.objects.order_by("-started_at")[:1], to_attr="latest_runs")
        return rows.prefetch_related(latest)

    @admin.display(description="last run")
    def last_run(self, source: DocumentSource) -> str:
        run = next(iter(source.latest_runs), None)  # type: ignore[attr-defined]
        return f"{run.started_at:%Y-%m-%d %H:%M}: {run.sentence or 'done'}" if run else "none yet"
