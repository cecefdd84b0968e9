"""A fresh sign-in and a reason: what every dangerous act in the console asks for before it happens.

Rules:
- Fresh means that this person proved who they are in this session within allauth's REAUTHENTICATION_TIMEOUT (300 s).
  A session that was left open, or stolen, cannot paste a key, take the record away or end somebody's access.
- An act says what it is where it happens: `require_confirmation(request, "Change the role of Bob")`. Where something is
  missing it raises `ConfirmationNeeded`; the transaction it was in ends, so nothing has happened yet.
- The form is not lost: it comes back, hidden, in a page that says what is about to happen and asks for the reason. An
  old sign-in is renewed first; meanwhile the form lies in the session, for `KEPT_SECONDS` at most.
- A secret is never carried: a form that holds one is opened with a fresh sign-in, has its own field for the reason, and
  is asked for again where the sign-in has grown old meanwhile.
- The reason and the moment of the sign-in go into the record with the act (`recording.record_act`).

Three ways to use it: `@confirmed("…")` on a view that is one dangerous act, `@fresh_sign_in` on a page that leads to
one, `require_confirmation` in the middle of a page of Django's admin (`ConsoleSite.admin_view` answers for it).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar, cast

from allauth.account import app_settings
from allauth.account.internal.flows import reauthentication
from allauth.account.internal.flows.login import get_authentication_records
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from chatgrid.accounts.second_factor import require_second_factor
from chatgrid.console.scope import may_change, may_enter

LONGEST_REASON = 200
KEPT_SECONDS = 600
UNKEPT = "Your sign-in had grown old. Fill in the form once more: what was in it was not kept, on purpose."
FILES_UNKEPT = "Your sign-in had grown old. Choose the file once more."
CALLBACK = "chatgrid.console.fresh.resume"
# what a page may hold beside its own fields; neither is carried over
OWN_FIELDS = frozenset({"csrfmiddlewaretoken", "reason", "confirming"})

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


@dataclass(frozen=True)
class Confirmed:
    """Why something is done, and when the person who does it last proved who they are (UTC)."""

    reason: str
    signed_in_at: datetime

    def details(self) -> dict[str, str]:
        """As it stands in the record."""
        return {"reason": self.reason, "signed_in_at": self.signed_in_at.isoformat(timespec="seconds")}


class ConfirmationNeeded(Exception):
    """An act was asked for without a fresh sign-in or without a reason. Nothing has been done.

    `act` is a sentence for the person; without one, only the sign-in is missing. `secret` names the fields of the form
    that must not be carried over.
    """

    def __init__(self, act: str = "", secret: Collection[str] = ()) -> None:
        super().__init__(act)
        self.act = act
        self.secret = frozenset(secret)


def signed_in_at(request: HttpRequest) -> datetime | None:
    """When this person last proved who they are in this session; None where it is not known."""
    moments = [record["at"] for record in get_authentication_records(request, cast(Any, request.user))]
    return datetime.fromtimestamp(max(moments), UTC) if moments else None


def is_fresh(request: HttpRequest) -> bool:
    moment = signed_in_at(request)
    return moment is not None and time.time() - moment.timestamp() < app_settings.REAUTHENTICATION_TIMEOUT


def reason_of(request: HttpRequest) -> str:
    """What the person wrote; a NUL, which no text of the database holds, is left out."""
    return request.POST.get("reason", "").replace("\x00", "").strip()[:LONGEST_REASON]


def require_fresh(request: HttpRequest, secret: Collection[str] = ()) -> None:
    """Raises ConfirmationNeeded unless the sign-in is fresh."""
    if not is_fresh(request):
        raise ConfirmationNeeded(secret=secret)


def require_confirmation(request: HttpRequest, act: str) -> Confirmed:
    """The reason and the sign-in behind this act, or ConfirmationNeeded."""
    confirmed = confirmation_of(request)
    if confirmed is None or not is_fresh(request):
        raise ConfirmationNeeded(act)
    return confirmed


def confirmation_of(request: HttpRequest) -> Confirmed | None:
    """What the person gave with this form, if they gave both; it does not say that the sign-in is fresh."""
    moment, reason = signed_in_at(request), reason_of(request)
    return Confirmed(reason, moment) if moment and reason and is_fresh(request) else None


def fresh_sign_in(view: View) -> View:
    """The page opens, and its form is taken, for IT with a fresh sign-in only."""

    def check(request: HttpRequest) -> None:
        _require(request, may_change)
        require_fresh(request)

    return _guarding(view, check)


def confirmed(
    act: str, *, secret: Collection[str] = (), allowed: Callable[[Any], bool] = may_change
) -> Callable[[View], View]:
    """The view is one dangerous act: it opens with a fresh sign-in, and its form is taken with a reason.

    Whoever is not `allowed` to do it at all is told so before they are asked for a password. With `secret` fields the
    form needs a required field `reason` of its own, because it cannot be carried to the page that would ask for it.
    """

    def check(request: HttpRequest) -> None:
        _require(request, allowed)
        if request.method in {"GET", "HEAD"} or secret:
            require_fresh(request, secret)
        else:
            require_confirmation(request, act)

    return lambda view: _guarding(view, check)


def _require(request: HttpRequest, allowed: Callable[[Any], bool]) -> None:
    if not allowed(request.user):
        raise PermissionDenied
    require_second_factor(request.user)


def _guarding(view: View, check: Callable[[HttpRequest], None]) -> View:
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> HttpResponseBase:
        request = next(each for each in args if isinstance(each, HttpRequest))  # second, in a method
        try:
            check(request)
            return view(*args, **kwargs)
        except ConfirmationNeeded as needed:
            return answer(request, needed)

    return cast(View, guarded)


def answer(request: HttpRequest, needed: ConfirmationNeeded) -> HttpResponse:
    """What the person sees instead: the sign-in first where it is old, then the page that asks for the reason."""
    if is_fresh(request):
        return _ask(request, request.get_full_path(), needed.act, _carried(request.POST, needed.secret))
    if not reauthentication.get_reauthentication_flows(request.user):
        # signed in by the company's own sign-in service, which we cannot ask from here
        return render(request, "errors/problem.html", _sign_in_anew(), status=403)
    if request.method == "POST" and not needed.secret and not request.FILES and needed.act:
        state = {
            "path": request.get_full_path(),
            "act": needed.act,
            "form": _carried(request.POST, needed.secret),
            "reason": reason_of(request),
            "at": time.time(),
        }
        return cast(HttpResponse, reauthentication.stash_and_reauthenticate(request, state, CALLBACK))
    return _sign_in_and_come_back(request)


def resume(request: HttpRequest, state: Mapping[str, Any]) -> HttpResponse:
    """allauth calls this when the sign-in has been renewed: the same form again, with what it is about to do."""
    if not may_enter(request.user) or time.time() - state["at"] > KEPT_SECONDS:
        return redirect("admin:index")
    return _ask(request, state["path"], state["act"], state["form"], state["reason"])


def _sign_in_and_come_back(request: HttpRequest) -> HttpResponse:
    # a form that somebody left lying must not come up after a sign-in for something else
    request.session.pop(reauthentication.STATE_SESSION_KEY, None)
    if request.method == "POST":
        messages.warning(request, FILES_UNKEPT if request.FILES else UNKEPT)
    back = urlencode({REDIRECT_FIELD_NAME: request.get_full_path()})
    return HttpResponseRedirect(f"{reverse('account_reauthenticate')}?{back}")


def _carried(form: Any, secret: frozenset[str]) -> list[tuple[str, str]]:
    left_out = OWN_FIELDS | secret
    return [(name, value) for name, values in form.lists() if name not in left_out for value in values]


def _ask(request: HttpRequest, path: str, act: str, form: Any, reason: str = "") -> TemplateResponse:
    from chatgrid.console.site import site  # the site asks this module to answer for its pages

    context = {
        **site.each_context(request),
        "title": "Confirm",
        "act": act,
        "path": path,
        "form": form,
        "reason": reason or reason_of(request),
        "longest_reason": LONGEST_REASON,
        "missing": bool(request.POST.get("confirming")) and not reason_of(request),
    }
    return TemplateResponse(request, "console/confirm.html", context)


def _sign_in_anew() -> dict[str, str]:
    return {
        "title": "Sign in again first",
        "sentence": "This needs a sign-in of the last five minutes. Sign out, sign in again, and repeat it.",
    }
