"""The ten steps of a rotation and the one back: what each does, and what follows. The rules are in `rotation.py`.

A step acts on the secret manager and on the provider, writes nothing of its own into our database, and says what
follows: `Move` (with the event and the columns that go into one transaction), `Pause` or `GiveUp`. Every step can be
taken again from its beginning, whatever it had already done when its process died.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from audit.events import Event
from departments.keys.admin_api import AdminKeyMissing, NewKey
from departments.keys.models import ProviderProject
from departments.keys.reader import KeyOrigin, key_document, note_provider_key
from departments.keys.rotation_job import (
    ALARM_AFTER,
    FOREIGN_SLACK,
    FRESH_TRIAL,
    HOLD,
    REFUSED_FOR,
    REMIND_EVERY,
    GiveUp,
    Job,
    Mode,
    Move,
    Outcome,
    Pause,
    Result,
    Step,
    backoff,
    drain_time,
)
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_parts import (
    afterwards,
    closing,
    empty_inbox,
    fingerprint_to_retire,
    is_never_made,
    iso,
    last_use_of_ours,
    left_to_a_person,
    look_at,
    old_key,
    project_of,
    read_key,
    record_read,
    require_not_current,
    result_of,
    staged,
    staged_as,
    superseded,
    version_to_retire,
)
from departments.keys.rotation_provider import (
    can_mint,
    can_mint_now,
    delete_ours,
    ended_with_its_project,
    is_listed,
    is_open,
    key_to_retire,
    last_use_at_provider,
    lifetime_of,
    open_project,
    retired_how,
    service_account,
)
from departments.keys.secret import Secret
from departments.keys.trial import Verdict
from departments.keys.vaults import SecretMissing, StaleExpectation


def plan(job: Job) -> Outcome:
    """Remember which version is current and which key is in it. Reads only."""
    rotation = job.rotation
    try:
        current = job.tools.vault.describe(rotation.secret_name).current
    except SecretMissing:
        current = None
    project, account = project_of(job)
    changes: dict[str, Any] = old_key(job, current) if current else {"project_id": project, "old_account_id": account}
    if not rotation.by_paste and not can_mint(job, changes["project_id"]):
        changes["by_paste"] = True
    by_paste = rotation.by_paste or changes.get("by_paste", False)
    details = {"old_version": current or "", "old_fingerprint": changes.get("old_fingerprint", "")}
    return Move(
        to=Step.STAGE if by_paste else Step.MINT, event=Event.ROTATION_PLANNED, changes=changes, details=details
    )


def mint(job: Job) -> Outcome:
    """Make the new key. What an earlier try made is deleted first: its value was lost with its process."""
    rotation = job.rotation
    if rotation.deletion_confirmed:
        return Move(to=Step.RETIRE, event=Event.ROTATION_CONFIRMED, changes={"needs_confirmation": False})
    if rotation.by_paste or staged(job) is not None:
        return Move(to=Step.STAGE, event=Event.ROTATION_REPEATED)
    admin = job.tools.open_admin(job.department.organization)
    if isinstance(admin, AdminKeyMissing):
        return Move(to=Step.STAGE, event=Event.ROTATION_REPEATED, changes={"by_paste": True})
    with admin as api:
        project_id = open_project(job, api)
        delete_ours(job, api, project_id, keep="")
        account = service_account(job, api, project_id)
        lifetime, scopes = lifetime_of(job)
        key = api.create_key(project_id, account, job.key_name, expires_in=lifetime, **scopes)
    return minted(key, account, project_id)


def minted(key: NewKey, account: str = "", project_id: str = "") -> Move:
    """The new key is made; its value goes to the next step and nowhere else."""
    changes = {
        "project_id": project_id,
        "new_key_id": key.id,
        "new_account_id": account,
        "new_fingerprint": key.value.fingerprint(),
        "new_expires_at": key.expires_at,
        "needs_confirmation": False,
    }
    return Move(
        to=Step.STAGE,
        event=Event.ROTATION_MINTED,
        changes=changes,
        details={"key_id": key.id, "fingerprint": key.value.fingerprint()},
        carried=key,
    )


def stage(job: Job) -> Outcome:
    """Store the new value under the rotation's id, where readers do not look."""
    if can_mint_now(job):
        return Move(to=Step.MINT, event=Event.ROTATION_REPEATED, changes={"by_paste": False})
    return staged_as(job, _document)


def _document(job: Job, value: Secret) -> Secret:
    rotation = job.rotation
    origin = KeyOrigin(
        key_id=rotation.new_key_id,
        project_id=rotation.project_id,
        service_account_id=rotation.new_account_id,
        expires_at=rotation.new_expires_at,
    )
    return key_document(value, job.token, origin, provider=job.department.provider)


