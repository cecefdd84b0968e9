"""Grants: what department admins have given people beside their budgets. IT sees them all and ends one early."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_POST

from chatgrid.console.admin.base import ConsoleAdmin, DepartmentFilter
from chatgrid.console.fresh import require_confirmation
from chatgrid.console.scope import may_change, viewer_of
from chatgrid.console.site import site
from departments.calls.grants import NotPossible, end_early
from departments.http import client_address
from departments.limits.grant_models import Grant


class HoldsFilter(admin.SimpleListFilter):
    title = "grant"
    parameter_name = "holds"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Holds now"), ("no", "Has ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Grant]) -> QuerySet[Grant]:
        now = timezone.now()
        if self.value() == "yes":
            return queryset.filter(ends_at__gt=now)
        return queryset.filter(ends_at__lte=now) if self.value() == "no" else queryset


@admin.register(Grant, site=site)
class GrantAdmin(ConsoleAdmin):
    empty = "Nobody has more than their budget. Department admins grant it on their page Budget."
    list_display = ("person", "department", "words", "until", "by", "reason")
    list_filter = (HoldsFilter, DepartmentFilter)
    list_select_related = ("person", "department")
    search_fields = ("person__name", "person__email", "granted_by_name", "reason")
    search_help_text = "Person, who granted it, or reason"
    ordering = ("-starts_at",)
    fields = readonly_fields = ("person", "department", "words", "since", "until", "by", "reason")
    change_form_template = "admin/limits/grant/change_form.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a department admin grants, on the department's page Budget

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="more", ordering="amount")
    def words(self, grant: Grant) -> str:
        return grant.words

    @admin.display(description="since (UTC)", ordering="starts_at")
    def since(self, grant: Grant) -> str:
        return f"{grant.starts_at:%Y-%m-%d %H:%M}"

    @admin.display(description="until (UTC)", ordering="ends_at")
    def until(self, grant: Grant) -> str:
        return f"{grant.ends_at:%Y-%m-%d %H:%M}"

    @admin.display(description="granted by", ordering="granted_by_name")
    def by(self, grant: Grant) -> str:
        return grant.granted_by_name

    def get_urls(self) -> list[Any]:
        view = require_POST(self.admin_site.admin_view(self.end_view))
        return [path("<path:object_id>/end/", view, name="limits_grant_end"), *super().get_urls()]

    def end_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The button on a grant's page."""
        grant: Grant = self.get_object(request, unquote(object_id))
        if not may_change(request.user):
            raise PermissionDenied
        confirmed = require_confirmation(request, f"End what {grant.person} was granted: {grant.words}.")
        try:
            viewer, address = viewer_of(request), client_address(request)
            end_early(grant.department, grant.pk, viewer, confirmed.reason, address, confirmed.details())
            messages.success(request, "The grant has ended. That counts from the next question on.")
        except NotPossible as refused:
            messages.info(request, str(refused))
        return redirect("admin:limits_grant_change", grant.pk)
