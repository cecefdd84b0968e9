"""Control 6: what the ledger booked is what the record says was used, call by call, yesterday and today.

One statement, so that ledger and record are seen at one moment: both are written in one transaction.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from chatgrid.console.proofs.base import Evidence, counted
from departments.limits.models import Limit
from departments.models import Organization

EASTERNMOST = timedelta(hours=14)

_COMPARED = """
    WITH ledger AS (
        SELECT call_id, tokens_used FROM limits_reservation
        WHERE organization_id = %(organization)s AND day = %(day)s AND settled_at IS NOT NULL
    ), compared AS (
        SELECT l.tokens_used, coalesce(e.tokens_input, 0) + coalesce(e.tokens_output, 0) AS recorded, e.id
        FROM ledger l LEFT JOIN audit_event e
            ON e.call_id = l.call_id AND e.event = %(event)s AND e.at >= %(begin)s
    )
    SELECT count(*), coalesce(sum(tokens_used), 0), coalesce(sum(recorded), 0),
        count(*) FILTER (WHERE id IS NULL OR recorded <> tokens_used),
        (SELECT coalesce(sum(tokens), 0) FROM limits_spent
         WHERE scope = 'organization' AND scope_id = %(organization)s AND day = %(day)s)
    FROM compared
"""


def look(organization: Organization) -> list[Evidence]:
    today = timezone.now().astimezone(ZoneInfo(organization.time_zone)).date()
    yesterday = today - timedelta(days=1)
    return [_day(organization, "Yesterday", yesterday), _day(organization, "Today", today), _ceiling(organization)]


def _day(organization: Organization, word: str, day: date) -> Evidence:
    # nowhere does the day begin earlier: its calls were booked in the zone that the organization had then
    begin = datetime.combine(day, time(), UTC) - EASTERNMOST
    values: dict[str, Any] = {
        "organization": organization.pk,
        "day": day,
        "event": Event.CALL_ANSWERED,
        "begin": begin,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COMPARED, values)
        calls, booked, recorded, differing, spent = cursor.fetchone()
    if differing or booked != recorded or booked != spent:
        figures = f"counter {spent:,}, ledger {booked:,}, record {recorded:,} tokens"
        return Evidence(f"{word}: {figures}; {counted(differing, 'call')} differ", False, _record())
    return Evidence(f"{word}: {counted(calls, 'call')}, {booked:,} tokens; counter, ledger and record agree")


def _ceiling(organization: Organization) -> Evidence:
    limits = Limit.objects.filter(organization=organization, department=None, person=None)
    ceiling = limits.values_list("tokens_per_day", flat=True).first()
    if ceiling is None:
        return Evidence("The company has no ceiling of its own", None, reverse("admin:limits_limit_add"))
    return Evidence(f"The company’s ceiling is {ceiling:,} tokens a day", url=reverse("admin:limits_limit_changelist"))


def _record() -> str:
    return f"{reverse('admin:audit_auditevent_changelist')}?event={Event.CALL_ANSWERED}"
