"""Exchanging a department's key without a failed call, and proving that the old one is dead.

PLAN -> MINT -> STAGE -> VERIFY -> PROMOTE -> UNSTAGE -> ANNOUNCE -> DRAIN -> RETIRE -> PROVE -> CLOSED
          (a pasted key: no MINT)    |__ REVERT: the old key becomes current again __|

Rules:
- A department has at most one open rotation; the database refuses a second. Asking for one joins the open one.
- The row says which step is next. A step acts first and the row moves after it, together with the event that tells of
  it, in one transaction; so a process may die anywhere and the step is taken again. Every step bears that.
- One worker holds a rotation at a time: a claim by conditional update, with an end. A row moves only from the step, and
  under the claim, that its worker saw. Whatever a step calls ends long before a claim does.
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
- What is unreachable is tried again, with growing pauses; `problem` says on the page what it waits for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

from audit.events import Event
from audit.writer import Entry, record
from departments.keys.admin_api import AdminApiError, NewKey, open_admin_api
from departments.keys.key_people import note_pasted
from departments.keys.reader import current_vault, key_document, key_name
from departments.keys.rotation_job import (
    MINT_TRIES,
    GiveUp,
    Job,
    Mode,
    Move,
    NotOursToDelete,
    Outcome,
    Pause,
    Step,
    Tools,
    backoff,
)
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_steps import STEPS
from departments.keys.secret import Secret
from departments.keys.trial import look, try_out
from departments.keys.vaults import TokenReused, VaultError
from departments.keys.vaults.names import inbox_name
from departments.models import Department

CLAIM = timedelta(minutes=5)  # far longer than any step may take
PATIENCE = 300.0  # seconds, the longest pause after something was unreachable
NEVER_PROMOTED = {Step.PLAN, Step.MINT, Step.STAGE, Step.VERIFY}
UNEXPECTED = "Something unexpected happened; the worker's log has it. It is tried again."
URGENCY = (Mode.PLANNED, Mode.PROMPT, Mode.EMERGENCY)
MODES = {Rotation.Trigger.LEAK: Mode.EMERGENCY, Rotation.Trigger.PERSON_LEFT: Mode.PROMPT}

logger = logging.getLogger(__name__)


class RotationError(Exception):
    """A rotation cannot do what was asked. The message is a sentence for the person."""


class TooLate(RotationError):
    """The old key is being deleted, or the rotation is closed."""


class NothingToConfirm(RotationError):
    """The rotation does not wait for this."""


class ClaimLost(Exception):
    """Another worker has gone on with the rotation. Nothing was written."""


@dataclass(frozen=True)
class By:
    """The person who asked."""

    id: UUID
    name: str


def default_tools() -> Tools:
    """The configured secret manager, the organization's admin key and the real provider."""
    return Tools(current_vault(), open_admin_api, look, try_out, timezone.now)


# -- asking for one


def start(department: Department, trigger: str, *, by: By | None = None, mode: str = "", reason: str = "") -> Rotation:
    """Open a rotation, or join the open one; a more urgent mode hurries it. The first step is taken by a worker."""
    wanted = mode or MODES.get(Rotation.Trigger(trigger), Mode.PLANNED)
    told = {"trigger": trigger, "mode": wanted, "reason": reason}
    try:
        with transaction.atomic():
            rotation = _new(department, trigger, wanted, by, reason=reason)
            _record(rotation, department, Event.ROTATION_STARTED, told, by)
    except IntegrityError:
        rotation = _hurry(department, trigger, wanted, by, reason)
    transaction.on_commit(lambda: _publish(rotation))
    return rotation


def start_pasted(department: Department, key: Secret, by: By, *, reason: str = "") -> Rotation:
    """The same with a key that a person pasted: it waits in the inbox of the secret manager for the rotator."""
    open_one = Rotation.objects.filter(department=department, closed_at=None).first()
    if open_one is not None and not _waits_for_paste(open_one):
        raise RotationError("A rotation of this key is under way. Wait for its end, or give it up, then paste again.")
    rotation_id = open_one.pk if open_one else uuid4()
    inbox = inbox_name(settings.ENVIRONMENT, rotation_id)
    try:
        current_vault().stage(inbox, str(rotation_id), key_document(key, str(rotation_id)))
    except TokenReused:
        raise RotationError("Another key was pasted a moment ago and is being tried. Wait for its end.") from None
    with transaction.atomic():
        note_pasted(department, by.id)
        if open_one:
            Rotation.objects.filter(pk=rotation_id).update(not_before=None, by_paste=True)
        else:
            told = {"id": rotation_id, "by_paste": True, "reason": reason}
            open_one = _new(department, Rotation.Trigger.PASTE, Mode.PROMPT, by, **told)
        _record(open_one, department, Event.ROTATION_STARTED, {"trigger": "paste", "reason": reason}, by)
    rotation = open_one
    transaction.on_commit(lambda: _publish(rotation))
    return rotation


