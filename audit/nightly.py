"""What a comparison with the provider found, once a day for the record: also that nothing was found is worth a line.

Rules:
- Each day is told twice: first when its counts are complete (noon UTC of the next day), and finally two days later,
  because bills and late counts may still have come.
- The event holds every difference with its reason, the alarms first, up to `MOST`; how many there were, it always says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection

from audit.differences import Difference
from audit.events import Event
from audit.reconciliation import COMPLETE_AFTER
from audit.writer import Entry, record_with

FINAL_AFTER = COMPLETE_AFTER + timedelta(days=2)
MOST = 100

_TOLD = "SELECT EXISTS (SELECT FROM audit_event WHERE event = %s AND organization_id = %s AND subject_id = %s)"


def tell_days(
    connection: Connection[Any],
    organization: tuple[UUID, str],
    days: Sequence[date],
    differences: Sequence[Difference],
    now: datetime,
) -> list[str]:
    """Write the events that are due for these days; their subjects, such as "2026-11-20" and "2026-11-18 final"."""
    due = [subject for day in days for subject in _due(day, now)]
    fresh = [subject for subject in due if not _is_told(connection, organization[0], subject)]
    for subject in fresh:
        day = date.fromisoformat(subject[:10])
        record_with(connection, _entry(organization, subject, [each for each in differences if each.day == day]))
    return fresh


def _due(day: date, now: datetime) -> list[str]:
    age = now - datetime.combine(day, time(), UTC)
    if age < COMPLETE_AFTER:
        return []
    return [f"{day} final"] if age >= FINAL_AFTER else [f"{day}"]


def _is_told(connection: Connection[Any], organization_id: UUID, subject: str) -> bool:
    row = connection.execute(_TOLD, [Event.USAGE_COMPARED, organization_id, subject]).fetchone()
    return bool(row and row[0])


def _entry(organization: tuple[UUID, str], subject: str, found: Sequence[Difference]) -> Entry:
    reasons = Counter(each.reason.name.lower() for each in found)
    return Entry(
        event=Event.USAGE_COMPARED,
        organization_id=organization[0],
        organization_name=organization[1],
        subject_kind="day",
        subject_id=subject,
        details={"reasons": dict(reasons), "differences": [each.as_json() for each in found[:MOST]]},
    )
