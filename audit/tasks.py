"""The record's background work."""

from __future__ import annotations

import logging

from celery import shared_task
from django.conf import settings
from django.db import connection

from audit import retention, rollups
from audit.roles import RETENTION, connect

MONTHS_AHEAD = 3

logger = logging.getLogger(__name__)


@shared_task
def make_partitions() -> None:
    """Make this month's partition and those of the next `MONTHS_AHEAD` months; those that stand are left alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT audit_make_partition(day), audit_make_leaf_partition(day) FROM generate_series(0, %s) AS ahead,"
            " LATERAL (SELECT (now() AT TIME ZONE 'UTC' + make_interval(months => ahead))::date AS day) AS months",
            [MONTHS_AHEAD],
        )


@shared_task
def end_months() -> None:
    """Erase texts and end months whose retention is over; a worker without the role for it leaves it to another."""
    if RETENTION not in settings.DATABASES:
        logger.warning(
            "retention is left to `manage.py end_months`: this worker has no CHATGRID_RETENTION_DATABASE_URL"
        )
        return
    with connect(RETENTION) as held:
        retention.erase_texts(held)
        retention.end_months(held)


@shared_task
def roll_up() -> None:
    """Take what was sealed since the last time into the sums behind the charts."""
    with connection.cursor() as cursor:
        rollups.advance(cursor)
