"""Exchanging a secret without a failed call, and proving that the old one is dead.

PLAN -> MINT -> STAGE -> VERIFY -> PROMOTE -> UNSTAGE -> ANNOUNCE -> DRAIN -> RETIRE -> PROVE -> CLOSED
          (a pasted key: no MINT)    |__ REVERT: the old key becomes current again __|

Rules:
- One machine for a department's key, an organization's admin key and the password of a store (`rotation_subjects.py`);
  the rules say "key" for all of them. Each kind has steps of its own and shares those that only move labels.
- A secret has at most one open rotation; the database refuses a second. Asking for one joins the open one. Whoever asks
  urgently when the open one has its new key in use already gets another exchange after it: what is in use now is what
  may have leaked. A rotation of which only the proof is left hands that over and does not hold up the next.
- The row says which step is next. A step acts first and the row moves after it, together with the event that tells of
  it, in one transaction; so a process may die anywhere and the step is taken again. Every step bears that.
- One worker holds a rotation at a time: a claim by conditional update, kept alive by a heartbeat
  (`rotation_claims.py`). A row moves only from the step, and under the claim, that its worker saw.
- The value of a new key is in memory from MINT to STAGE and nowhere else. If it is lost, its key is found at the
  provider by the rotation's name and deleted, and MINT makes another.
- Readers see the new key only after it was tried (VERIFY), by a compare-and-swap in the secret manager (PROMOTE). If
  somebody else has exchanged the key meanwhile, the rotation gives up.
- Before a key is deleted: it is not the current one; no process can still have it in its cache; our own record shows no
  call with it since; the provider shows no use of it that we did not record, or IT is told of that use. A planned
  rotation then waits a day, in which it can still be rolled back.
- `retiring_at` is the point of no return. Giving up before it leaves the old key current and the new one deleted.
- A rotation is closed when the provider has refused the deleted key. Until then it alarms.
- Emergency: nothing is drained, the old key goes as soon as the new one is announced. Where no new key can be made, a
  person may confirm that the old one is deleted all the same: an outage is cheaper than a leak.
- Without an admin key a person pastes the new key and deletes the old one; the machine asks, checks daily and reminds.
- A pasted key that is in use already, here or in another department, is not taken (`taken.py`).
- A pasted key waits in an inbox that bears the rotation's id. The row is there before the key is, and the machine
  empties the inbox on every way; so no pasted key is left where nobody looks, whichever process dies.
- A project or a store that is closed for good takes its rotation along: no worker goes on with it.
- A new key that is stored or pasted may have been seen: where somebody with access leaves before it comes into use,
  another exchange follows.
- What is unreachable is tried again, with growing pauses; `problem` says on the page what it waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.events import Event
from departments.keys.admin_key import admin_key_document
from departments.keys.key_people import note_pasted
from departments.keys.reader import current_vault, key_document
from departments.keys.rotation_claims import unclaimed
from departments.keys.rotation_job import Job, Mode, Result, Step
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_parts import empty_inbox, unproven
from departments.keys.rotation_subjects import Subject, as_subject, subject_of
from departments.keys.rotation_tell import By, publish, tell
from departments.keys.rotation_worker import advance, default_tools, tick
from departments.keys.secret import Secret
from departments.keys.taken import why_not
from departments.keys.vaults import TokenReused, VaultError
from departments.keys.vaults.names import inbox_name
from departments.models import Department

__all__ = [
    "By",
    "NothingToConfirm",
    "RotationError",
    "TooLate",
    "advance",
    "confirm_deletion",
    "default_tools",
    "end_for_good",
    "give_up",
    "look_again",
    "start",
    "start_pasted",
    "tick",
]

Note = Callable[[Rotation], object]

URGENCY = ("", Mode.PLANNED, Mode.PROMPT, Mode.EMERGENCY)
TAKES_PASTE = (Step.PLAN, Step.MINT, Step.STAGE)
PASTING = timedelta(minutes=2)  # above the longest a secret manager takes to store a value
MODES = {Rotation.Trigger.LEAK: Mode.EMERGENCY, Rotation.Trigger.PERSON_LEFT: Mode.PROMPT}
UNDER_WAY = "A rotation of this key is under way. Wait for its end, or give it up, then paste again."
AT_WORK = "A worker is taking a step of an exchange right now. Try again in a minute."
JUST_PASTED = "Another key was pasted a moment ago and is being tried. Wait for its end."

_publish = publish  # one name for everything that is asked for here


class RotationError(Exception):
    """A rotation cannot do what was asked. The message is a sentence for the person."""


class TooLate(RotationError):
    """The old key is being deleted, or the rotation is closed."""


class NothingToConfirm(RotationError):
    """The rotation does not wait for this."""


def start(
    target: Department | Subject, trigger: str, *, by: By | None = None, mode: str = "", reason: str = ""
) -> Rotation:
    """Open a rotation of a subject (a department: its key), or join the open one; a more urgent mode hurries it.

    The first step is taken by a worker.
    """
    subject = as_subject(target)
    wanted = mode or MODES.get(Rotation.Trigger(trigger), Mode.PLANNED)
    told = {"trigger": trigger, "mode": wanted, "reason": reason}
    try:
        with transaction.atomic():
            rotation = _new(subject, trigger, wanted, by, reason=reason)
            tell(rotation, Event.ROTATION_STARTED, told, by)
    except IntegrityError:
        joined = _join(subject, wanted, told, by)
        rotation = joined or start(subject, trigger, by=by, mode=mode, reason=reason)
    transaction.on_commit(lambda: _publish(rotation))
    return rotation


def start_pasted(
    target: Department | Subject, key: Secret, by: By, *, reason: str = "", note: Note | None = None
) -> Rotation:
    """The same with a key that a person pasted: it waits in the inbox of the secret manager for the rotator.

    `note` runs in the transaction that says who pasted. RotationError where the key is in use already, here or
    elsewhere (taken.py); a VaultError where it could not be put into the inbox.
    """
    subject = as_subject(target)
    if refusal := why_not(subject, key.fingerprint()):
        raise RotationError(refusal)
    open_one = subject.open_rotation()
    if open_one is not None and not _takes_paste(open_one):
        raise RotationError(UNDER_WAY)
    if open_one is not None and open_one.step != Step.PROVE:
        return _join_with_paste(open_one, key, by, reason, note)
    rotation = _open_for_paste(subject, open_one, by, reason, note)
    try:
        _into_inbox(rotation, key)
    except VaultError:
        _withdraw(rotation, by)
        raise
    Rotation.objects.filter(pk=rotation.pk).update(not_before=None)
    transaction.on_commit(lambda: _publish(rotation))
    return rotation


def give_up(rotation: Rotation, by: By) -> None:
    """Ask for the way back. The worker takes it before its next step; TooLate once the old key is being deleted."""
    asked = Rotation.objects.filter(pk=rotation.pk, closed_at=None, retiring_at=None)
    with transaction.atomic():
        if not asked.update(give_up_asked=True, not_before=None):
            raise TooLate("The old key is already being deleted; there is no way back. Start another rotation.")
        tell(rotation, Event.ROTATION_GIVEN_UP, {"reason": "asked for"}, by)
    transaction.on_commit(lambda: _publish(rotation))


def confirm_deletion(rotation: Rotation, by: By) -> None:
    """In an emergency without a new key: delete the old one all the same. The department has no key afterwards."""
    waiting = Rotation.objects.filter(pk=rotation.pk, closed_at=None, needs_confirmation=True)
    with transaction.atomic():
        if not waiting.update(deletion_confirmed=True, not_before=None):
            raise NothingToConfirm("This rotation does not wait for a confirmation.")
        tell(rotation, Event.ROTATION_CONFIRMED, {}, by)
    transaction.on_commit(lambda: _publish(rotation))


def end_for_good(target: Department | Subject) -> None:
    """Close the open rotation of a secret that goes itself, and empty its inbox.

    RotationError while a worker is at it: what that does must be known before anything is deleted.
    """
    subject = as_subject(target)
    rotation = subject.open_rotation()
    if rotation is None:
        return
    closed = {"step": Step.CLOSED, "result": Result.ARCHIVED, "closed_at": timezone.now(), "not_before": None}
    closed |= {"claim": None, "claimed_until": None}
    with transaction.atomic():
        if not unclaimed(timezone.now()).filter(pk=rotation.pk, closed_at=None).update(**closed):
            raise RotationError(AT_WORK)
        tell(rotation, Event.ROTATION_CLOSED, {"result": Result.ARCHIVED})
        empty_inbox(Job(rotation, default_tools()))


def look_again(rotation: Rotation) -> None:
    """A person says that the old key was deleted: check now instead of tomorrow."""
    Rotation.objects.filter(pk=rotation.pk, closed_at=None).update(not_before=None)
    transaction.on_commit(lambda: _publish(rotation))


# -- small parts


def _new(subject: Subject, trigger: str, mode: str, by: By | None, **more: Any) -> Rotation:
    now = timezone.now()
    return Rotation.objects.create(
        what=subject.what,
        organization=subject.organization,
        department=subject.department,
        trigger=trigger,
        mode=mode,
        secret_name=subject.secret_name,
        started_by_id=by.id if by else None,
        started_by_name=by.name if by else "",
        started_at=now,
        step_since=now,
        **more,
    )


def _join(subject: Subject, mode: str, told: dict[str, Any], by: By | None) -> Rotation | None:
    """The open rotation. A more urgent wish raises its mode and ends a hold; a less urgent one changes nothing.

    None where it was closed between the two looks.
    """
    with transaction.atomic():
        rotation = subject.rotations().select_for_update().filter(closed_at=None).first()
        if rotation is None:
            return None
        wishes = _hurried(rotation, mode, leaver=told["trigger"] == Rotation.Trigger.PERSON_LEFT)
        changes = {name: value for name, value in wishes.items() if getattr(rotation, name) != value}
        if changes:
            Rotation.objects.filter(pk=rotation.pk).update(**changes, not_before=None)
            tell(rotation, Event.ROTATION_HURRIED, told, by)
            rotation.refresh_from_db()
    return rotation


def _hurried(rotation: Rotation, mode: str, leaver: bool) -> dict[str, str]:
    """What a wish changes. It comes too late for this rotation where what readers get will not change any more.

    Nor does a key that is there already, pasted or stored: somebody who leaves may have seen it.
    """
    may_be_known = leaver and (rotation.new_fingerprint or rotation.pasted_by_id)
    decided = rotation.promoted_at or rotation.giving_up or rotation.give_up_asked or may_be_known
    wants_another = decided and (mode != Mode.PLANNED or rotation.step == Step.PROVE)
    urgent = max(rotation.mode, mode, key=URGENCY.index)
    return {"mode": urgent, "again": max(rotation.again, mode, key=URGENCY.index) if wants_another else rotation.again}


def _takes_paste(rotation: Rotation) -> bool:
    """A rotation that waits for a paste, cannot make a key, or has only the proof left."""
    stuck = (rotation.by_paste or bool(rotation.problem)) and not (rotation.give_up_asked or rotation.giving_up)
    return rotation.step == Step.PROVE or (rotation.step in TAKES_PASTE and stuck)


def _into_inbox(rotation: Rotation, key: Secret) -> None:
    """RotationError where another key lies there."""
    token, subject = str(rotation.pk), subject_of(rotation)
    try:
        current_vault().stage(inbox_name(settings.ENVIRONMENT, rotation.pk), token, _document(subject, key, token))
    except TokenReused:
        raise RotationError(JUST_PASTED) from None


def _join_with_paste(rotation: Rotation, key: Secret, by: By, reason: str, note: Note | None) -> Rotation:
    """Give a key to the rotation that waits for one. Where it has found another way meanwhile, it empties the inbox."""
    waiting = Rotation.objects.filter(pk=rotation.pk, step__in=TAKES_PASTE, closed_at=None)
    with transaction.atomic():
        if waiting.filter(pasted_by_id=None).update(pasted_by_id=by.id):
            note_pasted(subject_of(rotation), by.id)
    _into_inbox(rotation, key)
    with transaction.atomic():
        if not waiting.update(not_before=None, by_paste=True, pasted_by_id=by.id):
            raise RotationError(UNDER_WAY)
        _note_paste(rotation, by, reason, note)
    transaction.on_commit(lambda: _publish(rotation))
    return rotation


def _open_for_paste(subject: Subject, proving: Rotation | None, by: By, reason: str, note: Note | None) -> Rotation:
    """A rotation of its own, which no worker begins before the key is there, or should have been."""
    try:
        with transaction.atomic():
            duties = _close_for_another(proving, timezone.now()) if proving else []
            told = {"by_paste": True, "pasted_by_id": by.id, "reason": reason, "also_prove": duties}
            told["not_before"] = timezone.now() + PASTING
            rotation = _new(subject, Rotation.Trigger.PASTE, Mode.PROMPT, by, **told)
            _note_paste(rotation, by, reason, note)
    except IntegrityError:
        raise RotationError(JUST_PASTED) from None
    return rotation


def _note_paste(rotation: Rotation, by: By, reason: str, note: Note | None) -> None:
    note_pasted(subject_of(rotation), by.id)
    tell(rotation, Event.ROTATION_STARTED, {"trigger": "paste", "reason": reason}, by)
    if note is not None:
        note(rotation)


def _withdraw(rotation: Rotation, by: By) -> None:
    """The secret manager did not say that it took the key, and may have all the same: the worker clears that away."""
    with transaction.atomic():
        Rotation.objects.filter(pk=rotation.pk, closed_at=None).update(give_up_asked=True, not_before=None)
        tell(rotation, Event.ROTATION_GIVEN_UP, {"reason": "the secret manager did not take the pasted key"}, by)
    transaction.on_commit(lambda: _publish(rotation))


def _close_for_another(rotation: Rotation, now: datetime) -> list[str]:
    """End a rotation of which only the proof is left; the versions that are still to be proven dead."""
    closed = {"step": Step.CLOSED, "result": Result.HANDED_OVER, "closed_at": now, "claim": None, "claimed_until": None}
    if not Rotation.objects.filter(pk=rotation.pk, step=Step.PROVE, closed_at=None).update(**closed):
        return []  # proven in this moment
    tell(rotation, Event.ROTATION_CLOSED, {"result": Result.HANDED_OVER})
    return unproven(rotation)


def _document(subject: Subject, key: Secret, token: str) -> Secret:
    if subject.department is None:
        return admin_key_document(key, "")
    return key_document(key, token, provider=subject.department.provider)
