"""Makes the checks that are due and keeps their results: one row for each organization and check.

Rules:
- A check that fails to run is a result too: the tile is red and says so, the log has the trace, and the others go on.
- What could not be said at first (a project just made, a seal not yet due) is looked at again soon, for `SETTLING`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from audit.events import Event
from audit.writer import Entry, record
from chatgrid.console.models import ControlProof
from chatgrid.console.proofs import CHECKS, Check, Evidence, state_of
from departments.models import Organization

State = ControlProof.State
SETTLING = timedelta(minutes=15)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What a check brought back, when it began and how long it took."""

    evidence: list[Evidence]
    at: datetime
    took_ms: int


def prove_due() -> int:
    """Make every check that is due, or was asked for, in every organization; returns how many."""
    made = 0
    organizations = list(Organization.objects.order_by("name"))
    for check in CHECKS.values():
        due = list(_due(check, organizations))
        made += len(due)
        _prove(check, due)
    return made


def prove(organization: Organization, control: int) -> None:
    """Make the checks of one control for one organization now."""
    for check in CHECKS.values():
        if check.control == control:
            _prove(check, [organization])


def ask_for(organization: Organization, control: int) -> None:
    """Note that somebody waits for the checks of this control."""
    for check in CHECKS.values():
        if check.control == control:
            asked = {"asked_at": timezone.now()}
            ControlProof.objects.update_or_create(organization=organization, check_name=check.name, defaults=asked)


def _due(check: Check, organizations: Iterable[Organization]) -> Iterator[Organization]:
    rows = {row.organization_id: row for row in ControlProof.objects.filter(check_name=check.name)}
    for organization in organizations:
        row = rows.get(organization.pk)
        if row is None or row.is_awaited or _is_due(row, check):
            yield organization


def _is_due(row: ControlProof, check: Check) -> bool:
    now = timezone.now()
    if row.checked_at is None or now - row.checked_at >= check.every:
        return True
    return row.state == State.OPEN and now - row.since < SETTLING


def _prove(check: Check, organizations: list[Organization]) -> None:
    result = None
    for organization in organizations:
        if result is None or not check.shared:
            result = _look(check, organization)
        _keep(check, organization, result)


def _look(check: Check, organization: Organization) -> Result:
    at, began = timezone.now(), time.perf_counter()
    try:
        evidence = check.look(organization)
    # whatever it was: IT sees a red tile, the operator the trace, and the other controls are checked all the same
    except Exception as error:
        logger.exception("check %s of organization %s failed to run", check.name, organization.pk)
        words = f"The check itself failed ({type(error).__name__}); the worker’s log says more"
        evidence = [Evidence(words, holds=False)]
    return Result(evidence, at, round((time.perf_counter() - began) * 1000))


def _keep(check: Check, organization: Organization, result: Result) -> None:
    state = state_of(result.evidence)
    with transaction.atomic():
        row, _ = ControlProof.objects.select_for_update().get_or_create(
            organization=organization, check_name=check.name
        )
        before, known = row.state, row.checked_at is not None
        if not known or before != state:
            row.since = result.at
        row.state, row.evidence = state, [each.as_json() for each in result.evidence]
        row.checked_at, row.took_ms = result.at, result.took_ms
        row.save()
        if _is_news(State(before), state, known):
            record(_entry(check, organization, result, state))


def _is_news(before: State, after: State, known: bool) -> bool:
    """A failure at once, also the first time; an end of one; nothing else."""
    if after == State.FAILED:
        return not known or before != State.FAILED
    return known and before == State.FAILED


def _entry(check: Check, organization: Organization, result: Result, state: State) -> Entry:
    return Entry(
        event=Event.CONTROL_FAILED if state == State.FAILED else Event.CONTROL_HOLDS,
        organization_id=organization.pk,
        organization_name=organization.name,
        subject_kind="control",
        subject_id=f"{check.control} {check.name}",
        details={"subject": check.title, "evidence": [each.text for each in result.evidence]},
    )
