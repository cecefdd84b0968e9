"""What a person has used today and what is left: shown always, so that a refusal surprises nobody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from audit import database
from departments.http import Person
from departments.models import Department, Organization

WARNING_PERCENT = 80

_STANDING = "SELECT * FROM limits_standing(%s, %s, %s, %s)"


@dataclass(frozen=True)
class Meter:
    """Tokens of today against the ceiling that is closest to being reached. `limit` is None without any ceiling."""

    used: int
    limit: int | None
    scope: str
    resets_at: datetime
    now: datetime  # in the organization's time zone

    @property
    def percent(self) -> int:
        """0 to 100, rounded down, so that 100 means that nothing is left."""
        return min(100, self.used * 100 // self.limit) if self.limit else 0

    @property
    def warning(self) -> bool:
        return self.limit is not None and self.percent >= WARNING_PERCENT

    @property
    def exhausted(self) -> bool:
        return self.limit is not None and self.used >= self.limit


def meter_of(person: Person, organization: Organization, department: Department | None) -> Meter:
    """The person's meter in this department, or over all of them. Synchronous: for pages."""
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, _parameters(person, organization, department))
        return _meter(cursor.fetchone(), organization)


async def ameter_of(person: Person, department: Department) -> Meter:
    """The same, without a thread. Raises DatabaseDown."""
    organization = department.organization
    async with database.connection() as held:
        cursor = await held.execute(_STANDING, _parameters(person, organization, department))
        row = await cursor.fetchone()
    assert row is not None, "limits_standing always answers with one row"  # noqa: S101
    return _meter(row, organization)


def _parameters(person: Person, organization: Organization, department: Department | None) -> list[Any]:
    return [organization.pk, department.pk if department else None, person.id, organization.time_zone]


def _meter(row: tuple[Any, ...], organization: Organization) -> Meter:
    used, limit, scope, resets_at, now = row
    zone = ZoneInfo(organization.time_zone)
    return Meter(used, limit, scope, resets_at.astimezone(zone), now.astimezone(zone))
