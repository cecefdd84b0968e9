"""A company as code: its policies, departments and limits as YAML; exported, compared with what is, applied.

The file is the one that `provision_departments --file` reads, with more in it: organizations -> slug -> departments ->
slug -> fields. What lies at the provider is that command's; here it is what ChatGrid itself holds.

Rules:
- What a file does not name is left as it is; a department cannot be deleted by leaving it out.
- `limits` is a list and the whole truth: a limit that is not in it goes.
- Unknown names are refused, with their place; nothing is done until all of it can be.
- People are not in the file: who is in a company is the directory's business. A limit names one by e-mail address.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from django.core.exceptions import ValidationError
from django.db.models import Model

from audit.models import RetentionPolicy
from chatgrid.console.recording import snapshot
from chatgrid.console.wanted.changes import Change, Refused, changed, sentences_of
from chatgrid.console.wanted.limits import Context, plan_limits, rows_of
from departments.file_values import read_yaml, set_values
from departments.limits.models import Limit
from departments.models import Department, Organization
from departments.provisioning import DEPARTMENT_FIELDS, PROJECT_FIELDS

ORGANIZATION_FIELDS = ("name", "time_zone", "second_factor", "conversation_days", "admins_paste_keys")
RECORD_DAYS = "record_days"
PARTS = (RECORD_DAYS, "departments", "limits")
HEAD = "# A company as code. `manage.py company plan FILE` says what would change, `apply` does it.\n"


def export_company(organization: Organization) -> str:
    """The organization as YAML. Planning it again finds nothing to do."""
    of_it: dict[str, Any] = {name: getattr(organization, name) for name in ORGANIZATION_FIELDS}
    of_it[RECORD_DAYS] = _retention(organization).days
    rows = Department.objects.filter(organization=organization).select_related("project").order_by("slug")
    of_it["departments"] = {each.slug: _department(each) for each in rows}
    of_it["limits"] = [_plain(row) for row in rows_of(Limit.objects.filter(organization=organization))]
    content = {"organizations": {organization.slug: of_it}}
    return HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _department(department: Department) -> dict[str, Any]:
    fields = {given: getattr(department, field) for given, field in DEPARTMENT_FIELDS.items()}
    project = getattr(department, "project", None)
    if project is not None:
        fields |= {given: getattr(project, field) for given, field in PROJECT_FIELDS.items()}
    return fields


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Money as a number that YAML knows; `Decimal` has none."""
    return {name: value if isinstance(value, int | str) else _number(value) for name, value in row.items()}


def _number(value: Any) -> float | int:
    return int(value) if value == int(value) else float(value)


def plan_company(organization: Organization, text: str, reason: str) -> list[Change]:
    """What makes the organization as the file says. Raises Refused."""
    of_it = _of(organization, text)
    problems: list[str] = []
    changes = [_fields_of(organization, of_it, organization.slug, problems)]
    if RECORD_DAYS in of_it:
        changes.append(_plan_retention(organization, of_it[RECORD_DAYS], problems))
    made: dict[str, Department] = {}
    for slug, fields in _mapping(of_it.get("departments") or {}, "departments").items():
        changes += _plan_department(organization, str(slug), fields, made, problems)
    if "limits" in of_it:
        changes += _plan_limits(Context(organization, reason, made), of_it["limits"], problems)
    if problems:
        raise Refused(problems)
    return [change for change in changes if change is not None]


def _of(organization: Organization, text: str) -> dict[str, Any]:
    """The part of the file that is this organization's."""
    try:
        content = read_yaml(text)
    except yaml.YAMLError as error:
        raise Refused([f"The file cannot be read as YAML: {error}"]) from None
    organizations = _mapping(_mapping(content, "the file").get("organizations"), "organizations")
    if set(organizations) != {organization.slug}:
        named = ", ".join(map(str, organizations)) or "none"
        raise Refused([f"The file is for {named}, not for {organization.slug}."])
    of_it = _mapping(organizations[organization.slug], organization.slug)
    if unknown := sorted(set(of_it) - {*ORGANIZATION_FIELDS, *PARTS}):
        known = ", ".join((*ORGANIZATION_FIELDS, *PARTS))
        raise Refused([f"{organization.slug}: unknown: {', '.join(map(str, unknown))}. Known are {known}."])
    return of_it


