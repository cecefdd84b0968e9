"""Which events a page of the record shows: the form in the page's address, and what it means for the database.

Rules:
- Every filter is one that an index answers; text is not searched.
- A person is found by name or address in the viewer's own organization; an id finds also somebody who is gone.
- Days and times are UTC, as they are stored; the last day is included.
- What cannot be understood shows nothing and says why, rather than everything.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import connection
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit import rollups
from audit.events import Event
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from chatgrid.console.scope import visible
from departments.models import Department

MOST_PEOPLE = 50
EARLIEST, LATEST_DAY = date(2000, 1, 1), date(2199, 12, 31)
NO_SUCH_DAY = "Choose a day from 2000 to 2199."
MODELS_OF_DAYS = 400
PERIODS = [
    ("", "Any time"),
    ("hour", "Last hour"),
    ("day", "Last 24 hours"),
    ("week", "Last 7 days"),
    ("month", "Last 30 days"),
    ("quarter", "Last 90 days"),
]
LENGTHS = {"hour": 1 / 24, "day": 1, "week": 7, "month": 30, "quarter": 90}
GROUPS = {
    "call": "Calls",
    "account": "Sign-ins",
    "document": "Documents",
    "conversation": "Conversations",
    "secret": "Secrets",
    "rotation": "Rotation of keys",
    "key": "Access to keys",
    "project": "Projects at the provider",
    "drift": "Differences at the provider",
    "store": "Stores",
    "admin": "Console",
    "limit": "Limits",
    "record": "The record",
    "department": "Departments",
    "trial": "Trials of a department’s rules",
    "provider": "OpenAI’s own log",
}


def event_choices() -> list[tuple[str, list[tuple[str, str]]]]:
    """Every event with its sentence, by what it is about."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, sentence in Event.choices:
        found.setdefault(name.partition(":")[0], []).append((name, sentence))
    return [(GROUPS.get(subject, subject.capitalize()), choices) for subject, choices in found.items()]


def date_field(label: str) -> forms.DateField:
    """A day of the record. The calendar's first and last ones have no day before or after them to count with."""
    within = [MinValueValidator(EARLIEST, NO_SUCH_DAY), MaxValueValidator(LATEST_DAY, NO_SUCH_DAY)]
    shown = forms.DateInput(attrs={"type": "date"})
    return forms.DateField(label=label, required=False, widget=shown, validators=within)


class RecordForm(forms.Form):
    """The filters of the list, read from the address."""

    period = forms.ChoiceField(choices=PERIODS, required=False)
    since = date_field("From")
    until = date_field("To")
    event = forms.ChoiceField(required=False)
    department = forms.ModelChoiceField(Department.objects.none(), required=False, empty_label="Every department")
    person = forms.CharField(required=False, max_length=254, help_text="A name, an address or an id.")
    model = forms.ChoiceField(required=False)
    q = forms.CharField(label="Id", required=False, max_length=200, help_text="Of an event, a call or a thing.")

    def __init__(self, data: Any, viewer: User) -> None:
        super().__init__(data, label_suffix="")
        self.viewer = viewer
        self.fields["event"].choices = [("", "Every event"), *event_choices()]  # type: ignore[attr-defined]
        self.fields["department"].queryset = visible(Department.objects.order_by("name"), viewer)  # type: ignore[attr-defined]
        self.fields["model"].choices = [("", "Every model"), *self._models()]  # type: ignore[attr-defined]

    def _models(self) -> list[tuple[str, str]]:
        asked = str(self.data.get("model", ""))
        names = known_models(self.viewer)
        return [(name, name) for name in (names if asked in {"", *names} else [*names, asked])]

    @property
    def chosen(self) -> dict[str, str]:
        """The filters that narrow something, as they stand in the address."""
        return {name: str(self.data[name]) for name in self.fields if self.data.get(name)}

    def narrow(self, rows: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        """The rows that the filters leave; `rows` are the viewer's own already. Only after `is_valid`."""
        wanted = self.cleaned_data
        if wanted["event"]:
            rows = rows.filter(event=wanted["event"])
        if wanted["model"]:
            rows = rows.filter(model_asked=wanted["model"])
        if wanted["department"]:
            rows = rows.filter(department_id=wanted["department"].pk)
        if wanted["person"]:
            rows = rows.filter(actor_id__in=people_named(wanted["person"], self.viewer))
        if wanted["q"]:
            rows = _about(rows, wanted["q"].strip())
        return self._in_time(rows)

    def _in_time(self, rows: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        wanted = self.cleaned_data
        days = LENGTHS.get(wanted["period"])
        if days:
            rows = rows.filter(at__gte=timezone.now() - timedelta(days=days))
        if wanted["since"]:
            rows = rows.filter(at__gte=begin_of(wanted["since"]))
        if wanted["until"]:
            rows = rows.filter(at__lt=begin_of(wanted["until"] + timedelta(days=1)))
        return rows


def people_named(text: str, viewer: User) -> list[UUID]:
    """The ids of the people of the viewer's organization whose name or address this is a part of; or the id itself."""
    wanted = as_uuid(text)
    if wanted is not None:
        return [wanted]
    named = Q(name__icontains=text.strip()) | Q(email__icontains=text.strip())
    return list(visible(User.objects.filter(named), viewer).values_list("pk", flat=True)[:MOST_PEOPLE])


def known_models(viewer: User) -> list[str]:
    """The models that the viewer's organization has asked, from the sums: no event is read for it."""
    if viewer.organization_id is None:
        return []
    with connection.cursor() as cursor:
        return rollups.models(cursor, viewer.organization_id, timezone.now().date() - timedelta(days=MODELS_OF_DAYS))


def begin_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def _about(rows: QuerySet[AuditEvent], text: str) -> QuerySet[AuditEvent]:
    """The event, the call, the person's events or the thing's: the first of them that there is. Each has its index."""
    wanted = as_uuid(text)
    for column in ("pk", "call_id", "actor_id") if wanted else ():
        found = rows.filter(**{column: wanted})
        if found.exists():
            return found
    return rows.filter(subject_id=str(wanted or text))
