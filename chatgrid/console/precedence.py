"""Which limits hold for a person, and where each comes from: the rule of `Limit`, told for one person.

Of a person's ceilings the nearest counts: their own in the department, their own anywhere (where there are both, both
hold), the department's allowance for each, the company's. The pools above hold always.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst

from chatgrid.accounts.models import User
from departments.limits.grant_models import Grant
from departments.limits.models import CEILINGS, Limit
from departments.models import Department

WORDS = {name: str(Limit._meta.get_field(name).verbose_name) for name in CEILINGS}  # type: ignore[union-attr]


def in_words(name: str) -> str:
    """A field of a limit, as in "Tokens a day", "Each person: US$ a month"."""
    return capfirst(str(Limit._meta.get_field(name).verbose_name))  # type: ignore[union-attr]


@dataclass(frozen=True)
class Source:
    """A ceiling and the limit that sets it."""

    value: Any
    words: str
    url: str


@dataclass(frozen=True)
class Line:
    """One ceiling of a person in one department: `nearest` are those that count for them alone, `above` the pools."""

    what: str
    nearest: list[Source]
    above: list[Source]


@dataclass(frozen=True)
class Place:
    """A department of the person's, with what holds there."""

    department: Department
    lines: list[Line]
    grants: Sequence[Grant]


def limits_of(person: User) -> list[Place]:
    """What holds for this person in each of their departments. Three queries."""
    departments = [each.department for each in person.memberships.select_related("department")]
    rows = _rows(person, [department.pk for department in departments])
    granted = _granted(person)
    return [
        Place(department, list(_lines(rows, department, person)), granted.get(department.pk, []))
        for department in departments
    ]


def _granted(person: User) -> dict[UUID, list[Grant]]:
    """What they were granted for a while, by department; the first to end first."""
    found: dict[UUID, list[Grant]] = {}
    for grant in Grant.objects.filter(person=person, ends_at__gt=timezone.now()).order_by("ends_at"):
        found.setdefault(grant.department_id, []).append(grant)
    return found


def _rows(person: User, departments: Iterable[UUID]) -> dict[tuple[UUID | None, UUID | None], Limit]:
    theirs = Q(person=None) | Q(person=person)
    here = Q(department=None) | Q(department__in=list(departments))
    rows = Limit.objects.filter(theirs, here, organization=person.organization_id, model="")
    return {(limit.department_id, limit.person_id): limit for limit in rows}


def _lines(rows: dict[Any, Limit], department: Department, person: User) -> Iterator[Line]:
    for name in CEILINGS:
        own = [
            _source(rows.get((department.pk, person.pk)), name, f"their own in {department}"),
            _source(rows.get((None, person.pk)), name, "their own, wherever they ask"),
        ]
        allowances = [
            _source(rows.get((department.pk, None)), f"person_{name}", f"{department}, for each person"),
            _source(rows.get((None, None)), f"person_{name}", "the company, for each person"),
        ]
        above = [
            _source(rows.get((department.pk, None)), name, f"{department} together"),
            _source(rows.get((None, None)), name, "the company together"),
        ]
        nearest = _set(own) or _set(allowances)[:1]
        if nearest or _set(above):
            yield Line(WORDS[name], nearest, _set(above))


def amount(value: int | Decimal | None) -> str:
    """As in "20,000", "12.50", "0.0049"; nothing for a ceiling that is not set. No digit of it is left out."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if value == round(value, 2) else f"{value.normalize():,f}"


def _source(limit: Limit | None, field: str, words: str) -> Source | None:
    value = getattr(limit, field) if limit else None
    if limit is None or value is None:
        return None
    return Source(amount(value), words, reverse("admin:limits_limit_change", args=[limit.pk]))


def _set(sources: Iterable[Source | None]) -> list[Source]:
    return [source for source in sources if source is not None]
