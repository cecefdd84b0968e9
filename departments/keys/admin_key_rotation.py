"""How an organization's admin key is exchanged: by the machine of `rotation.py`, with these steps of its own.

Rules:
- The old admin key makes the new one and the new one deletes the old one; what only moves labels is shared.
- Nothing keeps an admin key: who needs it reads it. So draining is waiting for as long as a task may hold one open.
- Where the old one cannot make a new one (there is none, or it was refused), a person pastes it. A pasted one that sees
  none of our projects is of another organization at OpenAI: it could not end the old one, and all would seem gone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from audit.events import Event
from departments.keys import rotation_steps
from departments.keys.admin_api import AdminApi, AdminKeyMissing
from departments.keys.admin_key import admin_key_document, note_admin_key
from departments.keys.models import AdminKeyReference, ProviderProject
from departments.keys.rotation_job import (
    HOLD,
    LIFETIME,
    Job,
    Mode,
    Move,
    Outcome,
    Pause,
    Result,
    Step,
)
from departments.keys.rotation_parts import (
    api_key_in,
    closing,
    fingerprint_in,
    fingerprint_to_retire,
    known_key_to_retire,
    left_to_a_person,
    read_document,
    read_key,
    record_read,
    require_not_current,
    staged_as,
    version_to_retire,
)
from departments.keys.rotation_steps import minted, tried
from departments.keys.secret import Secret
from departments.keys.trial import sees_any
from departments.keys.vaults import SecretMissing

ANOTHER_ORGANIZATION = (
    "The pasted admin key sees none of our projects, so it is of another organization at OpenAI. "
    "To move there on purpose, store it with `manage.py store_admin_key`."
)
IN_USE = timedelta(minutes=5)  # above the longest task that holds an admin key: provisioning's lease is three minutes


def plan(job: Job) -> Outcome:
    """Remember which version is current and which key is in it. Reads only."""
    try:
        current = job.tools.vault.describe(job.rotation.secret_name).current
    except SecretMissing:
        current = None
    changes = _old_key(job, current) if current else {}
    by_paste = job.rotation.by_paste or current is None
    details = {"old_version": current or "", "old_fingerprint": changes.get("old_fingerprint", "")}
    return Move(
        to=Step.STAGE if by_paste else Step.MINT,
        event=Event.ROTATION_PLANNED,
        changes={**changes, "by_paste": by_paste},
        details=details,
    )


def mint(job: Job) -> Outcome:
    """Make the new key with the old one; what an earlier try made is deleted first."""
    if job.rotation.deletion_confirmed:
        return Move(to=Step.RETIRE, event=Event.ROTATION_CONFIRMED, changes={"needs_confirmation": False})
    admin = job.tools.open_admin(job.organization)
    if job.rotation.by_paste or isinstance(admin, AdminKeyMissing):
        return Move(to=Step.STAGE, event=Event.ROTATION_REPEATED, changes={"by_paste": True})
    with _opened(admin) as api:
        _delete_ours(job, api, keep="")
        key = api.create_admin_key(job.key_name, expires_in=LIFETIME)
    return minted(key)


def stage(job: Job) -> Outcome:
    """Store the new value under the rotation's id, where nobody looks yet."""
    return staged_as(job, lambda job, value: admin_key_document(value, job.rotation.new_key_id), _refusal_of)


def _refusal_of(job: Job, pasted: Secret) -> str:
    projects = ProviderProject.objects.filter(department__organization=job.organization).exclude(project_id="")
    ours = set(projects.values_list("project_id", flat=True))
    return ANOTHER_ORGANIZATION if ours and not sees_any(pasted, ours) else ""


def verify(job: Job) -> Outcome:
    """Read the organization's projects with the staged value."""
    return tried(job, job.tools.look_admin)


