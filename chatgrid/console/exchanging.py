"""The buttons that exchange a secret: now, and in an emergency. Both ask for a fresh sign-in and a reason.

A button asks the rotator; the page shows what its rotation has written since. Nothing here reads or writes a secret.
"""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest

from chatgrid.console.fresh import require_confirmation
from chatgrid.console.recording import record_act
from chatgrid.console.scope import viewer_of
from departments.keys import triggers
from departments.keys.rotation import By
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_subjects import Subject

NOW = "Exchange the {} of {}. The old one stays for a day, in which it can be rolled back."
AT_ONCE = "Exchange the {} of {} as an emergency: the old one is ended as soon as there is a new one."
NAMES = {
    Rotation.What.KEY: "key",
    Rotation.What.ADMIN_KEY: "admin key",
    Rotation.What.STORE_PASSWORD: "store's password",
}


def by_of(request: HttpRequest) -> By:
    """Who asks, as a rotation keeps it."""
    viewer = viewer_of(request)
    return By(viewer.pk, str(viewer))


def exchange(request: HttpRequest, shown: Model, subject: Subject, *, emergency: bool) -> Rotation:
    """Ask for the exchange of this secret; `shown` is the object on whose page the button is.

    Raises ConfirmationNeeded, which the console answers with the page that asks for what is missing.
    """
    place = str(subject.department or subject.organization)
    sentence = (AT_ONCE if emergency else NOW).format(NAMES[Rotation.What(subject.what)], place)
    confirmed = require_confirmation(request, sentence)
    ask = triggers.suspect_leak if emergency else triggers.by_hand
    with transaction.atomic():
        rotation = ask(subject, by_of(request), confirmed.reason)
        action = "emergency exchange asked for" if emergency else "exchange asked for"
        record_act(request, shown, action, rotation=str(rotation.pk), what=subject.what)
    messages.success(request, f"Asked: the {NAMES[Rotation.What(subject.what)]} of {place} is being exchanged.")
    return rotation
