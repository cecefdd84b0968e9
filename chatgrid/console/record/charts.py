"""Charts of the record: calls, tokens or cost by day, department, model and person.

Rules:
- They are drawn from sums (audit/rollups.py), never from events: a year of ten million events is a few queries.
- What is shown was sealed, and the page says up to which seal; days are UTC.
- Each name narrows the charts to itself, and the list of events is one click away with the same filters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from audit import rollups
from audit.models import AuditEvent, AuditSeal
from audit.rollups import By, Order, Scope, Sum
from chatgrid.accounts.models import User
from chatgrid.console.charts import DOLLARS, Chart, Entry, Number, Series, columns, in_full, ranking
from chatgrid.console.record.filters import date_field, known_models, people_named
from chatgrid.console.scope import viewer_of, visible
from chatgrid.console.site import site
from departments.models import Department, Organization

DAYS = 30
LONGEST = 800
MOST_DAYS = 186  # more are drawn as months
MOST = 20


class Measure(StrEnum):
    TOKENS = "tokens"
    CALLS = "calls"
    COST = "cost"


@dataclass(frozen=True)
class Kind:
    """How a measure is drawn: its parts, each with what it takes from a sum, and what the largest come first by."""

    unit: str
    order: Order
    parts: Sequence[tuple[str, Callable[[Sum], Number]]]


KINDS: dict[Measure, Kind] = {
    Measure.TOKENS: Kind(
        "tokens",
        Order.TOKENS,
        [
            ("In", lambda each: max(0, each.tokens_input - each.tokens_cached)),
            ("In, cached", lambda each: min(each.tokens_cached, each.tokens_input)),
            ("Out", lambda each: each.tokens_output),
        ],
    ),
    Measure.CALLS: Kind(
        "calls", Order.CALLS, [("Made", lambda each: each.calls), ("Refused", lambda each: each.refused)]
    ),
    Measure.COST: Kind(DOLLARS, Order.COST, [("Cost", lambda each: each.cost)]),
}
CHOICES = [(Measure.TOKENS, "Tokens"), (Measure.CALLS, "Calls"), (Measure.COST, "Cost")]


class ChartsForm(forms.Form):
    """What is drawn, read from the address. Without days: the last thirty."""

    of = forms.ChoiceField(label="Show", choices=CHOICES, required=False)
    since = date_field("From")
    until = date_field("To")
    department = forms.ModelChoiceField(Department.objects.none(), required=False, empty_label="Every department")
    person = forms.CharField(required=False, max_length=254, help_text="A name, an address or an id.")
    model = forms.ChoiceField(required=False)

    def __init__(self, data: Any, viewer: User, organization: Organization) -> None:
        super().__init__(data, label_suffix="")
        self.viewer, self.organization = viewer, organization
        own = Department.objects.filter(organization=organization).order_by("name")
        self.fields["department"].queryset = own  # type: ignore[attr-defined]
        names = {*known_models(viewer), *filter(None, [str(self.data.get("model", ""))])}
        self.fields["model"].choices = [("", "Every model"), *((name, name) for name in sorted(names))]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        until = given.get("until") or timezone.now().date()
        since = given.get("since") or until - timedelta(days=DAYS - 1)
        if since > until:
            raise forms.ValidationError("The first day comes after the last one.")
        if (until - since).days > LONGEST:
            raise forms.ValidationError(f"Choose {LONGEST} days at most.")
        people = people_named(given["person"], self.viewer) if given.get("person") else []
        if given.get("person") and len(people) != 1:
            self.add_error("person", "Nobody is called that." if not people else "Several people are called that.")
        return {**given, "since": since, "until": until, "actor_id": people[0] if people else None}

    @property
    def measure(self) -> Measure:
        return Measure(self.cleaned_data["of"] or Measure.TOKENS)

    def scope(self) -> Scope:
        given = self.cleaned_data
        return Scope(
            organization_id=self.organization.pk,
            since=given["since"],
            until=given["until"],
            department_id=given["department"].pk if given["department"] else None,
            actor_id=given["actor_id"],
            model=given["model"],
        )

    def address(self, **changed: Any) -> str:
        """The page with these filters and others instead of some of them."""
        return "?" + urlencode({**{name: self.data[name] for name in self.fields if self.data.get(name)}, **changed})


@require_safe
def show_charts(request: HttpRequest) -> HttpResponse:
    """The page; an operator, who belongs to no organization, looks at one that they name."""
    viewer = viewer_of(request)
    organization = viewer.organization or visible(Organization.objects.order_by("name"), viewer).first()
    context = {**site.each_context(request), "title": "Charts", "tab": "charts", "organization": organization}
    if organization is not None:
        form = ChartsForm(request.GET, viewer, organization)
        context |= {"form": form, **(_drawn(form) if form.is_valid() else {})}
    return TemplateResponse(request, "console/record/charts.html", context)


def _drawn(form: ChartsForm) -> dict[str, Any]:
    scope, measure = form.scope(), form.measure
    with connection.cursor() as cursor:
        days = rollups.sums(cursor, scope, By.DAY)
        order = KINDS[measure].order
        largest = {
            by: rollups.sums(cursor, scope, by, order=order, most=MOST) for by in (By.DEPARTMENT, By.MODEL, By.PERSON)
        }
        state = rollups.state(cursor)
    newest = AuditSeal.objects.order_by("-n").values_list("n", flat=True).first() or 0
    return {
        "charts": [
            by_day(measure, scope, days),
            _ranked(form, "department", largest[By.DEPARTMENT], department_names(form, largest[By.DEPARTMENT])),
            _ranked(form, "model", largest[By.MODEL], {each.key: each.key for each in largest[By.MODEL]}),
            _ranked(form, "person", largest[By.PERSON], person_names(form, largest[By.PERSON])),
        ],
        "totals": _totals(days),
        "scope": scope,
        "state": state,
        "missing": max(0, newest - state.seal),
        "most": MOST,
        "events_url": f"{reverse('admin:audit_auditevent_changelist')}{_same_in_the_list(form, scope)}",
    }


def by_day(measure: Measure, scope: Scope, sums: Sequence[Sum]) -> Chart:
    """A column a day, days without calls too; a month where there are too many days."""
    kind = KINDS[measure]
    days = [scope.since + timedelta(days=number) for number in range((scope.until - scope.since).days + 1)]
    by_month = len(days) > MOST_DAYS
    labels = list(dict.fromkeys(_label(day, by_month) for day in days))
    series = [Series(name, _added(labels, sums, take, by_month)) for name, take in kind.parts]
    word = "month" if by_month else "day"
    return columns(f"{measure.capitalize()} by {word}", labels, series, unit=kind.unit, first_column=word.capitalize())


def _label(day: date, by_month: bool) -> str:
    return f"{day:%Y-%m}" if by_month else day.isoformat()


def _added(
    labels: Iterable[str], sums: Iterable[Sum], take: Callable[[Sum], Number], by_month: bool
) -> list[Number | None]:
    found: dict[str, Any] = dict.fromkeys(labels, 0)
    for each in sums:
        found[_label(each.key, by_month)] += take(each)
    return list(found.values())


def _ranked(form: ChartsForm, what: str, sums: Sequence[Sum], names: dict[Any, str]) -> Chart:
    measure = form.measure
    kind = KINDS[measure]
    entries = [
        Entry(
            names.get(each.key) or f"No {what}",
            [take(each) for _, take in kind.parts],
            form.address(**{what: each.key}) if each.key else "",
        )
        for each in sums
        if any(take(each) for _, take in kind.parts)
    ]
    title = f"{measure.capitalize()} by {what}"
    return ranking(title, [name for name, _ in kind.parts], entries, unit=kind.unit, first_column=what.capitalize())


def department_names(form: ChartsForm, sums: Sequence[Sum]) -> dict[Any, str]:
    own = Department.objects.filter(organization=form.organization, pk__in=[each.key for each in sums if each.key])
    return _with_those_gone(form, "department", dict(own.values_list("pk", "name")), sums)


def person_names(form: ChartsForm, sums: Sequence[Sum]) -> dict[Any, str]:
    own = User.objects.filter(organization=form.organization, pk__in=[each.key for each in sums if each.key])
    return _with_those_gone(form, "actor", {person.pk: str(person) for person in own}, sums)


def _with_those_gone(form: ChartsForm, what: str, names: dict[UUID, str], sums: Sequence[Sum]) -> dict[Any, str]:
    """The names known, and for those who are gone the name that the record last saw."""
    for key in [each.key for each in sums if each.key and each.key not in names]:
        seen = AuditEvent.objects.filter(organization_id=form.organization.pk, **{f"{what}_id": key}).order_by("-at")
        names[key] = seen.values_list(f"{what}_name", flat=True).first() or str(key)
    return names


def _totals(days: Sequence[Sum]) -> list[tuple[str, str]]:
    def added(name: str) -> int:
        return sum(getattr(each, name) for each in days)

    cost = sum((each.cost for each in days), Decimal())
    return [
        ("Calls", f"{added('calls'):,}"),
        ("Refused", f"{added('refused'):,}"),
        ("Tokens in", f"{added('tokens_input'):,}"),
        ("of these cached", f"{added('tokens_cached'):,}"),
        ("Tokens out", f"{added('tokens_output'):,}"),
        ("Cost", in_full(cost, DOLLARS)),
        ("Counted by us, not by the provider", f"{added('estimated'):,} calls"),
    ]


def _same_in_the_list(form: ChartsForm, scope: Scope) -> str:
    chosen = {"since": scope.since, "until": scope.until, "department": scope.department_id, "person": scope.actor_id}
    return "?" + urlencode({name: value for name, value in {**chosen, "model": scope.model}.items() if value})
