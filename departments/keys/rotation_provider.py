"""What a rotation finds and does in its department's project at the provider. The rules are in `rotation.py`.

A project may be closed or deleted there by hand while a rotation is open. Its keys died with it, and the rotation goes
on in the project that a repair of that finding makes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from audit.events import Event
from departments.keys.admin_api import AdminKeyMissing, AdminMissing, AdminRejected, has_admin_api_for
from departments.keys.models import ProviderProject
from departments.keys.rotation_job import LIFETIME, Admin, Job, Move, NotYet, Outcome, Step
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_parts import (
    is_never_made,
    known_key_to_retire,
    left_to_a_person,
    project_of,
    read_key,
    staged,
    version_to_retire,
)

PROJECT_GONE = (
    "The department's project at OpenAI is closed or deleted. Repair that finding under Keys, Findings; "
    "the exchange then goes on in the new one."
)


def is_open(api: Admin, project_id: str) -> bool:
    """Whether the project is there and takes changes."""
    try:
        return api.retrieve_project(project_id).active
    except AdminMissing:
        return False


def open_project(job: Job, api: Admin) -> str:
    """Where a key can be made: the project of the old one, or the one that has taken its place. NotYet: nowhere."""
    for project_id in (job.rotation.project_id, project_of(job)[0]):
        if project_id and is_open(api, project_id):
            return project_id
    raise NotYet(PROJECT_GONE)


def can_mint(job: Job, project_id: str) -> bool:
    if not project_id or not has_admin_api_for(job.department):
        return False
    admin = job.tools.open_admin(job.department.organization)
    if isinstance(admin, AdminKeyMissing):
        return False
    with admin:
        return True


def can_mint_now(job: Job) -> bool:
    """Whether it waits for a paste that nobody has made, and there is an admin key and a project by now."""
    rotation = job.rotation
    waits = rotation.by_paste and rotation.pasted_by_id is None and staged(job) is None
    return waits and can_mint(job, project_of(job)[0])


def is_listed(job: Job) -> bool:
    """Whether the provider still lists the key that goes: the proof where there is no value to ask with."""
    key_id, project_id = known_key_to_retire(job.rotation), job.rotation.project_id
    if not key_id or not project_id:
        return False
    admin = job.tools.open_admin(job.department.organization)
    if isinstance(admin, AdminKeyMissing):
        return False
    with admin as api:
        return is_open(api, project_id) and any(key.id == key_id for key in api.list_keys(project_id))


def last_use_at_provider(job: Job) -> datetime | None:
    key_id = known_key_to_retire(job.rotation)
    if not key_id or not job.rotation.project_id:
        return None
    admin = job.tools.open_admin(job.department.organization)
    if isinstance(admin, AdminKeyMissing):
        return None
    with admin as api:
        try:
            keys = api.list_keys(job.rotation.project_id)
        except AdminMissing:
            return None  # deleted by somebody, and every key with it
    return next((key.last_used_at for key in keys if key.id == key_id), None)


def service_account(job: Job, api: Admin, project_id: str) -> str:
    """The service account the new key belongs to: that of the old key, or the project's, where it is still there.

    Else a new one, found by name after a crash.
    """
    rotation = job.rotation
    accounts = {account.id: account for account in api.list_service_accounts(project_id)}
    if not rotation.own_account:
        for known in (rotation.old_account_id, project_of(job)[1]):
            if known in accounts:
                return known
    found = next((one for one in accounts.values() if one.name == job.key_name), None)
    account = found or api.create_service_account(project_id, job.key_name)
    api.grant_role(project_id, account.id)
    return account.id


def lifetime_of(job: Job) -> tuple[timedelta, dict[str, Any]]:
    row = ProviderProject.objects.filter(department=job.department).first()
    if row is None:
        return LIFETIME, {}
    return timedelta(days=row.key_days), {"scopes": row.key_scopes} if row.key_scopes else {}


def key_to_retire(job: Job, api: Admin) -> str:
    """Its id. Of a pasted key none is known: it is the one key of the project that ends as the value does."""
    rotation = job.rotation
    known = known_key_to_retire(rotation)
    if known or is_never_made(rotation):
        return known
    value = read_key(job, version_to_retire(rotation), "retire")
    found = [key.id for key in api.list_keys(rotation.project_id) if value is not None and key.matches(value)]
    return found[0] if len(found) == 1 else ""


def delete_ours(job: Job, api: Admin, project_id: str, keep: str) -> None:
    """Delete keys that carry this rotation's name: made by a try whose answer was lost, or by a worker that was."""
    for key in api.list_keys(project_id) if project_id else ():
        if key.name == job.key_name and key.id != keep:
            api.delete_key(project_id, key.id)


def retired_how(api: Admin, rotation: Rotation, key_id: str) -> str:
    if not key_id:
        return "never made"
    try:
        return api.retire_key(rotation.project_id, key_id)
    except AdminRejected:
        return "refused"


def ended_with_its_project(job: Job) -> Outcome:
    """Nothing can be deleted in a project that is closed, and no key of it works. A pasted one may be of another."""
    if not known_key_to_retire(job.rotation):
        return left_to_a_person(job)
    details = {"key_id": known_key_to_retire(job.rotation), "how": "project gone"}
    return Move(to=Step.PROVE, event=Event.ROTATION_RETIRED, details=details)
