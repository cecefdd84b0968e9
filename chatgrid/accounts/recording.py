"""Sign-ins, refusals and sign-outs go into the record."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from audit.events import Event
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from departments.http import client_address


def connect() -> None:
    """Called once, when the app is ready."""
    user_logged_in.connect(_signed_in, dispatch_uid="accounts.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="accounts.signed_out")
    user_login_failed.connect(_refused, dispatch_uid="accounts.refused")


def _signed_in(sender: Any, request: HttpRequest | None, user: User, **_: Any) -> None:
    record(_entry(Event.SIGNED_IN, request, user))


def _signed_out(sender: Any, request: HttpRequest | None, user: User | None, **_: Any) -> None:
    if user is not None:
        record(_entry(Event.SIGNED_OUT, request, user))


def _refused(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    # what was typed as an address may be a password in the wrong box: only a known person is named
    typed = str(credentials.get("email") or credentials.get("username") or "").lower()
    record(_entry(Event.SIGN_IN_REFUSED, request, User.objects.filter(email=typed).first()))


def _entry(event: Event, request: HttpRequest | None, user: User | None) -> Entry:
    organization = user.organization if user else None
    return Entry(
        event=event,
        organization_id=organization.pk if organization else None,
        organization_name=organization.name if organization else "",
        actor_id=user.pk if user else None,
        actor_name=str(user) if user else "",
        client_address=client_address(request) if request else "",
    )