def give_up(rotation: Rotation, by: By) -> None:
    """Ask for the way back. The worker takes it before its next step; TooLate once the old key is being deleted."""
    asked = Rotation.objects.filter(pk=rotation.pk, closed_at=None, retiring_at=None)
    with transaction.atomic():
        if not asked.update(give_up_asked=True, not_before=None):
            raise TooLate("The old key is already being deleted; there is no way back. Start another rotation.")
        _record(rotation, rotation.department, Event.ROTATION_GIVEN_UP, {"reason": "asked for"}, by)
    transaction.on_commit(lambda: _publish(rotation))


def confirm_deletion(rotation: Rotation, by: By) -> None:
    """In an emergency without a new key: delete the old one all the same. The department has no key afterwards."""
    waiting = Rotation.objects.filter(pk=rotation.pk, closed_at=None, needs_confirmation=True)
    with transaction.atomic():
        if not waiting.update(deletion_confirmed=True, not_before=None):
            raise NothingToConfirm("This rotation does not wait for a confirmation.")
        _record(rotation, rotation.department, Event.ROTATION_CONFIRMED, {}, by)
    transaction.on_commit(lambda: _publish(rotation))


def look_again(rotation: Rotation) -> None:
    """A person says that the old key was deleted: check now instead of tomorrow."""
    Rotation.objects.filter(pk=rotation.pk, closed_at=None).update(not_before=None)
    transaction.on_commit(lambda: _publish(rotation))


# -- moving one


def advance(rotation_id: UUID, tools: Tools | None = None) -> float | None:
    """Take steps until one has to wait; returns for how many seconds. None: closed, not yet due, or held by another."""
    tools = tools or default_tools()
    claim = _claim(rotation_id, tools)
    if claim is None:
        return None
    carried = None
    try:
        while True:
            job = _job(rotation_id, tools, carried)
            outcome = _act(job, claim)
            if isinstance(outcome, Pause):
                return _pause(job, claim, outcome)
            move = _way_back(job, outcome) if isinstance(outcome, GiveUp) else outcome
            _move(job, claim, move)
            if move.to == Step.CLOSED:
                return None
            if move.not_before:
                return max(0.0, (move.not_before - tools.now()).total_seconds())
            carried = move.carried
    except ClaimLost:
        logger.warning("rotation %s: another worker has gone on with it", rotation_id)
        return None
    except Exception:
        # not expected, so it reaches the operator through the worker's log; the tick tries again in a minute
        _pause(_job(rotation_id, tools), claim, Pause(wait=timedelta(minutes=1), problem=UNEXPECTED))
        raise


def tick(tools: Tools | None = None) -> list[UUID]:
    """The open rotations whose next step may be taken now."""
    return list(_due((tools or default_tools()).now()).values_list("pk", flat=True))


def _job(rotation_id: UUID, tools: Tools, carried: NewKey | None = None) -> Job:
    rotation = Rotation.objects.select_related("department__organization").get(pk=rotation_id)
    return Job(rotation, rotation.department, tools, carried)


def _act(job: Job, claim: UUID) -> Outcome:
    """One step; failures that are expected of a network become a pause."""
    rotation = job.rotation
    if rotation.give_up_asked and not rotation.giving_up and rotation.retiring_at is None:
        return GiveUp("asked for")
    if rotation.step == Step.RETIRE and not _pass_point_of_no_return(job, claim):
        return GiveUp("asked for")
    try:
        return STEPS[rotation.step](job)
    except TokenReused:
        raise ClaimLost from None
    except (VaultError, AdminApiError, NotOursToDelete) as error:
        logger.error("rotation %s cannot %s yet: %s", rotation.pk, rotation.step, error)
        return _unreachable(job, str(error))


def _unreachable(job: Job, sentence: str) -> Pause:
    rotation = job.rotation
    wait = backoff(rotation.tries, longest=PATIENCE)
    stuck = rotation.step == Step.MINT and rotation.mode == Mode.EMERGENCY and rotation.tries + 1 >= MINT_TRIES
    if not stuck or rotation.needs_confirmation:
        return Pause(wait=wait, problem=sentence)
    problem = f"No new key can be made. Confirm to delete the old one all the same. {sentence}"
    return Pause(wait=wait, problem=problem, event=Event.ROTATION_NEEDS_PERSON, changes={"needs_confirmation": True})


def _way_back(job: Job, outcome: GiveUp) -> Move:
    """Where a rotation goes that is given up: nothing to undo for readers before PROMOTE, a swap back after it."""
    rotation = job.rotation
    if rotation.giving_up:
        # the way back itself cannot be given up; there is nothing left to do for it at this step
        return Move(to=Step.RETIRE, event=Event.ROTATION_GIVEN_UP, details={"reason": outcome.reason})
    to = Step.UNSTAGE if rotation.step in NEVER_PROMOTED else Step.REVERT
    return Move(to=to, event=Event.ROTATION_GIVEN_UP, changes={"giving_up": True}, details={"reason": outcome.reason})


