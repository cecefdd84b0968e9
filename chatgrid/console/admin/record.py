"""The record, to look at. Nothing here can change it, and a question's text is not shown: IT does not read along.

Rules:
- No page counts rows: with ten million of them a count takes seconds. A selection ends after `MOST_ROWS`, and its last
  page leads on to what is older.
- The search finds people by name or address and events by their id, which indexes answer; it does not search text.
- Times are UTC, as they are stored.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html

from audit.events import Event, Outcome
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from chatgrid.console.admin.base import ConsoleAdmin, DepartmentFilter
from chatgrid.console.scope import viewer_of, visible
from chatgrid.console.site import site

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator

MOST_ROWS = 2_000
MOST_PEOPLE = 50
PERIODS = {"hour": 1 / 24, "day": 1, "week": 7, "month": 30, "quarter": 90}


class CappedPaginator(AnyPaginator):
    """Pages up to `MOST_ROWS` rows; counts no further than that."""

    @cached_property
    def count(self) -> int:
        rows = cast(QuerySet[AuditEvent], self.object_list)
        return rows.order_by()[: MOST_ROWS + 1].values("pk").count()

    @cached_property
    def num_pages(self) -> int:
        return max(1, -(-min(self.count, MOST_ROWS) // self.per_page))

    @property
    def capped(self) -> bool:
        return self.count > MOST_ROWS


class RecordList(ChangeList):
    """Django's list, which also knows where the rows after the last page begin."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.older_url = ""
        if cast(CappedPaginator, self.paginator).capped:
            self.result_count = MOST_ROWS
            at = self.queryset.values_list("at", flat=True)[MOST_ROWS]
            self.older_url = self.get_query_string({"until": at.isoformat()}, remove=["p"])


class EventFilter(admin.SimpleListFilter):
    title = "event"
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Event.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(event=self.value()) if self.value() in Event.values else queryset


class RecordDepartmentFilter(DepartmentFilter):
    lookup = "department_id"


class PersonFilter(admin.SimpleListFilter):
    """Reached from a name in the list; shows who is chosen. All 5,000 people would be no filter."""

    title = "person"
    parameter_name = "person"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = _uuid(request.GET.get("person", ""))
        if chosen is None:
            return []
        people = visible(User.objects.filter(pk=chosen), viewer_of(request))
        return [(str(person.pk), str(person)) for person in people] or [(str(chosen), "Somebody else")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        chosen = _uuid(self.value() or "")
        return queryset.filter(actor_id=chosen) if chosen else queryset


class PeriodFilter(admin.SimpleListFilter):
    title = "period"
    parameter_name = "period"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        words = ("Last hour", "Last 24 hours", "Last 7 days", "Last 30 days", "Last 90 days")
        return list(zip(PERIODS, words, strict=True))

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        days = PERIODS.get(self.value() or "")
        return queryset.filter(at__gte=timezone.now() - timedelta(days=days)) if days else queryset


class UntilFilter(admin.SimpleListFilter):
    """Only what is as old as this moment: how the list goes on after its last page."""

    title = "end"
    parameter_name = "until"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        moment = _moment(request.GET.get("until", ""))
        return [(request.GET["until"], f"Until {moment:%Y-%m-%d %H:%M:%S}")] if moment else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        moment = _moment(self.value() or "")
        return queryset.filter(at__lte=moment) if moment else queryset


@admin.register(AuditEvent, site=site)
class AuditEventAdmin(ConsoleAdmin):
    list_display = ("when", "what", "who", "department", "about", "result", "tokens")
    list_filter = (PeriodFilter, UntilFilter, EventFilter, RecordDepartmentFilter, PersonFilter)
    list_per_page = 100
    paginator = CappedPaginator
    ordering = ("-at",)
    sortable_by = ()
    search_fields = ("id",)  # shows the box; get_search_results says what it finds
    search_help_text = "A person’s name or address, or the id of an event, a call or a thing"
    change_list_template = "admin/audit/auditevent/change_list.html"
    fieldsets = (
        (None, {"fields": ("when", "what", "who", "client_address", "organization_name", "department_name", "about")}),
        (
            "The call",
            {
                "fields": (
                    "call_id",
                    "purpose",
                    "model_asked",
                    "model_answered",
                    "result",
                    "tokens_input",
                    "tokens_cached",
                    "tokens_output",
                    "tokens_reasoning",
                    "tokens_estimated",
                    "cost",
                    "first_token_ms",
                    "total_ms",
                    "provider_request_id",
                    "key_fingerprint",
                    "key_version",
                    "query_hash",
                )
            },
        ),
        ("Details", {"fields": ("id", "passages_shown", "labels_shown", "details_shown")}),
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RecordList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEvent], search_term: str
    ) -> tuple[QuerySet[AuditEvent], bool]:
        if not search_term:
            return queryset, False
        wanted = _uuid(search_term)
        if wanted is not None:
            return queryset.filter(Q(pk=wanted) | Q(call_id=wanted) | Q(actor_id=wanted)), False
        named = Q(name__icontains=search_term) | Q(email__icontains=search_term)
        people = visible(User.objects.filter(named), viewer_of(request)).values_list("pk", flat=True)[:MOST_PEOPLE]
        return queryset.filter(actor_id__in=list(people)), False

    @admin.display(description="when (UTC)")
    def when(self, event: AuditEvent) -> str:
        return f"{event.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="what")
    def what(self, event: AuditEvent) -> str:
        return event.sentence

    @admin.display(description="who", empty_value="-")
    def who(self, event: AuditEvent) -> str | None:
        if event.actor_id is None:
            return event.actor_name or None
        address = f"{reverse('admin:audit_auditevent_changelist')}?person={event.actor_id}"
        return format_html('<a href="{}">{}</a>', address, event.actor_name or event.actor_id)

    @admin.display(description="department", empty_value="-")
    def department(self, event: AuditEvent) -> str | None:
        return event.department_name or None

    @admin.display(description="about")
    def about(self, event: AuditEvent) -> str:
        name = event.details.get("subject") or event.details.get("filename") or event.details.get("action") or ""
        return f"{event.subject_kind} {name}".strip() or event.purpose or "-"

    @admin.display(description="result")
    def result(self, event: AuditEvent) -> str:
        return Outcome(event.outcome).label if event.outcome in Outcome.values else event.outcome or "-"

    @admin.display(description="tokens", empty_value="-")
    def tokens(self, event: AuditEvent) -> str | None:
        counted = [count for count in (event.tokens_input, event.tokens_output) if count is not None]
        return f"{sum(counted):,}" if counted else None

    @admin.display(description="passages")
    def passages_shown(self, event: AuditEvent) -> str:
        return _json(event.passages)

    @admin.display(description="labels")
    def labels_shown(self, event: AuditEvent) -> str:
        return _json(event.labels)

    @admin.display(description="details")
    def details_shown(self, event: AuditEvent) -> str:
        return _json(event.details)


def _json(value: Any) -> str:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def _moment(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
