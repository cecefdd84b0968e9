"""What keeps the ledger small and its estimates true.

Rules:
- A reservation is kept for `RESERVATION_DAYS`: the forecast looks back a week, the correction a fortnight; budgets look
  at the counters, which stay for `COUNTER_DAYS`. The record keeps every call for as long as its own retention says.
- Rows that are not settled are never pruned.
- A model's correction is the largest ratio of reported to counted prompt tokens among its recent calls, and a little
  more: an estimate may be too high by that, and not too low. Too few calls teach nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from departments.limits.alert_models import Alert, Notice
from departments.limits.models import Correction, Refused, Reservation, Spent

RESERVATION_DAYS = 62
COUNTER_DAYS = 400
NOTICE_DAYS = 90
BATCH = 5_000

LEARN_DAYS = 14
LEARN_CALLS = 2_000
FEWEST_CALLS = 20
MARGIN = 1.01
LOWEST, HIGHEST = 0.5, 4.0  # beyond it something else is wrong than our count

_RATIOS = """
    SELECT model, max(ratio), count(*) FROM (
        SELECT model, tokens_input::float / tokens_counted AS ratio,
            row_number() OVER (PARTITION BY model ORDER BY admitted_at DESC) AS place
        FROM limits_reservation
        WHERE admitted_at > %s AND settled_at IS NOT NULL AND NOT estimated
            AND tokens_counted > 0 AND tokens_input > 0 AND model <> ''
    ) AS recent
    WHERE place <= %s GROUP BY model HAVING count(*) >= %s
"""


def learn_corrections() -> int:
    """Renew the correction of every model that was called enough lately; how many there are."""
    since = timezone.now() - timedelta(days=LEARN_DAYS)
    with connection.cursor() as cursor:
        cursor.execute(_RATIOS, [since, LEARN_CALLS, FEWEST_CALLS])
        rows = cursor.fetchall()
    for model, largest, calls in rows:
        ratio = min(HIGHEST, max(LOWEST, largest * MARGIN))
        Correction.objects.update_or_create(model=model, defaults={"ratio": ratio, "calls": calls})
    return len(rows)


def prune() -> int:
    """Delete what is older than it is kept; how many rows that were."""
    now = timezone.now()
    old_day = (now - timedelta(days=COUNTER_DAYS)).date()
    reservations = Reservation.objects.filter(admitted_at__lt=now - timedelta(days=RESERVATION_DAYS))
    rest: list[QuerySet[Any]] = [
        Spent.objects.filter(day__lt=old_day),
        Refused.objects.filter(day__lt=old_day),
        Alert.objects.filter(begins__lt=old_day),
        Notice.objects.filter(created_at__lt=now - timedelta(days=NOTICE_DAYS), next_at=None),
    ]
    return _in_batches(reservations.exclude(settled_at=None)) + sum(each.delete()[0] for each in rest)


def _in_batches(rows: QuerySet[Reservation]) -> int:
    """Short transactions, so that no call waits for a long one."""
    deleted = 0
    while batch := list(rows.order_by("admitted_at").values_list("pk", flat=True)[:BATCH]):
        deleted += Reservation.objects.filter(pk__in=batch).delete()[0]
    return deleted
