"""What the steps of a rotation are made of: looking, making, ending. The rules are in `rotation.py`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from audit.events import Event
from audit.models import AuditEvent
from audit.writer import Entry, record
from departments.keys.admin_api import AdminKeyMissing, AdminRejected, has_admin_api
from departments.keys.client import provider_named
from departments.keys.key_people import forget_pasted
from departments.keys.models import AdminKeyReference, KeyReference, ProviderProject
from departments.keys.rotation_job import (
    LIFETIME,
    REMIND_EVERY,
    Admin,
    Job,
    Mode,
    Move,
    NotOursToDelete,
    Outcome,
    Pause,
    Result,
    Step,
)
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_subjects import Subject, subject_of
from departments.keys.secret import Secret
from departments.keys.trial import Verdict
from departments.keys.vaults import SecretMissing

# -- looking at what is there


def old_key(job: Job, version: str) -> dict[str, Any]:
    value = read_document(job, version, "plan")
    project, account = project_of(job)
    reference = KeyReference.objects.filter(department=job.department, version=version).first()
    known = reference.key_id if reference else ""
    return {
        "old_version": version,
        "old_key_id": value.get("key_id") or known,
        "old_account_id": value.get("service_account_id") or account,
        "old_fingerprint": Secret(value["api_key"]).fingerprint(),
        "project_id": value.get("project_id") or project,
    }


def project_of(job: Job) -> tuple[str, str]:
    """The department's project and service account at the provider, as provisioning left them."""
    row = ProviderProject.objects.filter(department=job.department).first()
    return (row.project_id, row.service_account_id) if row else ("", "")


def can_mint(job: Job, project_id: str) -> bool:
    if not project_id or not has_admin_api(provider_named(job.department.provider)):
        return False
    admin = job.tools.open_admin(job.department.organization)
    if isinstance(admin, AdminKeyMissing):
        return False
    with admin:
        return True


def staged(job: Job) -> Secret | None:
    """Our version in the secret manager, if an earlier try got so far."""
    try:
        found = job.tools.vault.get_version(job.rotation.secret_name, job.token)
    except SecretMissing:
        return None
    record_read(job, job.token, "stage")
    return found.value


def api_key_in(document: Secret | None) -> Secret:
    if document is None:
        raise SecretMissing("What was just staged is not there; the step is taken again.")
    return Secret(json.loads(document.reveal())["api_key"])


def read_document(job: Job, version: str, reason: str) -> dict[str, Any]:
    found = job.tools.vault.get_version(job.rotation.secret_name, version)
    record_read(job, version, reason)
    value: dict[str, Any] = json.loads(found.value.reveal())
    return value


def read_key(job: Job, version: str, reason: str) -> Secret | None:
    try:
        return Secret(read_document(job, version, reason)["api_key"])
    except SecretMissing:
        return None


def record_read(job: Job, version: str, reason: str) -> None:
    department = job.rotation.department
    record(
        Entry(
            event=Event.SECRET_READ,
            organization_id=job.organization.pk,
            organization_name=job.organization.name,
            department_id=department.pk if department else None,
            department_name=department.name if department else "",
            subject_kind="secret",
            subject_id=job.rotation.secret_name,
            key_version=version,
            details={"vault": settings.VAULT, "reason": f"rotation {reason}"},
        )
    )


def look_at(job: Job, version: str, reason: str) -> Verdict:
    """What the provider says about a version's key. One that was never stored, or is gone, has no value to ask with."""
    value = read_key(job, version, reason) if version else None
    return Verdict.DEAD if value is None else job.look(value)


def is_listed(job: Job) -> bool:
    """Whether the provider still lists the key that goes: the proof where there is no value to ask with."""
    key_id, project_id = known_key_to_retire(job.rotation), job.rotation.project_id
    if not key_id or not project_id:
        return False
    admin = job.tools.open_admin(job.department.organization)
    if isinstance(admin, AdminKeyMissing):
        return False
    with admin as api:
        return any(key.id == key_id for key in api.list_keys(project_id))


