"""What a person has used and what is left: shown always, so that a refusal surprises nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from audit import database
from departments.http import Person
from departments.limits import budget
from departments.models import Department, Organization

WARNING_PERCENT = 80

_BUDGETS = f"SELECT {budget.METER} FROM limits_budgets(%s, %s, %s, %s)"  # noqa: S608
_STANDING = f"SELECT {budget.METER} FROM limits_meter(%s, %s, %s, %s)"  # noqa: S608


@dataclass(frozen=True)
class Meter:
    """One budget, the one that is closest to being reached: what is used of it. `limit` is None without any ceiling.

    Tokens, or US dollars where `measure` is money; of a day or of a month.
    """

    used: int | Decimal
    limit: int | Decimal | None
    scope: str  # person | member | department | organization
    resets_at: datetime
    now: datetime  # in the organization's time zone
    measure: str = "tokens"
    period: str = "day"

    @property
    def percent(self) -> int:
        """0 to 100, rounded down, so that 100 means that nothing is left."""
        return min(100, int(self.used * 100 // self.limit)) if self.limit else 0

    @property
    def left(self) -> int | Decimal | None:
        """None without any ceiling."""
        return None if self.limit is None else max(self.limit - self.used, self.limit * 0)

    @property
    def warning(self) -> bool:
        return self.limit is not None and self.percent >= WARNING_PERCENT

    @property
    def exhausted(self) -> bool:
        return self.limit is not None and self.used >= self.limit

    @property
    def is_own(self) -> bool:
        """Whether a department admin can grant more: of the person's own budget, not of the ceilings above it."""
        return self.scope in {"person", "member"}


def meter_of(person: Person, organization: Organization, department: Department | None) -> Meter:
    """The person's meter in this department, or over all of them. Synchronous: for pages."""
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, _parameters(person, organization, department))
        return meter_from(cursor.fetchone(), organization)


def budgets_of(person: Person, department: Department) -> list[Meter]:
    """Every budget that is set over a person in a department, their own first."""
    organization = department.organization
    with connection.cursor() as cursor:
        cursor.execute(_BUDGETS, _parameters(person, organization, department))
        return [meter_from(row, organization) for row in cursor.fetchall()]


async def ameter_of(person: Person, department: Department) -> Meter:
    """The same, without a thread. Raises DatabaseDown."""
    organization = department.organization
    async with database.connection() as held:
        cursor = await held.execute(_STANDING.encode(), _parameters(person, organization, department))
        row = await cursor.fetchone()
    assert row is not None, "limits_meter always answers with one row"  # noqa: S101
    return meter_from(row, organization)


def meter_from(row: Sequence[Any], organization: Organization) -> Meter:
    """The meter from the columns of `budget.METER`."""
    scope, measure, period, used, limit, resets_at, now = row
    zone = ZoneInfo(organization.time_zone)
    return Meter(
        budget.figure(measure, used),
        None if limit is None else budget.figure(measure, limit),
        scope,
        resets_at.astimezone(zone),
        now.astimezone(zone),
        measure,
        period,
    )


def _parameters(person: Person, organization: Organization, department: Department | None) -> list[Any]:
    return [organization.pk, department.pk if department else None, person.id, organization.time_zone]
