"""What the steps of a rotation are made of: looking, making, ending. The rules are in `rotation.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from audit.events import Event
from audit.models import AuditEvent
from audit.writer import Entry, record
from departments.keys.key_people import forget_pasted
from departments.keys.models import AdminKeyReference, KeyReference, ProviderProject
from departments.keys.reader import fields_of
from departments.keys.rotation_job import (
    REMIND_EVERY,
    GiveUp,
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
from departments.keys.taken import why_not
from departments.keys.trial import Verdict
from departments.keys.vaults import SecretMissing

UNREADABLE = (
    "What the secret manager held was no key of ChatGrid's form, so nobody can say which key that was. "
    "Delete at the provider every key of this department but the newest."
)

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
        "old_fingerprint": fingerprint_in(value),
        "project_id": value.get("project_id") or project,
    }


def project_of(job: Job) -> tuple[str, str]:
    """The department's project and service account at the provider, as provisioning left them."""
    row = ProviderProject.objects.filter(department=job.department).first()
    return (row.project_id, row.service_account_id) if row else ("", "")


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
    return fields_of(found.value)


def fingerprint_in(fields: Mapping[str, Any]) -> str:
    """Nothing where somebody has put into the secret manager what is no key."""
    return Secret(fields["api_key"]).fingerprint() if fields else ""


def read_key(job: Job, version: str, reason: str) -> Secret | None:
    """None where there is no such version, or no key in it."""
    try:
        fields = read_document(job, version, reason)
    except SecretMissing:
        return None
    return Secret(fields["api_key"]) if fields else None


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
    try:
        fields = read_document(job, version, reason) if version else {}
    except SecretMissing:
        fields = {}
    return job.look(Secret(fields["api_key"]), fields.get("provider", "")) if fields else Verdict.DEAD


def last_use_of_ours(job: Job) -> datetime | None:
    """When our own record last shows a call with the key that goes."""
    fingerprint = fingerprint_to_retire(job.rotation)
    calls = AuditEvent.objects.filter(
        department_id=job.department.pk, event=Event.CALL_REQUESTED, key_fingerprint=fingerprint
    )
    return calls.order_by("-at").values_list("at", flat=True).first() if fingerprint else None


# -- making


def take_from_inbox(job: Job, refusal_of: Callable[[Job, Secret], str]) -> Outcome:
    """A pasted key waits where the web may write; from there it goes where readers look."""
    vault = job.tools.vault
    try:
        pasted = vault.get_version(job.inbox, job.token).value
    except SecretMissing:
        problem = "It waits for a person to paste a new key."
        return Pause(wait=REMIND_EVERY, problem=problem, event=Event.ROTATION_NEEDS_PERSON)
    record_read(job, job.token, "inbox")
    value = api_key_in(pasted)
    # it may have come into use after it was pasted
    if refusal := why_not(subject_of(job.rotation), value.fingerprint()) or refusal_of(job, value):
        return GiveUp(refusal)
    vault.stage(job.rotation.secret_name, job.token, pasted)
    empty_inbox(job)
    # a key that was made before somebody pasted one is nobody's: it is deleted by its name at the end
    changes = {"new_fingerprint": value.fingerprint(), "new_key_id": "", "new_account_id": "", "new_expires_at": None}
    return Move(to=Step.VERIFY, event=Event.ROTATION_STAGED, changes=changes)


def staged_as(
    job: Job,
    document: Callable[[Job, Secret], Secret],
    refusal_of: Callable[[Job, Secret], str] = lambda job, pasted: "",
) -> Outcome:
    """The value that was just made, pasted or stored by an earlier try, in the form its readers know."""
    rotation, held = job.rotation, staged(job)
    if held is None and rotation.by_paste:
        return take_from_inbox(job, refusal_of)
    if held is None and job.carried is None:
        return Move(to=Step.MINT, event=Event.ROTATION_REPEATED)
    if held is None and job.carried is not None:
        job.tools.vault.stage(rotation.secret_name, job.token, document(job, job.carried.value))
    if rotation.by_paste:
        empty_inbox(job)
    value = api_key_in(staged(job))
    return Move(to=Step.VERIFY, event=Event.ROTATION_STAGED, changes={"new_fingerprint": value.fingerprint()})


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


def is_never_made(rotation: Rotation) -> bool:
    """Given up before there was a new key."""
    return rotation.giving_up and not (rotation.new_fingerprint if rotation.by_paste else rotation.new_key_id)


def require_not_current(job: Job) -> None:
    """The last look before something is deleted for good."""
    rotation = job.rotation
    try:
        current = job.tools.vault.get_current(rotation.secret_name)
    except SecretMissing:
        return
    record_read(job, current.version_id, "retire")
    fields = fields_of(current.value)
    held = {fingerprint_in(fields), fields.get("key_id") or ""}
    going = {fingerprint_to_retire(rotation), known_key_to_retire(rotation)}
    if (held & going) - {""} and not rotation.deletion_confirmed:
        raise NotOursToDelete(f"rotation {rotation.pk}: the key to be deleted is the current one")


def left_to_a_person(job: Job) -> Outcome:
    rotation = job.rotation
    if is_never_made(rotation):
        return Move(to=Step.PROVE, event=Event.ROTATION_RETIRED, details={"how": "never made"})
    named = fingerprint_to_retire(rotation)
    problem = f"Delete the key {named} at the provider." if named else UNREADABLE
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
