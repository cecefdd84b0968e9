"""The console itself: Django's admin with our gate, our navigation and our home page.

Rules:
- Nobody signed in goes to the product's own sign-in; there is no second one. Somebody else's role gets 403.
- A dangerous act in the middle of a page asks for a fresh sign-in and a reason here (chatgrid/console/fresh.py).
- Every view of the console is stamped with its access rule here, so none can be forgotten.
- What Django's site offers beside (its password pages, its jump to any object's address) is not routed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, reverse

from audit.models import AuditEvent
from chatgrid.accounts.models import User
from chatgrid.console.fresh import ConfirmationNeeded, answer
from chatgrid.console.home import tiles_for
from chatgrid.console.scope import may_change, may_enter, viewer_of
from departments.calls.models import CatalogueModel
from departments.http import AccessRule, public
from departments.keys.models import Finding, KeyReference, ProviderProject
from departments.limits.models import Limit
from departments.models import Department, Membership, Organization

# one entry a control: its name, its icon, its pages
CONTROLS: Sequence[tuple[str, str, tuple[type[Model], ...]]] = (
    ("People", "people", (User, Membership)),
    ("Departments", "files", (Department, Organization)),
    ("Keys", "lock", (KeyReference, ProviderProject, Finding)),
    ("Limits", "clock", (Limit,)),
    ("Record", "check", (AuditEvent,)),
    ("Models", "chat", (CatalogueModel,)),
)
NOT_OFFERED = {"logout", "password_change", "password_change_done", "view_on_site"}


class ConsoleSite(AdminSite):
    site_header = site_title = "ChatGrid console"
    index_title = "Console"
    index_template = "admin/index.html"
    enable_nav_sidebar = False  # ours is in the frame

    def has_permission(self, request: HttpRequest) -> bool:
        return may_enter(request.user)

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        inner = super().admin_view(view, cacheable)

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if not self.has_permission(request):
                raise PermissionDenied
            try:
                return inner(request, *args, **kwargs)
            except ConfirmationNeeded as needed:
                return answer(request, needed)

        return guarded

    def get_urls(self) -> list[Any]:
        urls = [entry for entry in super().get_urls() if getattr(entry, "name", None) not in NOT_OFFERED]
        for pattern in _patterns(urls):
            if pattern.name == "login":  # the one door, stamped below
                continue
            pattern.callback.admin_site = self  # type: ignore[attr-defined]
            pattern.callback.access_rule = AccessRule.PERSON  # type: ignore[attr-defined]
        return urls

    @public
    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The product's sign-in page, and back to where the person wanted to go."""
        if may_enter(request.user):
            return redirect("admin:index")
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"))

    def index(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        return super().index(request, {"tiles": tiles_for(viewer_of(request)), **(extra_context or {})})

    def app_index(self, request: HttpRequest, app_label: str, extra_context: Any = None) -> Any:
        """Django's applications are not how IT looks at ChatGrid: the home page groups by control."""
        return redirect("admin:index")

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        return {**context, "controls": self._controls(request), "can_change_console": may_change(request.user)}

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        return []  # the frame and the home page have their own navigation

    def _controls(self, request: HttpRequest) -> list[dict[str, Any]]:
        return [
            {"name": name, "icon": icon, "pages": [self._page(request, model) for model in models]}
            for name, icon, models in CONTROLS
        ]

    def _page(self, request: HttpRequest, model: type[Model]) -> dict[str, Any]:
        options = model._meta
        address = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
        return {
            "name": str(options.verbose_name_plural).capitalize(),
            "url": address,
            "is_current": request.path.startswith(address),
        }


def _patterns(entries: Sequence[Any]) -> Iterator[URLPattern]:
    for entry in entries:
        if isinstance(entry, URLResolver):
            yield from _patterns(entry.url_patterns)
        else:
            yield entry


site = ConsoleSite(name="admin")
