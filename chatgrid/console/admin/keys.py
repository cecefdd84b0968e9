"""Keys: where each department's key stands, what is under way with it, and the ways to a new one.

Rules:
- A page reads rows and the record, and never a value: fingerprint, age and last use tell keys apart.
- Pasting and exchanging ask for a fresh sign-in and a reason (pasting.py, exchanging.py).
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.timesince import timesince
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from chatgrid.console.admin.base import ConsoleAdmin, DepartmentFilter
from chatgrid.console.exchanging import exchange
from chatgrid.console.fresh import confirmed
from chatgrid.console.pasting import TAKEN, PasteKeyForm, hand_in
from chatgrid.console.scope import viewer_of, visible
from chatgrid.console.site import site
from departments.keys.models import KeyReference
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_subjects import key_of, store_password_of
from departments.keys.standing import next_rotation, standing_of
from departments.models import Department

WITHOUT_A_KEY = 20
# the ends of the buttons' addresses: what is exchanged, and whether at once
BUTTONS = {
    "rotate": (key_of, False),
    "emergency": (key_of, True),
    "rotate-store": (store_password_of, False),
    "emergency-store": (store_password_of, True),
}


@admin.register(KeyReference, site=site)
class KeyReferenceAdmin(ConsoleAdmin):
    list_display = ("department", "state", "project_id", "fingerprint", "age", "next_exchange", "under_way")
    list_filter = ("state", DepartmentFilter)
    list_select_related = ("department",)
    search_fields = ("department__name", "fingerprint", "project_id")
    search_help_text = "Department, project or fingerprint"
    ordering = ("department__name",)
    fields = (
        "department",
        "project_id",
        "key_id",
        "service_account_id",
        "secret_name",
        "version",
        "created_at",
    )
    readonly_fields = fields
    change_list_template = "admin/keys/keyreference/change_list.html"
    change_form_template = "admin/keys/keyreference/change_form.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # pasting makes the row

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[KeyReference]:
        under_way = Rotation.objects.filter(what=Rotation.What.KEY, closed_at=None)
        rows: QuerySet[KeyReference] = super().get_queryset(request)
        return rows.prefetch_related(Prefetch("department__rotations", under_way, to_attr="exchanges_open"))

    @admin.display(description="age", ordering="installed_at")
    def age(self, key: KeyReference) -> str:
        return timesince(key.installed_at, timezone.now(), depth=1)

    @admin.display(description="next exchange")
    def next_exchange(self, key: KeyReference) -> str:
        return f"{next_rotation(key):%Y-%m-%d}"

    @admin.display(description="under way")
    def under_way(self, key: KeyReference) -> str:
        rotation = next(iter(key.department.exchanges_open), None)  # type: ignore[attr-defined]
        return rotation.get_step_display() if rotation else "-"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        without = list(_departments(request).filter(key=None)[: WITHOUT_A_KEY + 1])
        named = {"without_key": without[:WITHOUT_A_KEY], "more_without_key": len(without) > WITHOUT_A_KEY}
        return super().changelist_view(request, named)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        key: KeyReference = self.get_object(request, unquote(object_id or ""))
        department = Department.objects.select_related("organization").get(pk=key.department_id)
        password = store_password_of(department)
        shown = {
            "standing": standing_of(department),
            "subtitle": f"The key of {department}",
            "password_rotations": list(password.rotations()[:5]) if department.store_ready else [],
            "store_department": department if department.store_ready else None,
        }
        return super().changeform_view(request, object_id, form_url, {**shown, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        paste = self.admin_site.admin_view(self.paste_view)
        button = require_POST(self.admin_site.admin_view(self.button_view))
        return [
            path("paste/", paste, name="keys_keyreference_paste"),
            path("<path:object_id>/ask/<slug:button>/", button, name="keys_keyreference_ask"),
            *super().get_urls(),
        ]

    @confirmed("Exchange a department’s key.", secret=["key"])
    @method_decorator(sensitive_post_parameters("key"))
    def paste_view(self, request: HttpRequest) -> HttpResponse:
        """The form for a new key, and what it does."""
        departments = _departments(request)
        form = PasteKeyForm(departments, request.POST or None, initial={"department": request.GET.get("department")})
        if form.is_valid() and hand_in(request, department := form.cleaned_data["department"], form):
            messages.success(request, TAKEN.format(department))
            return redirect("admin:keys_keyreference_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": "Paste a key",
            "opts": self.opts,
            "form": form,
        }
        return TemplateResponse(request, "admin/keys/keyreference/paste.html", context)

    def button_view(self, request: HttpRequest, object_id: str, button: str) -> HttpResponse:
        """Exchange now, or in an emergency: the key, or the password of the store."""
        key: KeyReference = self.get_object(request, unquote(object_id))
        if not super().has_change_permission(request, key):
            raise PermissionDenied
        department = Department.objects.select_related("organization").get(pk=key.department_id)
        if button not in BUTTONS or ("store" in button and not department.store_ready):
            raise Http404
        of, emergency = BUTTONS[button]
        exchange(request, key, of(department), emergency=emergency)
        return redirect("admin:keys_keyreference_change", key.pk)


def _departments(request: HttpRequest) -> QuerySet[Department]:
    rows = Department.objects.filter(is_active=True).select_related("organization").order_by("name")
    return visible(rows, viewer_of(request))
