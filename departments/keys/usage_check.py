"""Every night: does OpenAI count more than we recorded? Then somebody else uses a key of ours.

- The last `DAYS` days are compared again each time, because counts arrive late; an alarm is one event until it grows.
- Usage is read by the hour, per project, key and model (audit/reconciliation.py compares it).
- Keys that were rotated away are known by their rotations, so that a deleted key that still works has its own reason.
- Without an admin key, or with OpenAI away, nothing is compared and the operator reads why.
- The click that follows an alarm is departments.keys.triggers.suspect_leak: an emergency rotation.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from django.utils import timezone

from audit.reconciliation import Difference, KnownKey, compare, logged_by_us, raise_alarms
from audit.roles import connect
from departments.keys.admin_api import AdminApiError, AdminKeyMissing, has_admin_key, open_admin_api
from departments.keys.admin_values import Usage
from departments.keys.models import KeyReference
from departments.keys.rotation_models import Rotation
from departments.keys.vaults import VaultError
from departments.models import Department, Organization

DAYS = 4  # today, and three that may still grow

logger = logging.getLogger(__name__)


def check_all() -> list[Difference]:
    """Every organization that has an admin key; the alarms that are new."""
    fresh: list[Difference] = []
    for organization in Organization.objects.all():
        if not has_admin_key(organization):
            continue
        try:
            fresh += check(organization)
        except (AdminApiError, VaultError) as error:
            logger.error("usage of organization %s was not compared: %s", organization.pk, error)
    return fresh


def check(organization: Organization, now: datetime | None = None) -> list[Difference]:
    """Compare one organization's last days and write an event for each new alarm. AdminApiError, VaultError."""
    now = now or timezone.now()
    until = now.astimezone(UTC).date() + timedelta(days=1)
    since = until - timedelta(days=DAYS)
    keys = list(keys_of(organization))
    counted = read_usage(organization, since, until)
    with connect("default") as connection:
        logged = logged_by_us(connection, organization.pk, keys, since, until)
        found = compare(logged, counted, keys, now)
        fresh = raise_alarms(connection, found, organization.pk, organization.name)
    for alarm in fresh:
        logger.critical("organization %s: %s", organization.pk, alarm)
    return fresh


def read_usage(organization: Organization, since: date, until: date) -> list[Usage]:
    """What the provider counted, by the hour; nothing where there is no admin key."""
    opened = open_admin_api(organization)
    if isinstance(opened, AdminKeyMissing):
        logger.error("usage is not compared: %s", opened.sentence)
        return []
    start, end = (datetime.combine(day, time(), UTC) for day in (since, until))
    with opened as api:
        return [row for kind in ("completions", "embeddings") for row in api.usage(kind, start, end, width="1h")]


def keys_of(organization: Organization) -> Iterator[KnownKey]:
    """The keys of the organization's departments, those in use and those that rotations have ended."""
    for reference in KeyReference.objects.filter(department__organization=organization):
        yield KnownKey(reference.fingerprint, reference.key_id, reference.project_id)
    ended = Rotation.objects.filter(department__organization=organization, result=Rotation.Result.DONE)
    for rotation in ended.exclude(old_key_id=""):
        yield KnownKey(rotation.old_fingerprint, rotation.old_key_id, rotation.project_id, rotation.closed_at)


def departments_of(alarms: list[Difference]) -> list[Department]:
    """Whose keys the alarms are about: what the click rotates."""
    ids = {alarm.key_id for alarm in alarms}
    return [key.department for key in KeyReference.objects.filter(key_id__in=ids).select_related("department")]
