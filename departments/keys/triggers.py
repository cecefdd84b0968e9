"""What starts a rotation. Each trigger is a function that says which departments it asks for; the tick runs them all.

- schedule: a key is 90 days old (setting). Planned.
- expiry: a key ends at the provider in less than 14 days. Planned.
- a person with access to a key left or lost the role. Prompt: no day of waiting.
- suspected leak: somebody, or a finding, says so. Emergency.
- by hand.

A trigger may fire any number of times: a department has one open rotation at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from departments.keys import key_people
from departments.keys.rotation import By, start
from departments.keys.rotation_models import Rotation
from departments.models import Department

EXPIRES_SOON = timedelta(days=14)
AFTER_GIVING_UP = timedelta(hours=6)  # before the clock tries again what was given up

Trigger, Mode = Rotation.Trigger, Rotation.Mode


def run_all(now: datetime | None = None) -> int:
    """Start what is due. Returns how many rotations were asked for."""
    now = now or timezone.now()
    key_people.note_it()
    asked = key_people.end_lapsed(_person_left)
    for trigger, departments in ((Trigger.EXPIRY, expiring(now)), (Trigger.SCHEDULE, aged(now))):
        for department in departments:
            start(department, trigger)
            asked += 1
    return asked


def aged(now: datetime) -> Iterable[Department]:
    """Departments whose key is as old as the schedule allows."""
    return _resting(now).filter(key__installed_at__lte=now - timedelta(days=settings.KEY_ROTATION_DAYS))


def expiring(now: datetime) -> Iterable[Department]:
    """Departments whose key ends soon by itself."""
    return _resting(now).filter(key__expires_at__lt=now + EXPIRES_SOON)


def suspect_leak(department: Department, by: By | None = None, reason: str = "") -> Rotation:
    """The key may be in the wrong hands."""
    return start(department, Trigger.LEAK, by=by, reason=reason)


def by_hand(department: Department, by: By, reason: str) -> Rotation:
    """The button of the console."""
    return start(department, Trigger.BUTTON, by=by, reason=reason)


def _person_left(department: Department) -> Rotation:
    return start(department, Trigger.PERSON_LEFT)


def _resting(now: datetime) -> QuerySet[Department]:
    """Active departments with a key, none of them in a rotation or just out of one that was given up."""
    busy = Rotation.objects.filter(Q(closed_at=None) | Q(closed_at__gt=now - AFTER_GIVING_UP)).exclude(
        result=Rotation.Result.DONE
    )
    departments = Department.objects.filter(is_active=True, key__isnull=False)
    return departments.exclude(pk__in=busy.values("department")).select_related("organization")
