"""What people were granted beside their budgets: what holds now, and how it ends.

Rules:
- A grant ends by itself: nobody has to do anything, and the step before a call looks at the clock (step.sql).
- It can be ended early, by an admin of the department or by IT, with a reason. That counts from the next question on;
  an answer that is being written keeps what it had reserved.
- Each end is one event, written with it or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.events import Event
from audit.writer import Entry, record
from departments.access import NotFound
from departments.http import Person
from departments.limits.grant_models import Grant
from departments.models import Department

LONGEST_REASON = 400


class NotPossible(Exception):
    """What was asked for cannot be; the message says what to do instead."""


def current_grants(department: Department, person: Person | None = None) -> Sequence[Grant]:
    """What holds now, of one person or of everybody in the department, the first to end first."""
    found = Grant.objects.filter(department=department, ends_at__gt=timezone.now()).select_related("person")
    return list((found.filter(person_id=person.id) if person else found).order_by("ends_at"))


def end_early(
    department: Department, grant_id: UUID, by: Person, reason: str, address: str = "", more: Mapping[str, str] = {}
) -> Grant:
    """End a grant now; `more` goes into the event. Raises NotFound, or NotPossible: no reason, or ended already."""
    reason = reason.replace("\x00", "").strip()[:LONGEST_REASON]
    with transaction.atomic():
        found = Grant.objects.select_for_update(of=("self",)).select_related("department__organization", "person")
        grant = found.filter(pk=grant_id, department=department).first()
        if grant is None:
            raise NotFound("There is no such grant.")
        if not reason:
            raise NotPossible("Write why it ends. Nothing was changed.")
        if grant.ends_at <= (now := timezone.now()):
            raise NotPossible("It has ended already.")
        planned, grant.ends_at, grant.end_recorded = grant.ends_at, now, True
        grant.save(update_fields=["ends_at", "end_recorded"])
        details = {**details_of(grant), "would_have_ended_at": planned.isoformat(), **more, "reason": reason}
        _record(Event.MORE_WITHDRAWN, grant, details, by, address)
    return grant


def record_ended() -> int:
    """Write the end of each grant that has ended into the record; how many there were. The end itself needs nobody."""
    ended = 0
    for each in Grant.objects.filter(end_recorded=False, ends_at__lte=timezone.now()).values_list("pk", flat=True):
        with transaction.atomic():
            if Grant.objects.filter(pk=each, end_recorded=False).update(end_recorded=True):
                grant = Grant.objects.select_related("department__organization", "person").get(pk=each)
                _record(Event.MORE_ENDED, grant, details_of(grant))
                ended += 1
    return ended


def details_of(grant: Grant) -> dict[str, str]:
    """A grant as the record has it."""
    return {
        "person": grant.person.name,
        "amount": f"{grant.amount.normalize():f}",
        "measure": grant.measure,
        "period": grant.period,
        "ends_at": grant.ends_at.isoformat(),
    }


def _record(event: Event, grant: Grant, details: dict[str, str], by: Person | None = None, address: str = "") -> None:
    department = grant.department
    record(
        Entry(
            event=event,
            **department.in_record,
            actor_id=by.id if by else None,
            actor_name=by.name if by else "",
            client_address=address,
            subject_kind="person",
            subject_id=str(grant.person_id),
            details=details,
        )
    )