def _fields_of(organization: Organization, of_it: Mapping[str, Any], place: str, problems: list[str]) -> Change | None:
    wanted = Organization.objects.get(pk=organization.pk)
    before = snapshot(wanted)
    given = {name: of_it[name] for name in ORGANIZATION_FIELDS if name in of_it}
    return _set(wanted, given, place, before, problems)


def _retention(organization: Organization) -> RetentionPolicy:
    """How long the record is kept; not saved where nobody has said so."""
    kept = RetentionPolicy.objects.filter(pk=organization.pk).first()
    return kept or RetentionPolicy(organization_id=organization.pk)


def _plan_retention(organization: Organization, days: Any, problems: list[str]) -> Change | None:
    policy = _retention(organization)
    if policy._state.adding and days == policy.days:
        return None
    before = None if policy._state.adding else snapshot(policy)
    return _set(policy, {"days": days}, f"{organization.slug}, {RECORD_DAYS}", before, problems)


def _plan_department(
    organization: Organization, slug: str, fields: Any, made: dict[str, Department], problems: list[str]
) -> list[Change | None]:
    given = _mapping(fields or {}, slug)
    if unknown := sorted(set(given) - {*DEPARTMENT_FIELDS, *PROJECT_FIELDS}):
        known = ", ".join([*DEPARTMENT_FIELDS, *PROJECT_FIELDS])
        problems.append(f"{slug}: unknown: {', '.join(map(str, unknown))}. Known are {known}.")
        return []
    found = Department.objects.filter(organization=organization, slug=slug).select_related("project").first()
    department = found or Department(organization=organization, slug=slug, name=slug)
    made[slug] = department
    project = getattr(found, "project", None)
    own = {field: given[name] for name, field in DEPARTMENT_FIELDS.items() if name in given}
    bounds = {field: given[name] for name, field in PROJECT_FIELDS.items() if name in given}
    changes = [_set(department, own, slug, snapshot(found) if found else None, problems)]
    if bounds and project is not None:
        changes.append(_set(project, bounds, f"{slug}, project", snapshot(project), problems))
    return changes


def _set(
    subject: Model, given: Mapping[str, Any], place: str, before: Mapping[str, Any] | None, problems: list[str]
) -> Change | None:
    try:
        set_values(subject, given)
        return changed(subject, place, before)
    except ValidationError as error:
        problems += sentences_of(error, place)
        return None


def _plan_limits(context: Context, rows: Any, problems: list[str]) -> list[Change]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        problems.append("limits must be a list, each with its scope and ceilings.")
        return []
    try:
        return plan_limits(context, rows, whole=True, first=1)
    except Refused as refused:
        problems += [f"limits, {each}" for each in refused.problems]
        return []


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused([f"{place} must hold names with values below them; see docs/operations.md."])
    if unnamed := [name for name in value if not isinstance(name, str)]:
        raise Refused([f"{place}: {unnamed[0]} is no name. Put names in quotes."])
    return value


def without_project(organization: Organization, text: str) -> list[str]:
    """Departments of the file whose bounds wait for their project: `provision_departments apply --file` makes it."""
    of_it = _of(organization, text)
    rows = Department.objects.filter(organization=organization, project__isnull=False)
    there = set(rows.values_list("slug", flat=True))
    named = _mapping(of_it.get("departments") or {}, "departments")
    return [slug for slug, fields in named.items() if slug not in there and set(fields or {}) & set(PROJECT_FIELDS)]
