"""A department complete: its project at OpenAI with its key (departments/keys), and its store (departments/documents).

Rules:
- The project comes first and the store last; each is idempotent, so applying again goes on where it stopped.
- Without an admin key the store is made all the same, and the sentence says what is missing.
- A file names departments and their bounds; what it does not name is left as it is. Unknown fields are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import yaml
from django.core.exceptions import ValidationError

from departments.calls.query_policy import make_pepper
from departments.documents.provision import ProvisioningImpossible, provision_store
from departments.file_values import read_yaml, set_values
from departments.keys import provisioning
from departments.keys.models import ProviderProject
from departments.keys.project_plan import Change, ProvisioningStopped
from departments.keys.vaults import VaultError
from departments.models import Department, Organization

STORE = "store"
NOT_MADE = (
    "The store could not be made: the database server or the secret manager refused or did not answer. "
    "Provision it again; the worker's log says more."
)
# what a file may say of a department, and the field it sets
DEPARTMENT_FIELDS = {
    name: name
    for name in (
        "name",
        "is_active",
        "model",
        "provider",
        "instructions",
        "typed_secrets",
        "document_review",
        "moderation",
        "query_policy",
        "off_limits",
        "rules_public",
        "files_allowed",
        "bytes_allowed",
    )
}
PROJECT_FIELDS = {
    "models": "allowed_models",
    "monthly_cents": "monthly_cents",
    "alert_percents": "alert_percents",
    "alert_recipients": "alert_recipients",
    "requests_per_minute": "requests_per_minute",
    "tokens_per_minute": "tokens_per_minute",
    "retention": "retention",
    "key_days": "key_days",
    "key_scopes": "key_scopes",
}


logger = logging.getLogger(__name__)


class FileRefused(Exception):
    """The file cannot be used; the message says which line of thought to correct."""


@dataclass(frozen=True)
class Plan:
    """What would be done for one department; `sentence` says what cannot be and why, or is empty."""

    department: Department
    changes: tuple[Change, ...]
    sentence: str = ""


@dataclass(frozen=True)
class Wanted:
    """One department of a file."""

    organization: str
    department: str
    fields: Mapping[str, Any]


def plan(department: Department, row: ProviderProject | None = None) -> Plan:
    """What `apply` would do now, or would do with this `row`. ProvisioningStopped where that cannot be told."""
    answer = provisioning.plan(department, row)
    changes, sentence = (answer, "") if isinstance(answer, list) else ([], answer.sentence)
    return Plan(department, (*changes, *_store_changes(department)), sentence)


def apply(department: Department, expected: Plan | None = None, by: UUID | None = None, by_name: str = "") -> Plan:
    """Make it so; what was done. Raises ProvisioningStopped; calling again goes on from there."""
    of_project = None if expected is None else [change for change in expected.changes if change.step != STORE]
    answer = provisioning.apply(department, of_project, by, by_name)
    changes, sentence = (answer, "") if isinstance(answer, list) else ([], answer.sentence)
    of_store = _store_changes(department)
    _make_store(department)
    return Plan(department, (*changes, *of_store), sentence)


def _make_store(department: Department) -> None:
    """The store, and the pepper for hashed questions, which the web may read but not write."""
    failure = ""
    try:
        provision_store(department)
        make_pepper(department)
    except ProvisioningImpossible as error:
        failure = str(error)
    except (psycopg.Error, VaultError, OSError) as error:
        logger.error("store of department %s not made: %s", department.pk, type(error).__name__)
        failure = NOT_MADE
    Department.objects.filter(pk=department.pk).update(store_failure=failure[:400])
    if failure:
        raise ProvisioningStopped(failure)


def _store_changes(department: Department) -> list[Change]:
    if department.store_ready:
        return []
    return [Change(STORE, "Make the department's database, its role and its password", None, department.store_name)]


# -- files


def read_file(path: Path) -> list[Wanted]:
    """The departments of a YAML (or JSON) file: organizations -> slug -> departments -> slug -> fields."""
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FileRefused(f"{path.name} cannot be read as YAML: {error}") from None
    organizations = _mapping(_mapping(content, "the file").get("organizations"), "organizations")
    return [
        _wanted(organization, department, fields)
        for organization, of_it in organizations.items()
        for department, fields in _mapping(_mapping(of_it, organization).get("departments"), organization).items()
    ]


def _wanted(organization: str, department: str, fields: Any) -> Wanted:
    place = f"{organization}/{department}"
    given = _mapping(fields or {}, place)
    unknown = sorted(given.keys() - {*DEPARTMENT_FIELDS, *PROJECT_FIELDS})
    if unknown:
        known = ", ".join([*DEPARTMENT_FIELDS, *PROJECT_FIELDS])
        raise FileRefused(f"{place} has unknown fields: {', '.join(unknown)}. Known are {known}.")
    return Wanted(str(organization), str(department), given)


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FileRefused(f"{place} must hold names with values below them; see docs/operations.md.")
    if unnamed := [name for name in value if not isinstance(name, str)]:
        raise FileRefused(f"{place}: {unnamed[0]} is no name. Put names in quotes.")
    return value


def set_wanted(wanted: Wanted) -> ProviderProject:
    """Write what a file wants into the department and its project's row, making both where there is none.

    Nothing at OpenAI is touched. FileRefused for an organization that does not exist or a value that is not allowed.
    """
    organization = Organization.objects.filter(slug=wanted.organization).first()
    if organization is None:
        raise FileRefused(f"There is no organization {wanted.organization}. Make it in the console first.")
    department = Department.objects.filter(organization=organization, slug=wanted.department).first()
    department = department or Department(organization=organization, slug=wanted.department, name=wanted.department)
    _set(department, DEPARTMENT_FIELDS, wanted)
    row = provisioning.project_row(department)
    _set(row, PROJECT_FIELDS, wanted)
    return row


def _set(row: Department | ProviderProject, fields: Mapping[str, str], wanted: Wanted) -> None:
    try:
        set_values(row, {field: wanted.fields[given] for given, field in fields.items() if given in wanted.fields})
    except ValidationError as error:
        said = "; ".join(f"{name}: {' '.join(messages)}" for name, messages in error.message_dict.items())
        raise FileRefused(f"{wanted.organization}/{wanted.department}: {said}") from None
    row.save()


def all_departments(slugs: Sequence[str] = ()) -> list[Department]:
    """Active departments, or those named as organization/department. FileRefused for a name that is not there."""
    active = Department.objects.filter(is_active=True).select_related("organization").order_by("organization", "slug")
    if not slugs:
        return list(active)
    known = {f"{one.organization.slug}/{one.slug}": one for one in active}
    unknown = [slug for slug in slugs if slug not in known]
    if unknown:
        raise FileRefused(f"There is no active department {', '.join(unknown)}. Write organization/department.")
    return [known[slug] for slug in slugs]


def any_department(name: str) -> Department:
    """The department named as organization/department, also one that was switched off. FileRefused: it is not there."""
    organization, _, slug = name.partition("/")
    named = Department.objects.filter(organization__slug=organization, slug=slug).select_related("organization").first()
    if named is None:
        raise FileRefused(f"There is no department {name}. Write organization/department.")
    return named
