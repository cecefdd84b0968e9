"""Where alerts about budgets go, beside the people whose budgets they are."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from chatgrid.console.admin.base import ConsoleAdmin, DepartmentFilter
from chatgrid.console.scope import may_change, viewer_of
from chatgrid.console.site import site
from departments.limits.alert_models import AlertTarget, Notice
from departments.limits.alerts import secret_of

WHO = (
    "People are told of their own budgets by e-mail at 50, 80 and 100 %, department admins of their department’s, IT "
    "of all. A target here is told as well. A webhook has to be an https:// address on the open internet; each message "
    "is signed with the secret below (Standard Webhooks)."
)


@admin.register(AlertTarget, site=site)
class AlertTargetAdmin(ConsoleAdmin):
    empty = "Nobody is told beside the people whose budgets they are."
    list_display = ("address", "kind", "department", "is_active", "delivery", "created_at")
    list_filter = ("kind", "is_active", DepartmentFilter)
    list_select_related = ("department",)
    search_fields = ("address",)

    def get_fieldsets(self, request: HttpRequest, obj: AlertTarget | None = None) -> Any:
        organization = ("organization",) if obj is None and viewer_of(request).is_superuser else ()
        fields = (*organization, "kind", "address", "department", "is_active")
        secret = (
            ("signing_secret",) if obj and obj.kind == AlertTarget.Kind.WEBHOOK and may_change(request.user) else ()
        )
        seen = ("delivery",) if obj else ()
        return ((None, {"fields": (*fields, *seen, *secret), "description": WHO}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertTarget]:
        tried = Notice.objects.filter(target=OuterRef("pk"), attempts__gt=0).order_by("-created_at")
        rows: QuerySet[AlertTarget] = super().get_queryset(request)
        return rows.annotate(
            arrived_at=Subquery(tried.values("sent_at")[:1]), trouble=Subquery(tried.values("problem")[:1])
        )

    def get_readonly_fields(self, request: HttpRequest, obj: AlertTarget | None = None) -> tuple[str, ...]:
        # another address is another target: what was sent where stays true
        return ("kind", "address", "delivery", "signing_secret") if obj else ()

    @admin.display(description="last message")
    def delivery(self, target: Any) -> str:
        """What became of it: whoever is told nothing should not have to look into a log."""
        if target.arrived_at:
            return f"Arrived, {target.arrived_at:%Y-%m-%d %H:%M} UTC"
        return f"Did not arrive. {target.trouble}" if target.trouble else "None yet"

    @admin.display(description="signing secret")
    def signing_secret(self, target: AlertTarget) -> str:
        return secret_of(target)
