"""The console itself: Django's admin with our gate, our navigation and our home page.

Rules:
- Nobody signed in goes to the product's own sign-in; there is no second one. Somebody else's role gets 403.
- A dangerous act in the middle of a page asks for a fresh sign-in and a reason here (chatgrid/console/fresh.py).
- A key in a field that is for something else is refused before a view sees it (chatgrid/misplaced.py).
- Every view of the console is stamped with its access rule here, so none can be forgotten.
- What Django's site offers beside (its password pages, its jump to any object's address) is not routed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.views.decorators.http import require_POST

from chatgrid.accounts.second_factor import require_second_factor
from chatgrid.console import facts
from chatgrid.console.asking import ask
from chatgrid.console.fresh import ConfirmationNeeded, answer
from chatgrid.console.home import summary, tiles_for
from chatgrid.console.live_views import live_page, pause_department, resume_department, stop_call
from chatgrid.console.navigation import sections_for
from chatgrid.console.proofs import CHECKS
from chatgrid.console.prove import ask_for
from chatgrid.console.scope import may_change, may_enter, viewer_of
from chatgrid.console.tasks import prove_control
from departments.http import AccessRule, public

CHECKING = "Being checked. The tile says when it is done."
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
            require_second_factor(request.user)
            if any("\x00" in text for name, texts in request.GET.lists() for text in (name, *texts)):
                raise BadRequest("An address of the console holds no NUL.")  # no text of the database does
            try:
                return inner(request, *args, **kwargs)
            except ConfirmationNeeded as needed:
                return answer(request, needed)

        return guarded

    def get_urls(self) -> list[Any]:
        own = [
            path("check/<int:control>/", require_POST(self.admin_view(self.check_now)), name="check_control"),
            path("live/", self.admin_view(live_page), name="live"),
            path("live/stop/<uuid:call_id>/", require_POST(self.admin_view(stop_call)), name="live_stop"),
            *(
                path(f"live/{name}/<uuid:department_id>/", require_POST(self.admin_view(view)), name=f"live_{name}")
                for name, view in (("pause", pause_department), ("resume", resume_department))
            ),
        ]
        urls = own + [entry for entry in super().get_urls() if getattr(entry, "name", None) not in NOT_OFFERED]
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
        viewer = viewer_of(request)
        tiles = tiles_for(viewer)
        shown = {
            "tiles": tiles,
            "summary": summary(tiles),
            "awaited": any(tile.is_awaited for tile in tiles),
            "people": facts.people(viewer),
            "latest": facts.latest(viewer),
        }
        return super().index(request, {**shown, **(extra_context or {})})

    def check_now(self, request: HttpRequest, control: int) -> HttpResponse:
        """Ask a worker to look at one control; the tile says so until it has."""
        organization = viewer_of(request).organization
        if not may_change(request.user) or organization is None:
            raise PermissionDenied
        if control not in {check.control for check in CHECKS.values()}:
            raise Http404
        ask_for(organization, control)
        ask(request, prove_control, str(organization.pk), control, said=CHECKING)
        return redirect("admin:index")

    def app_index(self, request: HttpRequest, app_label: str, extra_context: Any = None) -> Any:
        """Django's applications are not how IT looks at ChatGrid: the home page groups by control."""
        return redirect("admin:index")

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        return {**context, "sections": sections_for(request), "can_change_console": may_change(request.user)}

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        return []  # the frame and the home page have their own navigation


def _patterns(entries: Sequence[Any]) -> Iterator[URLPattern]:
    for entry in entries:
        if isinstance(entry, URLResolver):
            yield from _patterns(entry.url_patterns)
        else:
            yield entry


site = ConsoleSite(name="admin")
