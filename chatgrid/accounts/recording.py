"""Sign-ins, refusals, sign-outs and what becomes of second factors go into the record."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, cast

from allauth.mfa import signals
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from audit.events import Event
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from departments.http import client_address

# allauth's signal -> what it means here
FACTORS = {
    "authenticator_added": Event.SECOND_FACTOR_ADDED,
    "authenticator_removed": Event.SECOND_FACTOR_REMOVED,
    "authenticator_reset": Event.RECOVERY_CODES_MADE,
    "authenticator_used": Event.SECOND_FACTOR_USED,
    "authentication_failed": Event.SECOND_FACTOR_REFUSED,
}


def connect() -> None:
    """Called once, when the app is ready."""
    user_logged_in.connect(_signed_in, dispatch_uid="accounts.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="accounts.signed_out")
    user_login_failed.connect(_refused, dispatch_uid="accounts.refused")
    for name, event in FACTORS.items():
        getattr(signals, name).connect(partial(_factor, event), weak=False, dispatch_uid=f"accounts.{name}")


def record_taken_off(request: HttpRequest, person: User, details: dict[str, Any]) -> None:
    """IT took this person's second factor off, for a reason that stands in the details."""
    by = cast(User, request.user)
    entry = _entry(Event.SECOND_FACTOR_TAKEN_OFF, request, person, person=str(person), **details)
    record(replace(entry, actor_id=by.pk, actor_name=str(by), subject_kind="person", subject_id=str(person.pk)))


def _signed_in(sender: Any, request: HttpRequest | None, user: User, **_: Any) -> None:
    record(_entry(Event.SIGNED_IN, request, user))


def _signed_out(sender: Any, request: HttpRequest | None, user: User | None, **_: Any) -> None:
    if user is not None:
        record(_entry(Event.SIGNED_OUT, request, user))


def _refused(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    # what was typed as an address may be a password in the wrong box: only a known person is named
    typed = str(credentials.get("email") or credentials.get("username") or "").lower()
    record(_entry(Event.SIGN_IN_REFUSED, request, User.objects.filter(email=typed).first()))


def _factor(event: Event, sender: Any, request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    record(_entry(event, request, user, factor=str(authenticator.type)))


def _entry(event: Event, request: HttpRequest | None, user: User | None, **details: Any) -> Entry:
    organization = user.organization if user else None
    return Entry(
        event=event,
        organization_id=organization.pk if organization else None,
        organization_name=organization.name if organization else "",
        actor_id=user.pk if user else None,
        actor_name=str(user) if user else "",
        client_address=client_address(request) if request else "",
        details=details,
    )
