"""What every page of a signed-in person shows around its own content: departments, history, the day's meter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from chatgrid.chat.models import Conversation
from departments.access import departments_of
from departments.calls.meter import Meter, meter_of
from departments.http import Person
from departments.models import Department, Organization
from departments.roles import DepartmentRole

HISTORY = 40


@dataclass(frozen=True)
class ShownDepartment:
    name: str
    slug: str
    is_admin: bool


@dataclass(frozen=True)
class Shell:
    """The frame of a page."""

    departments: list[ShownDepartment]
    department: Department | None
    conversations: list[Conversation]
    meter: Meter | None
    simulated: bool
    now: datetime


def shell(request: HttpRequest) -> dict[str, Any]:
    """Template context processor: `shell` for signed-in people of a company; nothing for the console and errors."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or user.organization_id is None:
        return {}
    if request.path.startswith("/admin/"):
        return {}
    return {"shell": shell_for(user, getattr(request, "department", None))}


def shell_for(person: Person, department: Department | None) -> Shell:
    """The frame for a person on a page of `department`, or of none."""
    memberships = list(departments_of(person))
    history = Conversation.objects.filter(owner_id=person.id, department__in=[m.department_id for m in memberships])
    meter = meter_of(person, Organization.objects.get(people=person.id), department)
    return Shell(
        departments=[
            ShownDepartment(m.department.name, m.department.slug, m.role == DepartmentRole.ADMIN) for m in memberships
        ],
        department=department,
        conversations=list(history.select_related("department")[:HISTORY]),
        meter=meter,
        simulated=settings.SIMULATED,
        now=meter.now,
    )