def verify(job: Job) -> Outcome:
    """Try the staged value on what the department needs."""
    return tried(job, lambda value: job.tools.try_out(job.department, value, job.token))


def tried(job: Job, look: Callable[[Secret], Verdict]) -> Outcome:
    """What follows from a trial of the staged value."""
    value = read_key(job, job.token, "verify")
    if value is None:
        return GiveUp("the staged key is gone from the secret manager")
    verdict = look(value)
    if verdict is Verdict.FORBIDDEN and job.rotation.mode == Mode.EMERGENCY:
        # a key that may do too little is better than one that somebody else has
        return Move(to=Step.PROMOTE, event=Event.ROTATION_VERIFIED, details={"verdict": verdict.value})
    if verdict is Verdict.FORBIDDEN:
        return GiveUp("the provider knows the new key but does not let it use the department's models")
    if verdict is Verdict.DEAD and job.waited > REFUSED_FOR:
        return GiveUp("the provider refuses the new key")
    if verdict is not Verdict.ALIVE:
        return Pause(wait=backoff(job.rotation.tries, longest=60), problem=f"The new key was tried: {verdict.value}.")
    return Move(to=Step.PROMOTE, event=Event.ROTATION_VERIFIED, details={"verdict": verdict.value})


def promote(job: Job) -> Outcome:
    """Make our version current if the remembered one still is."""
    rotation, now = job.rotation, job.tools.now()
    if job.waited > FRESH_TRIAL:
        return Move(to=Step.VERIFY, event=Event.ROTATION_REPEATED)
    try:
        job.tools.vault.promote(rotation.secret_name, job.token, rotation.old_version or None)
    except StaleExpectation:
        return GiveUp("somebody else has exchanged the key meanwhile")
    return Move(to=Step.UNSTAGE, event=Event.ROTATION_PROMOTED, changes={"promoted_at": now})


def revert(job: Job) -> Outcome:
    """Make the old version current again, unless its key is dead or somebody else's version is current."""
    rotation, vault = job.rotation, job.tools.vault
    current = vault.describe(rotation.secret_name).current
    if current == job.token:
        verdict = look_at(job, rotation.old_version, "revert")
        if verdict is Verdict.UNCLEAR:
            return Pause(wait=backoff(rotation.tries, longest=60), problem="It is unclear whether the old key lives.")
        if verdict is Verdict.DEAD:
            forward = {"giving_up": False, "give_up_asked": False}
            return Move(to=Step.UNSTAGE, event=Event.ROTATION_NOT_REVERTED, changes=forward)
        vault.promote(rotation.secret_name, rotation.old_version, job.token)
    # whether or not ours had become current before a crash: somebody may have read it
    changes = {"promoted_at": rotation.promoted_at or job.tools.now()}
    return Move(to=Step.UNSTAGE, event=Event.ROTATION_REVERTED, changes=changes, details={"current": current or ""})


def unstage(job: Job) -> Outcome:
    """Take the mark "pending" off our version, and out of the inbox what will not be used."""
    rotation = job.rotation
    job.tools.vault.drop_stage(rotation.secret_name, job.token)
    if rotation.what != Rotation.What.STORE_PASSWORD:
        empty_inbox(job)
    seen_by_readers = not rotation.giving_up or rotation.promoted_at is not None
    return Move(to=Step.ANNOUNCE if seen_by_readers else Step.RETIRE, event=Event.ROTATION_UNSTAGED)


def announce(job: Job) -> Outcome:
    """Raise the department's epoch: every process drops what it has cached at its next call."""
    rotation = job.rotation
    current = job.tools.vault.get_current(rotation.secret_name)
    value = json.loads(current.value.reveal())
    expires = value.get("expires_at")
    origin = KeyOrigin(
        key_id=value.get("key_id", ""),
        project_id=value.get("project_id", ""),
        service_account_id=value.get("service_account_id", ""),
        expires_at=datetime.fromisoformat(expires) if expires else None,
    )

    def note() -> None:
        note_provider_key(job.department, Secret(value["api_key"]), current.version_id, origin)
        if origin.service_account_id:
            ProviderProject.objects.filter(department=job.department).update(
                service_account_id=origin.service_account_id
            )

    record_read(job, current.version_id, "announce")
    changes = {"announced_at": job.tools.now()}
    if not rotation.old_version:
        return closing(Result.DONE, Event.ROTATION_ANNOUNCED, changes=changes, also=note)
    at_once = rotation.mode == Mode.EMERGENCY and not rotation.giving_up
    return Move(to=Step.RETIRE if at_once else Step.DRAIN, event=Event.ROTATION_ANNOUNCED, changes=changes, also=note)


