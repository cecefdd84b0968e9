"""Organizations: IT sees its own; the platform's operator sees all and adds one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from chatgrid.console.admin.base import ConsoleAdmin
from chatgrid.console.scope import viewer_of
from chatgrid.console.site import site
from departments.models import Organization


@admin.register(Organization, site=site)
class OrganizationAdmin(ConsoleAdmin):
    list_display = ("name", "time_zone", "created_at")
    search_fields = ("name", "slug")
    fields = ("name", "slug", "time_zone", "admins_paste_keys")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return viewer_of(request).is_superuser

    def get_readonly_fields(self, request: HttpRequest, obj: Organization | None = None) -> tuple[str, ...]:
        # keys lie in the secret manager under the slug: another slug would lose them
        return ("slug",) if obj else ()