def last_use_of_ours(job: Job) -> datetime | None:
    """When our own record last shows a call with the key that goes."""
    fingerprint = fingerprint_to_retire(job.rotation)
    calls = AuditEvent.objects.filter(
        department_id=job.department.pk, event=Event.CALL_REQUESTED, key_fingerprint=fingerprint
    )
    return calls.order_by("-at").values_list("at", flat=True).first() if fingerprint else None


def last_use_at_provider(job: Job) -> datetime | None:
    key_id = known_key_to_retire(job.rotation)
    if not key_id or not job.rotation.project_id:
        return None
    admin = job.tools.open_admin(job.department.organization)
    if isinstance(admin, AdminKeyMissing):
        return None
    with admin as api:
        return next((key.last_used_at for key in api.list_keys(job.rotation.project_id) if key.id == key_id), None)


# -- making


def service_account(job: Job, api: Admin) -> str:
    """The service account the new key belongs to: that of the old key, or a new one, found by name after a crash."""
    rotation = job.rotation
    if rotation.old_account_id and not rotation.own_account:
        return rotation.old_account_id
    found = next((one for one in api.list_service_accounts(rotation.project_id) if one.name == job.key_name), None)
    account = found or api.create_service_account(rotation.project_id, job.key_name)
    api.grant_role(rotation.project_id, account.id)
    return account.id


def lifetime_of(job: Job) -> tuple[timedelta, dict[str, Any]]:
    row = ProviderProject.objects.filter(department=job.department).first()
    if row is None:
        return LIFETIME, {}
    return timedelta(days=row.key_days), {"scopes": row.key_scopes} if row.key_scopes else {}


def take_from_inbox(job: Job) -> Outcome:
    """A pasted key waits where the web may write; from there it goes where readers look."""
    vault = job.tools.vault
    try:
        pasted = vault.get_version(job.inbox, job.token).value
    except SecretMissing:
        problem = "It waits for a person to paste a new key."
        return Pause(wait=REMIND_EVERY, problem=problem, event=Event.ROTATION_NEEDS_PERSON)
    record_read(job, job.token, "inbox")
    vault.stage(job.rotation.secret_name, job.token, pasted)
    empty_inbox(job)
    value = api_key_in(pasted)
    # a key that was made before somebody pasted one is nobody's: it is deleted by its name at the end
    changes = {"new_fingerprint": value.fingerprint(), "new_key_id": "", "new_account_id": "", "new_expires_at": None}
    return Move(to=Step.VERIFY, event=Event.ROTATION_STAGED, changes=changes)


def empty_inbox(job: Job) -> None:
    try:
        job.tools.vault.delete(job.inbox)
    except SecretMissing:
        pass  # an earlier try had got so far


# -- ending


def version_to_retire(rotation: Rotation) -> str:
    return str(rotation.pk) if rotation.giving_up else rotation.old_version


def fingerprint_to_retire(rotation: Rotation) -> str:
    return rotation.new_fingerprint if rotation.giving_up else rotation.old_fingerprint


def known_key_to_retire(rotation: Rotation) -> str:
    return rotation.new_key_id if rotation.giving_up else rotation.old_key_id


def key_to_retire(job: Job, api: Admin) -> str:
    """Its id. Of a pasted key none is known: it is the one key of the project that ends as the value does."""
    rotation = job.rotation
    known = known_key_to_retire(rotation)
    if known or rotation.giving_up:
        return known
    value = read_key(job, rotation.old_version, "retire")
    found = [key.id for key in api.list_keys(rotation.project_id) if value is not None and key.matches(value)]
    return found[0] if len(found) == 1 else ""


def delete_ours(job: Job, api: Admin, keep: str) -> None:
    """Delete keys that carry this rotation's name: made by a try whose answer was lost, or by a worker that was."""
    if not job.rotation.project_id:
        return
    for key in api.list_keys(job.rotation.project_id):
        if key.name == job.key_name and key.id != keep:
            api.delete_key(job.rotation.project_id, key.id)


def retired_how(api: Admin, rotation: Rotation, key_id: str) -> str:
    if not key_id:
        return "never made"
    try:
        return api.retire_key(rotation.project_id, key_id)
    except AdminRejected:
        return "refused"


