"""Roles and what they allow.

Rules:
- `OrganizationRole` is what somebody is in the whole company, `DepartmentRole` in one department; a person can hold
  several of the second and has exactly one of the first.
- A right is asked for by name (`Right.UPLOAD`), never by comparing roles in a view.
- Nobody's role in the organization opens a department's conversations or documents: IT runs ChatGrid, it does not read.
"""

from __future__ import annotations

from enum import Enum, auto

from django.db.models import TextChoices


class OrganizationRole(TextChoices):
    MEMBER = "member", "Employee"
    IT = "it", "IT"
    AUDITOR = "auditor", "Auditor"


class DepartmentRole(TextChoices):
    MEMBER = "member", "Member"
    ADMIN = "admin", "Department admin"


class Right(Enum):
    """What a member of a department may do there."""

    CHAT = auto()
    READ_DOCUMENTS = auto()
    MANAGE_DOCUMENTS = auto()
    MANAGE_RULES = auto()  # what the assistant is for, what it must not discuss, how careful it is
    GRANT_MORE = auto()  # tokens or money for a person, on top of their own budget and below every ceiling
    SEE_KEY = auto()  # that there is one, how old it is and whether it works; its value is seen by nobody


GRANTED: dict[str, frozenset[Right]] = {
    DepartmentRole.MEMBER: frozenset({Right.CHAT, Right.READ_DOCUMENTS}),
    DepartmentRole.ADMIN: frozenset(Right),
}
