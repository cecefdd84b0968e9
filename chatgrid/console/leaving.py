"""Leave now: everything that a person could still do or see ends, in one step, and a receipt tells what it was.

Rules:
- One transaction: sign-in, role, memberships, sessions, links to set a password, and the exchange of every key that
  they could have seen. Either all of it is done or the page says that nothing is.
- A running answer is ended by the process that writes it, which asks every few seconds whether its person may still be
  there (departments/calls/hold.py); at the latest its lease ends. Within 60 seconds nothing of theirs runs.
- The receipt is read from what happened, not from what was wished: a call counts as ended when the ledger has settled
  it, a key as exchanged when the old one is proven dead.
- Nothing of theirs is deleted: what they did stays theirs and in the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import cast

from django.db import transaction
from django.http import HttpRequest

from audit.events import Event
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from chatgrid.console.fresh import Confirmed
from chatgrid.console.models import Departure
from chatgrid.console.scope import lock_with_viewer, viewer_of
from chatgrid.console.sessions import end_sessions, sessions_of
from departments.http import client_address
from departments.keys.offboarding import rotate_what_they_could_see
from departments.keys.rotation import By
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.limits.models import Reservation
from departments.models import Department, Organization
from departments.roles import OrganizationRole

WITHIN = timedelta(seconds=60)


def leave_now(request: HttpRequest, person: User, confirmed: Confirmed) -> Departure:
    """End this person's access and write the receipt."""
    viewer = viewer_of(request)
    with transaction.atomic():
        person = lock_with_viewer(request, person)
        departure = Departure(
            organization=cast(Organization, person.organization),  # the page lets nobody without one in
            person=person,
            by_name=str(viewer),
            reason=confirmed.reason,
            role=person.role,
            memberships=_end_memberships(person),
            calls=[str(call) for call in running_calls(person)],
        )
        # while the tables still say what they were: afterwards nobody would know that they were IT
        exchanged = rotate_what_they_could_see(person.pk, By(viewer.pk, str(viewer)), confirmed.reason)
        departure.rotations = [str(rotation.pk) for rotation in exchanged]
        _close(person)
        departure.sessions_ended = end_sessions([person.pk])
        departure.save()
        record(_entry(request, departure, confirmed))
    return departure


def running_calls(person: User) -> Sequence[object]:
    """Ids of the calls that are made in this person's name right now."""
    running = Reservation.objects.filter(person_id=person.pk, settled_at=None)
    return list(running.values_list("call_id", flat=True))


def keys_in_sight(person: User) -> list[str]:
    """Departments whose keys this person could have seen or changed."""
    rows = KeyAccess.objects.filter(person=person)
    named = set(rows.filter(department__key__isnull=False).values_list("department__name", flat=True))
    if rows.filter(department=None).exists():
        named.add("the company’s admin key")
    if person.role == OrganizationRole.IT and person.is_active:  # rows of IT are brought up to date by the clock
        own = Department.objects.filter(organization=person.organization_id, key__isnull=False)
        named |= set(own.values_list("name", flat=True))
    return sorted(named)


def _end_memberships(person: User) -> list[str]:
    rows = list(person.memberships.select_related("department"))
    person.memberships.all().delete()
    return [f"{row.department}: {row.get_role_display()}" for row in rows]


def _close(person: User) -> None:
    person.is_active = False
    person.role = OrganizationRole.MEMBER
    person.set_unusable_password()  # links to set one are signed with it and die too
    person.save()


def _entry(request: HttpRequest, departure: Departure, confirmed: Confirmed) -> Entry:
    viewer, organization = viewer_of(request), departure.organization
    return Entry(
        event=Event.ACCESS_ENDED,
        organization_id=organization.pk,
        organization_name=organization.name,
        actor_id=viewer.pk,
        actor_name=str(viewer),
        client_address=client_address(request),
        subject_kind="person",
        subject_id=str(departure.person_id),
        details={
            "subject": str(departure.person),
            "role": departure.role,
            "memberships": departure.memberships,
            "sessions_ended": departure.sessions_ended,
            "calls": departure.calls,
            "rotations": departure.rotations,
            **confirmed.details(),
        },
    )


@dataclass(frozen=True)
class Step:
    """One line of a receipt."""

    name: str
    words: str
    is_done: bool
    url: str = ""


@dataclass(frozen=True)
class Receipt:
    """How far it is, as of now."""

    departure: Departure

    @cached_property
    def calls(self) -> list[Reservation]:
        return list(Reservation.objects.filter(call_id__in=self.departure.calls))

    @cached_property
    def rotations(self) -> list[Rotation]:
        rows = Rotation.objects.filter(pk__in=self.departure.rotations).select_related("department", "organization")
        return list(rows.order_by("department__name"))

    @cached_property
    def open_sessions(self) -> int:
        return len(sessions_of([self.departure.person_id]))

    @property
    def access_ended_at(self) -> datetime | None:
        """When the last thing that could still answer them ended; None while something runs."""
        ends = [call.settled_at for call in self.calls]
        if self.open_sessions or None in ends:
            return None
        return max([self.departure.at, *(end for end in ends if end)])

    @property
    def seconds(self) -> float | None:
        ended = self.access_ended_at
        return None if ended is None else (ended - self.departure.at).total_seconds()

    @property
    def is_complete(self) -> bool:
        return all(step.is_done for step in self.steps)

    @cached_property
    def steps(self) -> list[Step]:
        left = self.departure
        running = [call for call in self.calls if call.settled_at is None]
        ended = len(left.calls) - len(running)
        return [
            Step("Sign-in", "Closed; a password and links to set one are void", not left.person.is_active),
            Step("Role", f"{OrganizationRole(left.role).label} before; none now", True),
            Step("Memberships", ", ".join(left.memberships) or "None", True),
            Step("Sessions", f"{left.sessions_ended} ended, {self.open_sessions} open now", not self.open_sessions),
            Step("Running answers", f"{len(left.calls)} were running, {ended} have ended", not running),
            *(self._key(rotation) for rotation in self.rotations),
        ]

    def _key(self, rotation: Rotation) -> Step:
        words = rotation.get_result_display() if rotation.closed_at else f"On its way: {rotation.get_step_display()}"
        if rotation.problem and not rotation.closed_at:
            words = f"{words}. {rotation.problem}"
        return Step(f"Key of {rotation.place}", words, rotation.closed_at is not None)