def announce(job: Job) -> Outcome:
    """Note which version is current; nothing has to be told, because nothing keeps an admin key."""
    rotation = job.rotation
    current = job.tools.vault.get_current(rotation.secret_name)
    record_read(job, current.version_id, "announce")
    value, document = api_key_in(current.value), read_document(job, current.version_id, "announce")
    ours = current.version_id == job.token
    origin = {"key_id": document.get("key_id", ""), "expires_at": rotation.new_expires_at if ours else None}
    changes = {"announced_at": job.tools.now()}

    def note() -> None:
        note_admin_key(job.organization, value, current.version_id, **origin)

    if not rotation.old_version:
        return closing(Result.DONE, Event.ROTATION_ANNOUNCED, changes=changes, also=note)
    at_once = rotation.mode == Mode.EMERGENCY and not rotation.giving_up
    return Move(to=Step.RETIRE if at_once else Step.DRAIN, event=Event.ROTATION_ANNOUNCED, changes=changes, also=note)


def drain(job: Job) -> Outcome:
    """Wait until no task can still hold the key that goes."""
    rotation, now = job.rotation, job.tools.now()
    quiet = (rotation.announced_at or now) + IN_USE
    hurried = rotation.mode == Mode.EMERGENCY and not rotation.giving_up
    if now < quiet and not hurried:
        return Pause(wait=quiet - now, problem="It waits until tasks with the old admin key have ended.")
    hold = rotation.mode == Mode.PLANNED and not rotation.giving_up
    return Move(to=Step.RETIRE, event=Event.ROTATION_DRAINED, not_before=now + HOLD if hold else None)


def retire(job: Job) -> Outcome:
    """Delete the key that goes with the one that stays, and whatever else of this rotation is there."""
    rotation = job.rotation
    require_not_current(job)
    admin = job.tools.open_admin(job.organization)
    if isinstance(admin, AdminKeyMissing):
        return left_to_a_person(job)
    with _opened(admin) as api:
        _delete_ours(job, api, keep=rotation.old_key_id if rotation.giving_up else rotation.new_key_id)
        key_id = _key_to_retire(job, api)
        if not key_id and version_to_retire(rotation) and fingerprint_to_retire(rotation):
            return left_to_a_person(job)
        how = "key" if key_id and api.delete_admin_key(key_id) else "gone"
    return Move(to=Step.PROVE, event=Event.ROTATION_RETIRED, details={"key_id": key_id, "how": how})


def _old_key(job: Job, version: str) -> dict[str, Any]:
    value = read_document(job, version, "plan")
    reference = AdminKeyReference.objects.filter(organization=job.organization, version=version).first()
    return {
        "old_version": version,
        "old_key_id": value.get("key_id") or (reference.key_id if reference else ""),
        "old_fingerprint": fingerprint_in(value),
    }


def _opened(admin: Any) -> AdminApi:
    """What a rotation of departments' keys needs of the Admin API does not name these calls."""
    api: AdminApi = admin
    return api


def _delete_ours(job: Job, api: AdminApi, keep: str) -> None:
    """Keys with this rotation's name: made by a try whose answer was lost."""
    for key in api.list_admin_keys():
        if key.name == job.key_name and key.id != keep:
            api.delete_admin_key(key.id)


def _key_to_retire(job: Job, api: AdminApi) -> str:
    """Its id. Of a pasted key none is known: it is the one that ends as the value does."""
    known = known_key_to_retire(job.rotation)
    if known:
        return known
    value = read_key(job, version_to_retire(job.rotation), "retire")
    found = [key.id for key in api.list_admin_keys() if value is not None and key.matches(value)]
    return found[0] if len(found) == 1 else ""


# the others move labels, or ask the provider in a way that `Job` knows for each kind
STEPS: dict[str, Callable[[Job], Outcome]] = {
    **rotation_steps.STEPS,
    Step.PLAN: plan,
    Step.MINT: mint,
    Step.STAGE: stage,
    Step.VERIFY: verify,
    Step.ANNOUNCE: announce,
    Step.DRAIN: drain,
    Step.RETIRE: retire,
}