def drain(job: Job) -> Outcome:
    """Wait until no process of ours can still use the key that goes, and our own record shows that none does."""
    rotation, now = job.rotation, job.tools.now()
    if rotation.mode == Mode.EMERGENCY and not rotation.giving_up:
        return Move(to=Step.RETIRE, event=Event.ROTATION_DRAINED, details={"cut_short": True})  # hurried meanwhile
    announced = rotation.announced_at or now
    ours = last_use_of_ours(job)
    quiet = max(announced, ours or announced) + drain_time()
    if now < quiet:
        return Pause(wait=quiet - now, problem="It waits until calls with the old key have ended.")
    provider = last_use_at_provider(job)
    foreign = provider is not None and provider > max(announced, ours or announced) + FOREIGN_SLACK
    if foreign and rotation.alarmed_at is None:
        return Pause(
            wait=timedelta(0),
            problem="The old key is used by somebody else than ChatGrid.",
            event=Event.ROTATION_FOREIGN_USE,
            changes={"alarmed_at": now},
        )
    hold = rotation.mode == Mode.PLANNED and not rotation.giving_up
    details = {"last_use": iso(ours), "last_use_at_provider": iso(provider), "foreign_use": foreign}
    return Move(
        to=Step.RETIRE,
        event=Event.ROTATION_DRAINED,
        changes={"alarmed_at": None},
        details=details,
        not_before=now + HOLD if hold else None,
    )


def retire(job: Job) -> Outcome:
    """Delete the key that goes, by its id, and whatever else of this rotation is at the provider."""
    rotation = job.rotation
    require_not_current(job)
    admin = job.tools.open_admin(job.department.organization) if rotation.project_id else None
    if admin is None or isinstance(admin, AdminKeyMissing):
        return left_to_a_person(job)
    with admin as api:
        if not is_open(api, rotation.project_id):
            return ended_with_its_project(job)
        keep = rotation.old_key_id if rotation.giving_up else rotation.new_key_id
        delete_ours(job, api, rotation.project_id, keep)
        key_id = key_to_retire(job, api)
        if not key_id and version_to_retire(rotation) and not is_never_made(rotation):
            return left_to_a_person(job)
        if rotation.own_account and not rotation.giving_up:
            api.delete_service_account(rotation.project_id, rotation.old_account_id)
            how = "account"
        else:
            how = retired_how(api, rotation, key_id)
    if how == "refused":
        return superseded(job)
    # of a key that was pasted the id is known only now; usage that is counted late is told by it
    changes = {} if rotation.giving_up else {"old_key_id": key_id}
    details = {"key_id": key_id, "how": how}
    return Move(to=Step.PROVE, event=Event.ROTATION_RETIRED, changes=changes, details=details)


def prove(job: Job) -> Outcome:
    """Call with the value of the deleted key until the provider refuses it."""
    rotation, now = job.rotation, job.tools.now()
    verdict = look_at(job, version_to_retire(rotation), "prove")
    if verdict is Verdict.DEAD and not is_listed(job):
        alive = [version for version in rotation.also_prove if look_at(job, version, "prove") is not Verdict.DEAD]
        if not alive:
            empty_inbox(job)  # of a key that was pasted when this one had found another way
            return closing(result_of(rotation), Event.ROTATION_PROVED, also=afterwards(job))
        problem = "The key of an earlier exchange still works. Delete at the provider every key but the newest."
        if job.waited < ALARM_AFTER and not rotation.by_person:
            return Pause(wait=backoff(rotation.tries, longest=30), problem=problem)  # caches may know it for a while
        return Pause(wait=REMIND_EVERY, problem=problem, event=Event.ROTATION_REMINDED)
    if rotation.by_person:
        problem = f"Delete the key {fingerprint_to_retire(rotation)} at the provider: it still works."
        return Pause(wait=REMIND_EVERY, problem=problem, event=Event.ROTATION_REMINDED)
    problem = "The provider still takes the deleted key."
    if job.waited < ALARM_AFTER:
        return Pause(wait=backoff(rotation.tries, longest=30), problem=problem)
    if rotation.alarmed_at is None:
        return Pause(
            wait=timedelta(minutes=5), problem=problem, event=Event.ROTATION_REMINDED, changes={"alarmed_at": now}
        )
    return Pause(wait=timedelta(minutes=5), problem=problem)


STEPS: dict[str, Callable[[Job], Outcome]] = {
    Step.PLAN: plan,
    Step.MINT: mint,
    Step.STAGE: stage,
    Step.VERIFY: verify,
    Step.PROMOTE: promote,
    Step.REVERT: revert,
    Step.UNSTAGE: unstage,
    Step.ANNOUNCE: announce,
    Step.DRAIN: drain,
    Step.RETIRE: retire,
    Step.PROVE: prove,
}
