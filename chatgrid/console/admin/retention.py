"""Legal holds: while one stands, nothing of the organization's record ends, and no conversation of it.

Rules:
- IT places one and lifts it, each with a fresh sign-in and a reason; an auditor sees them. None is changed or deleted.
- How long the record and conversations are kept without a hold is on the organization's page (organizations.py).
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit.models import LegalHold
from chatgrid.console.admin.base import ConsoleAdmin, ConsoleForm
from chatgrid.console.fresh import LONGEST_REASON, require_confirmation
from chatgrid.console.recording import record_act, snapshot, stored
from chatgrid.console.scope import may_change, viewer_of
from chatgrid.console.site import site


class HoldForm(ConsoleForm):
    reason = forms.CharField(
        max_length=LONGEST_REASON,
        help_text="Such as the number of a case. Nothing of the record and no conversation ends while the hold stands.",
    )


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("stands", "Stands"), ("lifted", "Lifted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LegalHold]) -> QuerySet[LegalHold]:
        stands = {"stands": True, "lifted": False}.get(self.value() or "")
        return queryset if stands is None else queryset.filter(lifted_at__isnull=stands)


@admin.register(LegalHold, site=site)
class LegalHoldAdmin(ConsoleAdmin):
    empty = "No hold: the record and the conversations end when their days are over."
    form = HoldForm
    list_display = ("reason", "set_by", "set_at", "state")
    list_filter = (StateFilter,)
    search_fields = ("reason", "set_by")
    search_help_text = "Reason or who set it"
    ordering = ("-set_at",)
    change_form_template = "admin/audit/legalhold/change_form.html"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("reason", "set_by", "set_at", "lifted_at") if obj else ("reason",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # an operator belongs to no organization: a hold is the word of one's own IT
        return may_change(request.user) and viewer_of(request).organization_id is not None

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="state")
    def state(self, hold: LegalHold) -> str:
        return f"Lifted {hold.lifted_at:%Y-%m-%d}" if hold.lifted_at else "Stands"

    def save_model(self, request: HttpRequest, obj: LegalHold, form: Any, change: bool) -> None:
        viewer = viewer_of(request)
        require_confirmation(request, "Place a legal hold: nothing of the record and no conversation ends any more.")
        assert viewer.organization_id is not None  # noqa: S101 has_add_permission has refused everybody else
        obj.organization_id, obj.set_by = viewer.organization_id, str(viewer)
        obj.save()
        record_act(request, obj, "placed", after=snapshot(obj))

    def get_urls(self) -> list[Any]:
        view = require_POST(self.admin_site.admin_view(self.lift_view))
        return [path("<path:object_id>/lift/", view, name="audit_legalhold_lift"), *super().get_urls()]

    def lift_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The button on a hold's page."""
        hold = self.get_object(request, unquote(object_id))
        if not may_change(request.user):
            raise PermissionDenied
        require_confirmation(request, f"Lift the legal hold “{hold}”: what is past its time ends again.")
        with transaction.atomic():
            before = stored(hold)
            if LegalHold.objects.filter(pk=hold.pk, lifted_at=None).update(lifted_at=timezone.now()):
                hold.refresh_from_db()
                record_act(request, hold, "lifted", before, snapshot(hold))
                messages.success(request, "The hold is lifted.")
        return redirect("admin:audit_legalhold_change", hold.pk)