def require_not_current(job: Job) -> None:
    """The last look before something is deleted for good."""
    rotation = job.rotation
    try:
        current = job.tools.vault.get_current(rotation.secret_name)
    except SecretMissing:
        return
    record_read(job, current.version_id, "retire")
    value = json.loads(current.value.reveal())
    fingerprint, key_id = Secret(value["api_key"]).fingerprint(), value.get("key_id") or "unknown"
    going = (fingerprint_to_retire(rotation), known_key_to_retire(rotation))
    if (fingerprint == going[0] or key_id == going[1]) and not rotation.deletion_confirmed:
        raise NotOursToDelete(f"rotation {rotation.pk}: the key to be deleted is the current one")


def left_to_a_person(job: Job) -> Outcome:
    rotation = job.rotation
    if rotation.giving_up and not (rotation.new_fingerprint if rotation.by_paste else rotation.new_key_id):
        return Move(to=Step.PROVE, event=Event.ROTATION_RETIRED, details={"how": "never made"})
    problem = f"Delete the key {fingerprint_to_retire(rotation)} at the provider."
    changes = {"by_person": True, "problem": problem}
    return Move(to=Step.PROVE, event=Event.ROTATION_NEEDS_PERSON, changes=changes, details={"problem": problem})


def superseded(job: Job) -> Outcome:
    """The old key's account holds the new key too: the next rotation makes its own account and deletes this one."""
    rotation, now = job.rotation, job.tools.now()

    def follow() -> None:
        mode = Mode.EMERGENCY if rotation.mode == Mode.EMERGENCY else Mode.PROMPT
        also_prove = unproven(rotation)
        following(rotation, now, trigger=rotation.trigger, mode=mode, own_account=True, also_prove=also_prove)

    return closing(Result.SUPERSEDED, Event.ROTATION_NOT_RETIRED, also=follow)


def following(rotation: Rotation, now: datetime, **columns: Any) -> Rotation:
    """The row of an exchange that takes over where this one ends."""
    return Rotation.objects.create(
        what=rotation.what,
        organization=rotation.organization,
        department=rotation.department,
        secret_name=rotation.secret_name,
        started_at=now,
        step_since=now,
        **columns,
    )


def unproven(rotation: Rotation) -> list[str]:
    """Versions whose value is to be refused before this rotation's duty is done: its own, and those it was handed."""
    own = version_to_retire(rotation)
    return [*([own] if own else []), *rotation.also_prove]


def closing(result: str, event: Event, **more: Any) -> Move:
    changes = {"result": result, **more.pop("changes", {})}
    return Move(to=Step.CLOSED, event=event, changes=changes, **more)


def is_outage(rotation: Rotation) -> bool:
    return rotation.deletion_confirmed and not rotation.promoted_at


def result_of(rotation: Rotation) -> str:
    if is_outage(rotation):
        return Result.OUTAGE
    return Result.ROLLED_BACK if rotation.giving_up else Result.DONE


def afterwards(job: Job) -> Callable[[], Any]:
    """What is noted when the key that went is proven dead."""
    rotation = job.rotation

    def note() -> None:
        if rotation.what == Rotation.What.KEY and is_outage(rotation):
            KeyReference.objects.filter(department=job.department).update(state=KeyReference.State.BROKEN)
        elif rotation.what == Rotation.What.ADMIN_KEY and is_outage(rotation):
            AdminKeyReference.objects.filter(organization=job.organization).update(state=AdminKeyReference.State.BROKEN)
        elif rotation.what != Rotation.What.STORE_PASSWORD:  # a paste is of a key, whoever has seen the password
            subject = subject_of(rotation)
            forget_pasted(subject, but=paster_of_current(subject))

    return note


def paster_of_current(subject: Subject) -> UUID | None:
    """Who pasted the key that readers get; None where ChatGrid made it, or there is none."""
    references = (
        KeyReference.objects.filter(department=subject.department)
        if subject.department
        else AdminKeyReference.objects.filter(organization=subject.organization)
    )
    version = references.values_list("version", flat=True).first()
    installed_by = next((each for each in subject.rotations() if str(each.pk) == version), None)
    return installed_by.pasted_by_id if installed_by and installed_by.by_paste else None


def iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
