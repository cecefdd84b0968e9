"""Which changes in the console need a fresh sign-in and a reason, and the sentence that says what is about to happen.

One function a model: before and after -> the sentence, or "" for a change that does no lasting harm. What is not a
change of a row (a pasted key, an export, leave-now) asks by itself: chatgrid/console/fresh.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import Model
from django.http import HttpRequest

from chatgrid.accounts.models import User
from chatgrid.console.fresh import require_confirmation
from chatgrid.console.recording import Values, snapshot
from departments.limits.models import Limit
from departments.models import Department, Membership, QueryPolicy
from departments.roles import DepartmentRole, OrganizationRole


def confirm_change(request: HttpRequest, subject: Model, before: Values) -> None:
    """Raises ConfirmationNeeded where `subject`, as it is now, differs dangerously from `before` ({}: it is new)."""
    rule = RULES.get(type(subject))
    act = rule(subject, before, snapshot(subject)) if rule else ""
    if act:
        require_confirmation(request, act)


def _person(person: User, before: Values, after: Values) -> str:
    role = OrganizationRole(after["role"])
    if not before:
        return "" if role == OrganizationRole.MEMBER else f"Add {person} with the role {role.label}."
    if before["role"] != after["role"]:
        return f"Change the role of {person} from {OrganizationRole(before['role']).label} to {role.label}."
    if before["is_active"] and not after["is_active"]:
        return f"Close the sign-in of {person} and end their sessions."
    return ""


def _membership(membership: Membership, before: Values, after: Values) -> str:
    became = after["role"] == DepartmentRole.ADMIN and before.get("role") != DepartmentRole.ADMIN
    return f"Make {membership.user} admin of {membership.department}." if became else ""


def _department(department: Department, before: Values, after: Values) -> str:
    if not before:
        return ""
    if before["is_active"] and not after["is_active"]:
        return f"Close the department {department}: nobody in it can ask any more."
    if before["provider"] != after["provider"]:
        return f"Send the questions of {department} to {after['provider']} instead of {before['provider']}."
    if before["query_policy"] != after["query_policy"]:
        return f"Let the record keep something else of the questions of {department}: {_kept(after)}."
    return ""


def _kept(after: Values) -> str:
    label = str(QueryPolicy(after["query_policy"]).label)
    return label[0].lower() + label[1:]


def _limit(limit: Limit, before: Values, after: Values) -> str:
    lifted = [name for name, value in after.items() if value is None and isinstance(before.get(name), int)]
    names = ", ".join(name.replace("_", " ") for name in lifted)
    return f"Lift a limit ({names}): {limit}." if lifted else ""


RULES: Mapping[type[Model], Callable[[Any, Values, Values], str]] = {
    User: _person,
    Membership: _membership,
    Department: _department,
    Limit: _limit,
}
