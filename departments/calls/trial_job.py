"""Running a trial in the background, and what a page may ask of one. The attacks are in departments/calls/trials.py.

Rules:
- A trial is started by a row and an event in one transaction; the row is the outbox of its task.
- A worker claims it with a conditional update and renews the claim with every attack. What was tried is kept attack by
  attack: a worker that dies costs one attack, and `run_due` finds what it left.
- A trial belongs to whoever started it: their membership ends, and it stops.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from audit.events import Event
from audit.writer import Entry, record
from departments.calls.caller import Caller
from departments.calls.models import Trial
from departments.calls.run import rules_of
from departments.calls.trials import Attack, TrialOver, attacks_on, attempt, most_tokens, scores
from departments.http import Person
from departments.loop import run
from departments.models import Department

LEASE = timedelta(minutes=5)  # longer than the longest call
USED_UP = "The next attack could pass the {budget:,} tokens that a trial may use. Ask IT to allow more."

logger = logging.getLogger(__name__)


class TrialRuns(Exception):
    """One of this department is under way already."""

    sentence = "A trial of this department is under way: look at it, and start another one when it has ended."


def start(department: Department, person: Person, *, address: str = "") -> Trial:
    """A new trial, waiting for a worker. Raises TrialRuns."""
    trial = Trial(
        department=department,
        started_by=person.id,
        started_by_name=person.name,
        model=department.model,
        rules_digest=hashlib.sha256(rules_of(department).encode()).hexdigest(),
        budget=settings.TRIAL_TOKENS,
        attacks=[vars(attack) for attack in attacks_on(department)],
    )
    try:
        with transaction.atomic():
            trial.save(force_insert=True)
            record(_entry(Event.TRIAL_STARTED, trial, address, {"attacks": len(trial.attacks), "budget": trial.budget}))
    except IntegrityError:
        raise TrialRuns from None
    return trial


def run_due() -> int:
    """Run every trial that waits or whose worker died, one after the other; how many."""
    waiting = Trial.objects.filter(finished_at=None).filter(Q(lease_until=None) | Q(lease_until__lt=timezone.now()))
    return sum(run_trial(trial_id) for trial_id in waiting.values_list("pk", flat=True))


def run_trial(trial_id: UUID) -> bool:
    """Try what is left of a trial; False if somebody else does, or there is none."""
    mine = Q(lease_until=None) | Q(lease_until__lt=timezone.now())
    lease = timezone.now() + LEASE
    claimed = Trial.objects.filter(mine, pk=trial_id, finished_at=None)
    if not claimed.update(state=Trial.State.RUNNING, lease_until=lease):
        return False
    trial = Trial.objects.select_related("department__organization").get(pk=trial_id)
    sentence = _try_all(trial)
    if sentence is not None:
        _finish(trial, sentence)
    return True


def _try_all(trial: Trial) -> str | None:
    """Why it ended early, "" where everything was tried, None where another worker has taken over."""
    caller = Caller(trial.started_by, trial.started_by_name)
    for row in trial.attacks[len(trial.tried) :]:
        attack = Attack(**row)
        if trial.tokens + most_tokens(trial.department, caller, attack) > trial.budget:
            return USED_UP.format(budget=trial.budget)
        try:
            tried = run(attempt(trial.department, caller, attack))
        except TrialOver as over:
            return over.sentence
        trial.tried.append(tried.to_json())
        trial.tokens += tried.tokens
        if not _keep(trial):
            return None
    return ""


def _keep(trial: Trial) -> bool:
    """Writes down what was tried and renews the claim; False if it was lost."""
    lease = timezone.now() + LEASE
    still_mine = Trial.objects.filter(pk=trial.pk, finished_at=None, lease_until=trial.lease_until)
    kept = still_mine.update(tried=trial.tried, tokens=trial.tokens, lease_until=lease)
    trial.lease_until = lease
    return bool(kept)


def _finish(trial: Trial, sentence: str) -> None:
    trial.state = Trial.State.STOPPED if sentence else Trial.State.FINISHED
    trial.sentence, trial.finished_at, trial.lease_until = sentence[:400], timezone.now(), None
    found = {**scores(trial.tried), "tokens": trial.tokens, "of": len(trial.attacks)}
    with transaction.atomic():
        trial.save(update_fields=["state", "sentence", "finished_at", "lease_until"])
        record(_entry(Event.TRIAL_FINISHED, trial, "", found | {"sentence": sentence}))
    logger.info("trial of department %s: %s", trial.department_id, found)


def _entry(event: Event, trial: Trial, address: str, details: dict[str, Any]) -> Entry:
    department = trial.department
    return Entry(
        event=event,
        **department.in_record,
        actor_id=trial.started_by,
        actor_name=trial.started_by_name,
        client_address=address,
        subject_kind="trial",
        subject_id=str(trial.pk),
        model_asked=trial.model,
        details=details | {"rules": trial.rules_digest},
    )
