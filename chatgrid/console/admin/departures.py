"""Departures: who was made to leave at once, and for each the receipt. Nothing here can be changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from chatgrid.console.admin.base import ConsoleAdmin
from chatgrid.console.leaving import WITHIN, Receipt
from chatgrid.console.models import Departure
from chatgrid.console.site import site


@admin.register(Departure, site=site)
class DepartureAdmin(ConsoleAdmin):
    empty = "Nobody was made to leave at once. The button for it is on a person’s page."
    list_display = ("person", "at", "by_name", "reason", "sessions_ended")
    list_filter = ("at",)
    list_select_related = ("person",)
    search_fields = ("person__name", "person__email", "reason")
    search_help_text = "Person or reason"
    fields = readonly_fields = ("person", "at", "by_name", "reason")
    change_form_template = "admin/console/departure/receipt.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # made by "Leave now" on a person's page

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        departure: Departure = self.get_object(request, object_id or "")
        receipt = Receipt(departure)
        shown = {"receipt": receipt, "within": round(WITHIN.total_seconds()), "title": f"{departure.person} has left"}
        return super().changeform_view(request, object_id, form_url, {**shown, **(extra_context or {})})
