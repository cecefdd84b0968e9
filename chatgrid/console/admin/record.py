"""The record in the console: where its pages are. What they show is in chatgrid/console/record/.

Django's admin gives the gate, the frame and the addresses; its own list, forms, history and deletion are not routed,
because nothing here can be changed.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import path

from audit.models import AuditEvent
from chatgrid.console.admin.base import ConsoleAdmin
from chatgrid.console.record import charts, entry, listing, questions, seals, searches
from chatgrid.console.site import site


@admin.register(AuditEvent, site=site)
class AuditEventAdmin(ConsoleAdmin):
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[Any]:
        guarded = self.admin_site.admin_view
        return [
            path("", guarded(listing.list_events), name="audit_auditevent_changelist"),
            path("charts/", guarded(charts.show_charts), name="audit_auditevent_charts"),
            path("seals/", guarded(seals.show_seals), name="audit_auditevent_seals"),
            path("verify/", guarded(seals.verify_now), name="audit_auditevent_verify"),
            path("verifications/<uuid:run_id>/", guarded(seals.show_run), name="audit_auditevent_run"),
            path("questions/", guarded(questions.find_question), name="audit_auditevent_questions"),
            path("searches/", guarded(searches.save_search), name="audit_auditevent_search_save"),
            path(
                "searches/<uuid:search_id>/remove/",
                guarded(searches.remove_search),
                name="audit_auditevent_search_remove",
            ),
            path("<str:object_id>/change/", guarded(entry.show_event), name="audit_auditevent_change"),
            path("<str:object_id>/question/", guarded(entry.read_question), name="audit_auditevent_question"),
        ]
