"""Keys: where each department's key stands, and the way to a new one.

Rules:
- A page reads rows and the record, and never a value: fingerprint, age and last use tell keys apart.
- Pasting a key asks for a fresh sign-in first (pasting.py has the form's own rules).
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.timesince import timesince
from django.views.decorators.debug import sensitive_post_parameters

from chatgrid.console.admin.base import ConsoleAdmin, DepartmentFilter
from chatgrid.console.fresh import confirmed
from chatgrid.console.pasting import TAKEN, PasteKeyForm, hand_in
from chatgrid.console.scope import viewer_of, visible
from chatgrid.console.site import site
from departments.keys.models import KeyReference
from departments.models import Department

WITHOUT_A_KEY = 20


@admin.register(KeyReference, site=site)
class KeyReferenceAdmin(ConsoleAdmin):
    list_display = ("department", "state", "fingerprint", "age", "changed_at")
    list_filter = ("state", DepartmentFilter)
    list_select_related = ("department",)
    search_fields = ("department__name", "fingerprint")
    search_help_text = "Department or fingerprint"
    ordering = ("department__name",)
    fields = ("department", "state", "secret_name", "version", "fingerprint", "age", "created_at", "changed_at")
    readonly_fields = fields
    change_list_template = "admin/keys/keyreference/change_list.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # pasting makes the row

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="age", ordering="changed_at")
    def age(self, key: KeyReference) -> str:
        return timesince(key.changed_at, timezone.now(), depth=1)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        without = list(_departments(request).filter(key=None)[: WITHOUT_A_KEY + 1])
        named = {"without_key": without[:WITHOUT_A_KEY], "more_without_key": len(without) > WITHOUT_A_KEY}
        return super().changelist_view(request, named)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.paste_view)
        return [path("paste/", view, name="keys_keyreference_paste"), *super().get_urls()]

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


def _departments(request: HttpRequest) -> QuerySet[Department]:
    rows = Department.objects.filter(is_active=True).select_related("organization").order_by("name")
    return visible(rows, viewer_of(request))
