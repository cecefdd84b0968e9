"""What is odd about the model that a limit names: told, never refused, for a provider has names of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from django.conf import settings

from chatgrid.console.wanted.changes import Change
from departments.calls.models import CatalogueModel
from departments.limits.models import Limit
from departments.models import Department, Organization

MOST_NAMED = 3


def models_in_use(organization: Organization) -> list[str]:
    """Some of what an organization's departments ask."""
    rows = Department.objects.filter(organization=organization).order_by("model")
    return list(rows.values_list("model", flat=True).distinct()[:MOST_NAMED])


def doubts_about(changes: Sequence[Change], organization: Organization) -> list[str]:
    """A sentence for each limit of a plan that would count nothing."""
    subjects = [change.subject for change in changes if change.after is not None]
    limits = [subject for subject in subjects if isinstance(subject, Limit)]
    return doubts(limits, organization, [subject for subject in subjects if isinstance(subject, Department)])


def doubts(limits: Iterable[Limit], organization: Organization, planned: Iterable[Department] = ()) -> list[str]:
    """The same for limits. `planned` are departments as they will be."""
    named = [limit for limit in limits if limit.model]
    if not named:
        return []
    rows: list[tuple[Any, Any]] = list(Department.objects.filter(organization=organization).values_list("pk", "model"))
    asked = dict(rows) | {department.pk: department.model for department in planned}
    listed = dict(CatalogueModel.objects.values_list("name", "kind"))
    return [sentence for limit in named if (sentence := _doubt(limit, asked, listed))]


def _doubt(limit: Limit, asked: Mapping[UUID, str], listed: Mapping[str, str]) -> str:
    name = limit.model
    if name == settings.EMBEDDING_MODEL or listed.get(name) == CatalogueModel.Kind.EMBEDDING:
        return f"{name} makes embeddings, which are no questions: a limit of questions a minute to it counts nothing."
    if limit.department is not None:
        its = asked.get(limit.department.pk, "")
        told = f"{limit.department} asks {its}: its limit for {name} counts nothing.{_near(name, [its])}"
        return "" if its == name else told
    if name in asked.values() or name in listed:
        return ""
    near = _near(name, {*asked.values(), *listed})
    return f"No department asks {name}, and the list of models does not know it: its limit counts nothing.{near}"


def _near(name: str, known: Iterable[str]) -> str:
    """The names that were perhaps meant, the likeliest first."""
    spelled = {each.lower(): each for each in known}
    found = [spelled[each] for each in get_close_matches(name.lower(), spelled, MOST_NAMED)]
    return f" Was {' or '.join(found)} meant?" if found else ""
