"""What IT did to one object, from the record, as the object's history tells it: fields by the names of their page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from django.utils.text import capfirst

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from chatgrid.console.recording import KINDS, Values
from chatgrid.console.scope import visible

MOST_ACTS = 100
BEHIND = re.compile(r" \([0-9a-f-]{36}\)$")  # the id behind a name


@dataclass(frozen=True)
class Act:
    """What somebody did to an object, as its history tells it."""

    event: AuditEvent
    lines: list[str]
    reason: str

    @classmethod
    def of(cls, event: AuditEvent, model: type[Model]) -> Act:
        before, after = event.details.get("before", {}), event.details.get("after", {})
        names = [name for name in {**before, **after} if name != "reason"]
        lines = [_difference(label_of(model, name), before, after, name) for name in names]
        return cls(event, lines, event.details.get("reason") or after.get("reason") or "")


def label_of(model: type[Model], name: str) -> str:
    """A field as its page calls it; the record may hold one that a newer version does not have."""
    try:
        return capfirst(str(model._meta.get_field(name).verbose_name))  # type: ignore[union-attr]
    except FieldDoesNotExist:
        return name


def _difference(label: str, before: Values, after: Values, name: str) -> str:
    if name not in before:
        return f"{label}: {_told(after[name])}"
    return f"{label}: {_told(before[name])} → {_told(after[name]) if name in after else 'gone'}"


def _told(value: Any) -> str:
    """A value of the record: a number with its thousands, yes and no, a name without the id behind it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in {None, ""} if not isinstance(value, list | dict) else not value:
        return "none"
    return f"{value:,}" if isinstance(value, int) else BEHIND.sub("", str(value))


def history_of(viewer: User, obj: Model) -> list[Act]:
    """The newest first, `MOST_ACTS` at most."""
    about = AuditEvent.objects.filter(
        event=Event.ADMIN_CHANGED, subject_kind=KINDS[type(obj)].name, subject_id=str(obj.pk)
    )
    return [Act.of(event, type(obj)) for event in visible(about, viewer).order_by("-at")[:MOST_ACTS]]
