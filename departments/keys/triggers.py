"""What starts a rotation. Each trigger is a function that says which departments it asks for; the tick runs them all.

- schedule: a key, an admin key or a store's password is 90 days old (setting). Planned.
- expiry: a key ends at the provider in less than 14 days. Planned.
- a person with access to a key left or lost the role. Prompt: no day of waiting.
- suspected leak: somebody, or a finding, says so. Emergency.
- by hand.

A trigger may fire any number of times: a secret has one open rotation at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from departments.keys import key_people
from departments.keys.models import AdminKeyReference
from departments.keys.rotation import By, start
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_subjects import Subject, What, admin_key_of, store_password_of
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
    for why, subject in (*_old_passwords(now), *_old_admin_keys(now)):
        start(subject, why)
        asked += 1
    return asked


def aged(now: datetime) -> Iterable[Department]:
    """Departments whose key is as old as the schedule allows."""
    return _resting(now).filter(key__installed_at__lte=now - timedelta(days=settings.KEY_ROTATION_DAYS))


def expiring(now: datetime) -> Iterable[Department]:
    """Departments whose key ends soon by itself."""
    return _resting(now).filter(key__expires_at__lt=now + EXPIRES_SOON)


def suspect_leak(department: Department | Subject, by: By | None = None, reason: str = "") -> Rotation:
    """The key may be in the wrong hands."""
    return start(department, Trigger.LEAK, by=by, reason=reason)


def by_hand(department: Department | Subject, by: By, reason: str) -> Rotation:
    """The button of the console."""
    return start(department, Trigger.BUTTON, by=by, reason=reason)


def _person_left(subject: Subject) -> Rotation:
    return start(subject, Trigger.PERSON_LEFT)


def _busy(what: str, now: datetime) -> QuerySet[Rotation]:
    """In a rotation of which more than the proof is left, or just out of one that was given up."""
    under_way = Q(closed_at=None) & ~Q(step=Rotation.Step.PROVE)
    rows = Rotation.objects.filter(under_way | Q(closed_at__gt=now - AFTER_GIVING_UP), what=what)
    return rows.exclude(result__in=[Rotation.Result.DONE, Rotation.Result.HANDED_OVER])


def _resting(now: datetime) -> QuerySet[Department]:
    """Active departments with a key that may be exchanged by the clock."""
    departments = Department.objects.filter(is_active=True, key__isnull=False)
    resting = departments.exclude(pk__in=_busy(What.KEY, now).values("department"))
    return resting.select_related("organization")


def _old_passwords(now: datetime) -> Iterator[tuple[str, Subject]]:
    """Stores whose password is as old as the schedule allows; of one that was made before we noted it, its store."""
    oldest = now - timedelta(days=settings.KEY_ROTATION_DAYS)
    noted = Q(store_password_at__lte=oldest) | Q(store_password_at=None, created_at__lte=oldest)
    departments = Department.objects.filter(noted, is_active=True, store_ready=True)
    resting = departments.exclude(pk__in=_busy(What.STORE_PASSWORD, now).values("department"))
    for department in resting.select_related("organization"):
        yield Trigger.SCHEDULE, store_password_of(department)


def _old_admin_keys(now: datetime) -> Iterator[tuple[str, Subject]]:
    """Admin keys that are old or end soon, with the trigger that says which."""
    busy = _busy(What.ADMIN_KEY, now).values("organization")
    for reference in AdminKeyReference.objects.exclude(organization__in=busy).select_related("organization"):
        if reference.expires_at and reference.expires_at < now + EXPIRES_SOON:
            yield Trigger.EXPIRY, admin_key_of(reference.organization)
        elif reference.installed_at <= now - timedelta(days=settings.KEY_ROTATION_DAYS):
            yield Trigger.SCHEDULE, admin_key_of(reference.organization)