# -- claims: conditional updates, whose row count says who won


def _due(now: datetime) -> QuerySet[Rotation]:
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    return Rotation.objects.filter(free, Q(not_before=None) | Q(not_before__lte=now), closed_at=None)


def _claim(rotation_id: UUID, tools: Tools) -> UUID | None:
    now, claim = tools.now(), uuid4()
    won = _due(now).filter(pk=rotation_id).update(claim=claim, claimed_until=now + CLAIM)
    return claim if won else None


def _pass_point_of_no_return(job: Job, claim: UUID) -> bool:
    """From here on the rotation cannot be given up. False: somebody asked for that just before."""
    rotation, now = job.rotation, job.tools.now()
    if rotation.retiring_at is not None or rotation.giving_up:
        return True
    held = Rotation.objects.filter(pk=rotation.pk, claim=claim, step=Step.RETIRE)
    if held.filter(give_up_asked=False).update(retiring_at=now, claimed_until=now + CLAIM):
        return True
    if not held.exists():
        raise ClaimLost
    return False


def _move(job: Job, claim: UUID, move: Move) -> None:
    """Go to the next step and tell of the one that is done, in one transaction, if the rotation is still ours."""
    rotation, now = job.rotation, job.tools.now()
    columns = {
        "step": move.to,
        "step_since": now,
        "tries": 0,
        "problem": "",
        "not_before": move.not_before,
        "claimed_until": None if move.not_before else now + CLAIM,
        **move.changes,
    }
    if move.to == Step.CLOSED:
        columns |= {"closed_at": now, "claim": None, "claimed_until": None}
    with transaction.atomic():
        _update(job, claim, columns)
        _record(rotation, job.department, move.event, {"step": rotation.step, **move.details})
        if move.to == Step.CLOSED:
            _record(rotation, job.department, Event.ROTATION_CLOSED, {"result": columns["result"]})
        if move.also:
            move.also()


def _pause(job: Job, claim: UUID, pause: Pause) -> float:
    """Let go of the rotation until its next try. Returns the seconds until then."""
    columns = {
        "tries": F("tries") + 1,
        "problem": pause.problem[:300],
        "not_before": job.tools.now() + pause.wait,
        "claim": None,
        "claimed_until": None,
        **pause.changes,
    }
    with transaction.atomic():
        _update(job, claim, columns)
        if pause.event:
            _record(job.rotation, job.department, pause.event, {"problem": pause.problem})
    return pause.wait.total_seconds()


def _update(job: Job, claim: UUID, columns: dict[str, Any]) -> None:
    rotation = job.rotation
    ours = Rotation.objects.filter(pk=rotation.pk, claim=claim, step=rotation.step, closed_at=None)
    if not ours.update(**columns):
        raise ClaimLost


# -- small parts


def _new(department: Department, trigger: str, mode: str, by: By | None, **more: Any) -> Rotation:
    now = timezone.now()
    return Rotation.objects.create(
        department=department,
        trigger=trigger,
        mode=mode,
        secret_name=key_name(department),
        started_by_id=by.id if by else None,
        started_by_name=by.name if by else "",
        started_at=now,
        step_since=now,
        **more,
    )


def _hurry(department: Department, trigger: str, mode: str, by: By | None, reason: str) -> Rotation:
    """Join the open rotation. A more urgent wish raises its mode and ends a hold; a less urgent one changes nothing."""
    with transaction.atomic():
        rotation = Rotation.objects.select_for_update().filter(department=department, closed_at=None).first()
        if rotation is None:
            # it was closed between the two looks
            return start(department, trigger, by=by, mode=mode, reason=reason)
        if URGENCY.index(mode) > URGENCY.index(rotation.mode):
            rotation.mode = mode
            Rotation.objects.filter(pk=rotation.pk).update(mode=mode, not_before=None)
            told = {"trigger": trigger, "mode": mode, "reason": reason}
            _record(rotation, department, Event.ROTATION_HURRIED, told, by)
    return rotation


def _waits_for_paste(rotation: Rotation) -> bool:
    return rotation.step in {Step.PLAN, Step.STAGE} and rotation.by_paste


def _publish(rotation: Rotation) -> None:
    """Ask a worker to begin now. Where the broker is away the tick finds the row."""
    from departments.keys.tasks import advance_rotation

    try:
        advance_rotation.delay(str(rotation.pk))
    except OperationalError:
        logger.warning("rotation %s: the broker is away; the next tick begins it", rotation.pk)


def _record(
    rotation: Rotation, department: Department, event: Event, details: Mapping[str, Any], by: By | None = None
) -> None:
    organization = department.organization
    record(
        Entry(
            event=event,
            organization_id=organization.pk,
            organization_name=organization.name,
            department_id=department.pk,
            department_name=department.name,
            actor_id=by.id if by else None,
            actor_name=by.name if by else "ChatGrid",
            subject_kind="rotation",
            subject_id=str(rotation.pk),
            details=details,
        )
    )
