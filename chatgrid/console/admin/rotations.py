"""Rotations: every exchange of a key or password, where it stands, and what a person can do about one under way.

And the people who could have seen a secret, so that one who leaves takes none along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_POST

from audit.models import AuditEvent
from chatgrid.console.admin.base import ConsoleAdmin, ConsoleForm, DepartmentFilter
from chatgrid.console.exchanging import by_of
from chatgrid.console.fresh import require_confirmation
from chatgrid.console.recording import record_act
from chatgrid.console.scope import may_change, viewer_of
from chatgrid.console.site import site
from departments.keys import key_people
from departments.keys import rotation as rotating
from departments.keys.offboarding import leaving
from departments.keys.rotation import RotationError
from departments.keys.rotation_models import KeyAccess, Rotation

GIVE_UP = "Give up the exchange of {}: the old one stays in use, the new one is ended."
CONFIRM = "Delete the old key of {} although there is no new one: nobody gets an answer until there is."
LOOK = "Asked: the old one is tried now."


class OpenFilter(admin.SimpleListFilter):
    title = "exchange"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Under way"), ("no", "Ended")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        chosen = {"yes": True, "no": False}.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(closed_at__isnull=chosen)


@admin.register(Rotation, site=site)
class RotationAdmin(ConsoleAdmin):
    empty = "No key was exchanged yet. The button for it is on a key’s page."
    list_display = ("place", "trigger", "where", "started_at", "started_by", "reason")
    list_filter = (OpenFilter, "what", "trigger", DepartmentFilter)
    list_select_related = ("department", "organization")
    search_fields = ("department__name", "old_fingerprint", "new_fingerprint", "reason")
    search_help_text = "Department, fingerprint or reason"
    ordering = ("-started_at",)
    change_form_template = "admin/keys/rotation/change_form.html"
    fields = (
        "place",
        "where",
        "problem",
        "trigger",
        "mode",
        "reason",
        "started_by",
        "started_at",
        "promoted_at",
        "announced_at",
        "retiring_at",
        "closed_at",
        "old_fingerprint",
        "new_fingerprint",
        "old_version",
        "new_version",
        "project_id",
    )
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # asked for on a key's page

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="what", ordering="department__name")
    def place(self, rotation: Rotation) -> str:
        return rotation.place

    @admin.display(description="where it stands", ordering="step")
    def where(self, rotation: Rotation) -> str:
        if rotation.closed_at:
            return rotation.get_result_display()
        return f"{rotation.get_step_display()}. {rotation.problem}".strip(". ") + "."

    @admin.display(description="asked for by")
    def started_by(self, rotation: Rotation) -> str:
        return rotation.started_by_name or "The clock"

    @admin.display(description="new version")
    def new_version(self, rotation: Rotation) -> str:
        return str(rotation.pk)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        rotation: Rotation = self.get_object(request, unquote(object_id or ""))
        events = AuditEvent.objects.filter(subject_kind="rotation", subject_id=str(rotation.pk)).order_by("at")
        shown = {
            "events": list(events[:100]),
            "subtitle": f"Exchange: {rotation.place}",
            "may_act": may_change(request.user) and rotation.closed_at is None,
        }
        return super().changeform_view(request, object_id, form_url, {**shown, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        view = require_POST(self.admin_site.admin_view(self.button_view))
        return [
            path("<path:object_id>/do/<slug:button>/", view, name="keys_rotation_do"),
            *super().get_urls(),
        ]

    def button_view(self, request: HttpRequest, object_id: str, button: str) -> HttpResponse:
        """Give up, confirm the deletion, or look again; what is too late says so."""
        rotation: Rotation = self.get_object(request, unquote(object_id))
        if not may_change(request.user):
            raise PermissionDenied
        if button not in ACTS:
            raise Http404
        try:
            with transaction.atomic():
                said = ACTS[button](request, rotation)
                record_act(request, rotation, button.replace("-", " "))
            messages.success(request, said)
        except RotationError as refused:
            messages.error(request, str(refused))
        return redirect("admin:keys_rotation_change", rotation.pk)


def _give_up(request: HttpRequest, rotation: Rotation) -> str:
    require_confirmation(request, GIVE_UP.format(rotation.place))
    rotating.give_up(rotation, by_of(request))
    return "Asked: the worker takes the way back before its next step."


def _confirm(request: HttpRequest, rotation: Rotation) -> str:
    require_confirmation(request, CONFIRM.format(rotation.place))
    rotating.confirm_deletion(rotation, by_of(request))
    return "Confirmed: the old key is deleted without a new one."


def _look(request: HttpRequest, rotation: Rotation) -> str:
    rotating.look_again(rotation)
    return LOOK


ACTS: dict[str, Callable[[HttpRequest, Rotation], str]] = {
    "give-up": _give_up,
    "confirm-deletion": _confirm,
    "look-again": _look,
}


class AccessForm(ConsoleForm):
    """IT notes who administers an entry in the secret manager; the other ways are noted by ChatGrid itself."""


@admin.register(KeyAccess, site=site)
class KeyAccessAdmin(ConsoleAdmin):
    """Who could have seen which secret."""

    form = AccessForm
    rows = ("entry", "entries")
    list_display = ("person", "secret", "how", "since")
    list_filter = ("how", DepartmentFilter)
    list_select_related = ("person", "department", "organization")
    search_fields = ("person__name", "person__email", "department__name")
    search_help_text = "Person or department"
    ordering = ("person__name", "department__name")
    autocomplete_fields = ("person",)
    fields = ("person", "department")
    actions = ("end_access",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_change(request.user) and obj is None  # the list offers an action; a row is never edited

    def get_actions(self, request: HttpRequest) -> Any:
        return super().get_actions(request) if may_change(request.user) else {}

    @admin.display(description="secret", ordering="department__name")
    def secret(self, row: KeyAccess) -> str:
        return str(row.department) if row.department else f"{row.organization}, admin key"

    def save_model(self, request: HttpRequest, obj: KeyAccess, form: Any, change: bool) -> None:
        obj.how = KeyAccess.How.VAULT
        organization = obj.department.organization if obj.department else viewer_of(request).organization
        if organization is None:
            raise PermissionDenied
        obj.organization = organization
        super().save_model(request, obj, form, change)

    @admin.action(description="They cannot see it any more: exchange what they saw", permissions=["change"])
    def end_access(self, request: HttpRequest, queryset: Any) -> None:
        rows = list(queryset.select_related("person", "department", "organization"))
        named = ", ".join(f"{row.person} ({self.secret(row)})" for row in rows[:5])
        confirmed = require_confirmation(request, f"End the access of {named}, and exchange what they could have seen.")
        rotations: list[Rotation] = []
        with transaction.atomic():
            for row in rows:
                record_act(request, row, "access to a secret ended")
                key_people.end_row(row, leaving(rotations, by_of(request), confirmed.reason))
        messages.success(request, f"Ended: {len(rows)}. Exchanges asked for: {len({one.pk for one in rotations})}.")
