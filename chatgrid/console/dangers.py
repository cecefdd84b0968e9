"""Which changes in the console need a fresh sign-in and a reason, and the sentence that says what is about to happen.

One function a model: before and after -> the sentence, or "" for a change that does no lasting harm. What is not a
change of a row (a pasted key, an export, leave-now) asks by itself: chatgrid/console/fresh.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from django.db.models import Model
from django.http import HttpRequest

from chatgrid.accounts.models import User
from chatgrid.console.fresh import require_confirmation
from chatgrid.console.recording import Values, snapshot
from departments.calls.models import CatalogueModel
from departments.keys.models import ProviderProject
from departments.limits.alert_models import AlertTarget
from departments.limits.models import CEILINGS, PERSON_CEILINGS, Limit
from departments.models import Department, Membership, Organization, QueryPolicy
from departments.roles import DepartmentRole, OrganizationRole

POLICIES = {
    "typed_secrets": "what happens to secrets typed into a question",
    "document_review": "which documents are held until somebody has read them",
    "moderation": "what moderation does",
    "rules_public": "who reads its rules",
}


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
    if not before["is_active"] and after["is_active"]:
        return f"Open the sign-in of {person} again, with the role {role.label}."
    return ""


def _membership(membership: Membership, before: Values, after: Values) -> str:
    became = after["role"] == DepartmentRole.ADMIN and before.get("role") != DepartmentRole.ADMIN
    return f"Make {membership.user} admin of {membership.department}." if became else ""


def _department(department: Department, before: Values, after: Values) -> str:
    return " ".join(_department_acts(department, before, after)) if before else ""


def _department_acts(department: Department, before: Values, after: Values) -> Iterator[str]:
    if before["is_active"] and not after["is_active"]:
        yield f"Close the department {department}: nobody in it can ask any more."
    if before["provider"] != after["provider"]:
        yield f"Send the questions of {department} to {after['provider']} instead of {before['provider']}."
    if before["query_policy"] != after["query_policy"]:
        yield f"Let the record keep something else of the questions of {department}: {_kept(after)}."
    if changed := [words for name, words in POLICIES.items() if before[name] != after[name]]:
        yield f"Change a policy of {department}: {', '.join(changed)}."


def _kept(after: Values) -> str:
    label = str(QueryPolicy(after["query_policy"]).label)
    return label[0].lower() + label[1:]


def _limit(limit: Limit, before: Values, after: Values) -> str:
    held = [name for name in (*CEILINGS, *PERSON_CEILINGS) if before.get(name) is not None]
    lifted = [name for name in held if after[name] is None]
    raised = [name for name in held if after[name] is not None and Decimal(after[name]) > Decimal(before[name])]
    if lifted:
        return f"Lift a limit ({_words(limit, lifted)}): {limit}."
    return f"Raise a limit ({_words(limit, raised)}): {limit}." if raised else ""


def _words(subject: Model, names: list[str]) -> str:
    """Fields as their page calls them."""
    return ", ".join(str(subject._meta.get_field(name).verbose_name) for name in names)  # type: ignore[union-attr]


def _organization(organization: Organization, before: Values, after: Values) -> str:
    opened = before and after["admins_paste_keys"] and not before["admins_paste_keys"]
    return f"Let the department admins of {organization} paste keys." if opened else ""


def _catalogue(model: CatalogueModel, before: Values, after: Values) -> str:
    # every budget in money is counted in these
    prices = [name for name in after if name.startswith(("price_", "long_"))]
    differing = [name for name in prices if before and before[name] != after[name]]
    return f"Change what {model} costs ({_words(model, differing)})." if differing else ""


def _project(project: ProviderProject, before: Values, after: Values) -> str:
    differing = [name for name in after if before and before[name] != after[name]]
    return f"Change the bounds of {project.department} at OpenAI ({_words(project, differing)})." if differing else ""


def _target(target: AlertTarget, before: Values, after: Values) -> str:
    silenced = before and before["is_active"] and not after["is_active"]
    return f"Send no more alerts to {target.address}." if silenced else ""


RULES: Mapping[type[Model], Callable[[Any, Values, Values], str]] = {
    User: _person,
    Membership: _membership,
    Department: _department,
    Limit: _limit,
    Organization: _organization,
    CatalogueModel: _catalogue,
    ProviderProject: _project,
    AlertTarget: _target,
}
