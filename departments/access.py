"""The one way to get a department: named functions return it or refuse.

Rules:
- Not yours and not there look the same: `NotFound`, which answers 404.
- A member without the right gets `Forbidden`, which answers 403: they know that the department exists.
- A person whose sign-in was closed, and a department that was closed, are not there.
- Nobody's role in the organization opens a department; only a membership does.
- Where a second factor is asked for, a right that it guards is `SecondFactorNeeded` to whoever has none, at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, F, OuterRef, QuerySet
from django.http import Http404

from audit.statements import Statement
from departments.http import Person
from departments.models import Department, Membership, Organization, SecondFactor
from departments.roles import GRANTED, DepartmentRole, Right


class NotFound(Http404):
    """Not there, or not yours: the person cannot tell which."""


class Forbidden(PermissionDenied):
    """There, and yours, but not with this role."""


class SecondFactorNeeded(PermissionDenied):
    """Theirs with a second factor, which they have not set up."""


@dataclass(frozen=True)
class Standing:
    """Whether a person may ask in a department now. `pause_reason` is None where it goes on; a reason may be empty."""

    is_member: bool
    pause_reason: str | None = None


_DEPARTMENT = [field.attname for field in Department._meta.concrete_fields]
_ORGANIZATION = [field.attname for field in Organization._meta.concrete_fields]


def access_department(person: Person, slug: str, right: Right) -> Department:
    """The department with this slug in the person's organization, if they hold `right` in it."""
    return _granted(list(_rows(_memberships(person.id).filter(department__slug=slug))), right)


async def aaccess_department(person: Person, slug: str, right: Right) -> Department:
    """The same, without a thread."""
    return _granted(await _BY_SLUG.rows(person.id, slug), right)


async def aaccess_department_by_id(person: Person, department_id: UUID, right: Right) -> Department:
    """The department an object of the person's belongs to; the membership may have ended since."""
    return _granted(await _BY_ID.rows(person.id, department_id), right)


async def astanding(person_id: UUID, department_id: UUID) -> Standing:
    """Membership and pause in one look, as of now: asked again and again while an answer is written."""
    rows = await _STANDING.rows(person_id, department_id)
    if not rows:
        return Standing(is_member=False)
    paused_at, reason = rows[0]
    return Standing(is_member=True, pause_reason=str(reason) if paused_at else None)


async def apause_reason(department_id: UUID) -> str | None:
    """Why IT has paused a department, as of now; None for one that goes on. A reason may be empty."""
    rows = await _PAUSE.rows(department_id)
    return str(rows[0][0]) if rows else None


def departments_of(person: Person) -> QuerySet[Membership]:
    """The person's memberships in open departments, with the departments, by name."""
    return _memberships(person.id).select_related("department").order_by("department__name")


def _memberships(person_id: UUID) -> QuerySet[Membership]:
    return Membership.objects.filter(
        user_id=person_id,
        user__is_active=True,
        department__is_active=True,
        # a person who was moved to another company keeps nothing in the old one
        department__organization_id=F("user__organization_id"),
    )


def is_second_factor_needed(policy: str, *, is_privileged: bool) -> bool:
    """Whether the stricter of an organization's policy and CHATGRID_SECOND_FACTOR asks this person for one."""
    strictest = max(policy, settings.SECOND_FACTOR, key=SecondFactor.values.index)
    return strictest == SecondFactor.EVERYBODY or (is_privileged and strictest == SecondFactor.PRIVILEGED)


def _rows(memberships: QuerySet[Membership]) -> QuerySet[Membership, tuple[Any, ...]]:
    department = (f"department__{name}" for name in _DEPARTMENT)
    organization = (f"department__organization__{name}" for name in _ORGANIZATION)
    factors = apps.get_model("mfa", "Authenticator")._default_manager.filter(user=OuterRef("user"), type="totp")
    return memberships.order_by().values_list("role", Exists(factors), *department, *organization)


def _by_slug(person_id: UUID, slug: str) -> QuerySet[Membership, tuple[Any, ...]]:
    return _rows(_memberships(person_id).filter(department__slug=slug))


def _by_id(person_id: UUID, department_id: UUID) -> QuerySet[Membership, tuple[Any, ...]]:
    return _rows(_memberships(person_id).filter(department_id=department_id))


def _standing(person_id: UUID, department_id: UUID) -> QuerySet[Membership, tuple[Any, ...]]:
    found = _memberships(person_id).filter(department_id=department_id).order_by()
    return found.values_list("department__paused_at", "department__pause_reason")


def _pause(department_id: UUID) -> QuerySet[Department, tuple[Any, ...]]:
    return Department.objects.filter(pk=department_id, paused_at__isnull=False).order_by().values_list("pause_reason")


_BY_SLUG = Statement(_by_slug, UUID, str)
_BY_ID = Statement(_by_id, UUID, UUID)
_STANDING = Statement(_standing, UUID, UUID)
_PAUSE = Statement(_pause, UUID)


def _granted(rows: Sequence[tuple[Any, ...]], right: Right) -> Department:
    if not rows:
        raise NotFound("There is no such department.")
    role, has_second_factor, *columns = rows[0]
    if right not in GRANTED[role]:
        raise Forbidden("Your role in this department does not allow this.")
    department = Department.from_db("default", _DEPARTMENT, columns[: len(_DEPARTMENT)])
    department.organization = Organization.from_db("default", _ORGANIZATION, columns[len(_DEPARTMENT) :])
    is_privileged = right not in GRANTED[DepartmentRole.MEMBER]
    policy = department.organization.second_factor
    if not has_second_factor and is_second_factor_needed(policy, is_privileged=is_privileged):
        raise SecondFactorNeeded
    return department
