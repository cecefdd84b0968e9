"""What can be exchanged: a department's key, an organization's admin key, the password of a department's store.

Each kind has its own steps; the machine that takes them (`rotation.py`) is one. A package above this one adds its kind
when Django starts, as departments/documents does for the stores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from departments.keys.rotation_models import Rotation
from departments.keys.vaults.names import admin_key_name, provider_key_name, store_password_name
from departments.models import Department, Organization

What = Rotation.What
Steps = Mapping[str, Callable[[Any], Any]]

_kinds: dict[str, Steps] = {}


@dataclass(frozen=True)
class Subject:
    """One secret that can be exchanged."""

    what: str
    organization: Organization
    department: Department | None = None

    @property
    def secret_name(self) -> str:
        if self.department is None:
            return admin_key_name(settings.ENVIRONMENT, self.organization.slug)
        place = f"{self.organization.slug}.{self.department.slug}"
        name = store_password_name if self.what == What.STORE_PASSWORD else provider_key_name
        return name(settings.ENVIRONMENT, place)

    def rotations(self) -> QuerySet[Rotation]:
        """All exchanges of this secret, newest first."""
        return Rotation.objects.filter(what=self.what, organization=self.organization, department=self.department)

    def open_rotation(self) -> Rotation | None:
        """The one that is under way."""
        return self.rotations().filter(closed_at=None).first()


def as_subject(target: Department | Subject) -> Subject:
    """A department stands for its key."""
    return target if isinstance(target, Subject) else key_of(target)


def key_of(department: Department) -> Subject:
    """The department's key for its provider."""
    return Subject(What.KEY, department.organization, department)


def store_password_of(department: Department) -> Subject:
    """The password of the department's store."""
    return Subject(What.STORE_PASSWORD, department.organization, department)


def admin_key_of(organization: Organization) -> Subject:
    """The organization's admin key."""
    return Subject(What.ADMIN_KEY, organization)


def subject_of(rotation: Rotation) -> Subject:
    """What a rotation exchanges."""
    return Subject(rotation.what, rotation.organization, rotation.department)


def register(what: str, steps: Steps) -> None:
    """Say how a kind is exchanged; once, when Django starts."""
    _kinds[what] = steps


def steps_of(what: str) -> Steps:
    """The steps of a kind. KeyError for one that nobody registered."""
    return _kinds[what]
