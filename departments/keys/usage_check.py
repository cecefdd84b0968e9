"""Every night: does OpenAI count more than we recorded? Then somebody else uses a key of ours.

- The last `DAYS` days are compared again each time, because counts arrive late; an alarm is one event until it grows.
  The day before them is read too and not judged: a call at midnight may count for either side of it.
- Usage is read by the hour, per project, key and model (audit/reconciliation.py compares it), the bill by the day
  (audit/billing.py).
- An alarm is filed as a finding of its department, with the hours, the amount and one click (usage_findings.py).
- OpenAI's own audit log is merged in on the way (provider_log.py).
- Keys that are being exchanged or were rotated away are known by their rotations, so that a deleted key that still
  works has its own reason. Deleted means proven dead: by its own rotation, or by a later one that was handed the proof.
- Without an admin key, or with OpenAI away, nothing is compared and the operator reads why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.utils import timezone

from audit.billing import billed_amounts, compare_bill, with_amounts
from audit.differences import Difference
from audit.nightly import tell_days
from audit.reconciliation import KnownKey, Logged, compare, logged_by_us, raise_alarms
from audit.roles import connect
from departments.keys import provider_log, usage_findings
from departments.keys.admin_api import AdminApiError, AdminKeyMissing, has_admin_key, open_admin_api
from departments.keys.admin_reports import Kind
from departments.keys.admin_values import Cost, Usage
from departments.keys.models import KeyReference
from departments.keys.own_keys import learn_id
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_parts import unproven
from departments.keys.vaults import VaultError
from departments.models import Department, Organization

DAYS = 5  # today, and four that may still grow: a bill of three days ago is looked at once more
KINDS: tuple[Kind, ...] = ("completions", "embeddings")
# how a rotation ends that has seen its keys refused
PROOFS = {Rotation.Result.DONE, Rotation.Result.ROLLED_BACK, Rotation.Result.OUTAGE}

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
    """Compare one organization's last days; the alarms that are new or have grown. AdminApiError, VaultError."""
    now = now or timezone.now()
    until = now.astimezone(UTC).date() + timedelta(days=1)
    since = until - timedelta(days=DAYS)
    before = since - timedelta(days=1)
    counted = read_usage(organization, before, until)
    if counted is None:
        return []
    keys = list(keys_of(organization))
    with connect("default") as connection:
        logged = logged_by_us(connection, organization.pk, keys, before, until)
        found = [each for each in _compared(logged, counted, keys, now) if each.day >= since]
        fresh = raise_alarms(connection, found, organization.pk, organization.name)
        days = [since + timedelta(days=number) for number in range(DAYS)]
        tell_days(connection, (organization.pk, organization.name), days, found, now)
    for alarm in fresh:
        logger.critical("organization %s: %s", organization.pk, alarm)
    usage_findings.file(organization, [each for each in found if each.is_alarm])
    usage_findings.close_answered(organization, keys)
    return fresh


def _compared(logged: list[Logged], counted: ProviderCounts, keys: list[KnownKey], now: datetime) -> list[Difference]:
    """Usage first, each difference with its money, then what differs in money alone."""
    differences = compare(logged, counted.usage, keys, now)
    if not counted.is_in_dollars:
        logger.error("the bill is not compared: it is not in US dollars, as the catalogue's prices are")
        return with_amounts(differences, logged, {}, now)
    billed = billed_amounts(counted.bill)
    differences = with_amounts(differences, logged, billed, now)
    return differences + compare_bill(differences, logged, billed, keys, now)


@dataclass(frozen=True)
class ProviderCounts:
    """What the provider says: usage by the hour, the bill by the day."""

    usage: list[Usage]
    bill: list[Cost]

    @property
    def is_in_dollars(self) -> bool:
        return all(line.currency in {"USD", ""} for line in self.bill)


def read_usage(organization: Organization, since: date, until: date) -> ProviderCounts | None:
    """What the provider counted, and its log merged in; None, with a line for the operator, without an admin key."""
    opened = open_admin_api(organization)
    if isinstance(opened, AdminKeyMissing):
        logger.error("usage is not compared: %s", opened.sentence)
        return None
    start, end = (datetime.combine(day, time(), UTC) for day in (since, until))
    with opened as api:
        for department in Department.objects.filter(organization=organization, key__key_id=""):
            learn_id(api, department)  # usage is counted by id, and a pasted key has none yet
        provider_log.merge(organization, api)
        usage = [row for kind in KINDS for row in api.usage(kind, start, end, width="1h")]
        return ProviderCounts(usage, list(api.costs(start, end)))


def keys_of(organization: Organization) -> Iterator[KnownKey]:
    """The keys of the organization's departments: those in use, then those that rotations have made or ended."""
    in_use = set()
    for reference in KeyReference.objects.filter(department__organization=organization):
        in_use.add(reference.key_id)
        yield KnownKey(reference.fingerprint, reference.key_id, reference.project_id)
    known: dict[str, KnownKey] = {}
    for key in _keys_of_rotations(organization):
        if key.key_id and key.key_id not in in_use and (key.retired_at or key.key_id not in known):
            known[key.key_id] = key  # the new key of one rotation is the old one of the next, which ends it
    yield from known.values()


def _keys_of_rotations(organization: Organization) -> Iterator[KnownKey]:
    rotations = list(Rotation.objects.filter(department__organization=organization, what=Rotation.What.KEY))
    proven = {
        version: rotation.closed_at
        for rotation in rotations
        if rotation.result in PROOFS
        for version in unproven(rotation)
    }
    for rotation in rotations:
        old, new = rotation.old_version, str(rotation.pk)
        yield KnownKey(rotation.old_fingerprint, rotation.old_key_id, rotation.project_id, proven.get(old))
        yield KnownKey(rotation.new_fingerprint, rotation.new_key_id, rotation.project_id, proven.get(new))
