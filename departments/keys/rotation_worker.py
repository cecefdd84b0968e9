"""Moving a rotation on: one worker takes step after step until one has to wait. The rules are in `rotation.py`."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from audit.events import Event
from departments.keys.admin_api import AdminApiError, NewKey, open_admin_api
from departments.keys.reader import current_vault
from departments.keys.rotation_claims import CLAIM, ClaimLost, due, kept, win_claim
from departments.keys.rotation_job import (
    MINT_TRIES,
    GiveUp,
    Job,
    Mode,
    Move,
    NotOursToDelete,
    NotYet,
    Outcome,
    Pause,
    Result,
    Step,
    Tools,
    backoff,
)
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_parts import following, unproven
from departments.keys.rotation_subjects import steps_of
from departments.keys.rotation_tell import publish, tell
from departments.keys.trial import look, try_out
from departments.keys.vaults import TokenReused, VaultError

PATIENCE = 300.0  # seconds, the longest pause after something was unreachable
NEVER_PROMOTED = {Step.PLAN, Step.MINT, Step.STAGE, Step.VERIFY}
UNEXPECTED = "Something unexpected happened; the worker's log has it. It is tried again."
TRIGGER_OF = {
    Mode.PLANNED: Rotation.Trigger.BUTTON,
    Mode.PROMPT: Rotation.Trigger.PERSON_LEFT,
    Mode.EMERGENCY: Rotation.Trigger.LEAK,
}

logger = logging.getLogger(__name__)


def default_tools() -> Tools:
    """The configured secret manager, the organization's admin key and the real provider."""
    return Tools(current_vault(), open_admin_api, look, try_out, timezone.now)


def advance(rotation_id: UUID, tools: Tools | None = None) -> float | None:
    """Take steps until one has to wait; returns for how many seconds. None: closed, not yet due, or held by another."""
    tools = tools or default_tools()
    claim = win_claim(rotation_id, tools.now())
    if claim is None:
        return None
    try:
        with kept(rotation_id, claim, tools.now):
            return _go_on(rotation_id, tools, claim)
    except ClaimLost:
        logger.warning("rotation %s: another worker has gone on with it", rotation_id)
        return None
    except Exception:
        # not expected, so it reaches the operator through the worker's log; the tick tries again in a minute
        _pause(_job(rotation_id, tools), claim, Pause(wait=timedelta(minutes=1), problem=UNEXPECTED))
        raise


def tick(tools: Tools | None = None) -> list[UUID]:
    """The open rotations whose next step may be taken now."""
    return list(due((tools or default_tools()).now()).values_list("pk", flat=True))


def _go_on(rotation_id: UUID, tools: Tools, claim: UUID) -> float | None:
    carried = None
    while True:
        job = _job(rotation_id, tools, carried)
        outcome = _act(job, claim)
        if isinstance(outcome, Pause):
            if job.rotation.again and job.rotation.step == Step.PROVE:
                _hand_over(job, claim)
                return None
            return _pause(job, claim, outcome)
        move = _way_back(job, outcome) if isinstance(outcome, GiveUp) else outcome
        _move(job, claim, move)
        if move.to == Step.CLOSED:
            return None
        if move.not_before:
            return max(0.0, (move.not_before - tools.now()).total_seconds())
        carried = move.carried


def _job(rotation_id: UUID, tools: Tools, carried: NewKey | None = None) -> Job:
    rows = Rotation.objects.select_related("organization", "department__organization")
    return Job(rows.get(pk=rotation_id), tools, carried)


def _act(job: Job, claim: UUID) -> Outcome:
    """One step; failures that are expected of a network become a pause."""
    rotation = job.rotation
    if rotation.give_up_asked and not rotation.giving_up and rotation.retiring_at is None:
        return GiveUp("asked for")
    if rotation.step == Step.RETIRE and not _pass_point_of_no_return(job, claim):
        return GiveUp("asked for")
    try:
        outcome: Outcome = steps_of(rotation.what)[rotation.step](job)
        return outcome
    except TokenReused:
        raise ClaimLost from None
    except (VaultError, AdminApiError, NotOursToDelete, NotYet) as error:
        logger.error("rotation %s cannot %s yet: %s", rotation.pk, rotation.step, error)
        return _unreachable(job, str(error))


def _unreachable(job: Job, sentence: str) -> Pause:
    rotation = job.rotation
    wait = backoff(rotation.tries, longest=PATIENCE)
    stuck = rotation.step == Step.MINT and rotation.mode == Mode.EMERGENCY and rotation.tries + 1 >= MINT_TRIES
    if not stuck or rotation.needs_confirmation or rotation.what == Rotation.What.STORE_PASSWORD:
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
        tell(rotation, move.event, {"step": rotation.step, **move.details})
        if move.to == Step.CLOSED:
            tell(rotation, Event.ROTATION_CLOSED, {"result": columns["result"]})
        if move.also:
            move.also()
        if move.to == Step.CLOSED:
            _begin_again(job)


def _begin_again(job: Job, also_prove: list[str] | None = None) -> None:
    """The exchange that was asked for when this one had its new key in use already."""
    again = Rotation.objects.values_list("again", flat=True).get(pk=job.rotation.pk)
    if not again or job.rotation.secret_name == "" or _has_follower(job.rotation):
        return
    columns = {"trigger": TRIGGER_OF[Mode(again)], "mode": again, "also_prove": also_prove or []}
    rotation = following(job.rotation, job.tools.now(), **columns)
    tell(rotation, Event.ROTATION_STARTED, {"trigger": rotation.trigger, "mode": again, "after": str(job.rotation.pk)})
    transaction.on_commit(lambda: publish(rotation))


def _has_follower(rotation: Rotation) -> bool:
    """A rotation that the provider could not finish has begun the next one itself."""
    others = Rotation.objects.filter(what=rotation.what, organization=rotation.organization, closed_at=None)
    return others.filter(department=rotation.department).exclude(pk=rotation.pk).exists()


def _hand_over(job: Job, claim: UUID) -> None:
    """Only the proof is left, it has to wait, and another exchange is wanted: that one will prove this one's, too."""
    now = job.tools.now()
    closed = {"step": Step.CLOSED, "closed_at": now, "claim": None, "claimed_until": None, "not_before": None}
    with transaction.atomic():
        _update(job, claim, {**closed, "result": Result.HANDED_OVER, "step_since": now})
        tell(job.rotation, Event.ROTATION_CLOSED, {"result": Result.HANDED_OVER})
        _begin_again(job, unproven(job.rotation))


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
            tell(job.rotation, pause.event, {"problem": pause.problem})
    return pause.wait.total_seconds()


def _update(job: Job, claim: UUID, columns: dict[str, Any]) -> None:
    rotation = job.rotation
    ours = Rotation.objects.filter(pk=rotation.pk, claim=claim, step=rotation.step, closed_at=None)
    if not ours.update(**columns):
        raise ClaimLost
