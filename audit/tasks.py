"""The record's background work."""

from __future__ import annotations

import logging

from celery import shared_task
from django.conf import settings
from django.db import connection

from audit import retention, rollups, verifying
from audit.models import VerificationRun
from audit.push import push
from audit.roles import RETENTION, connect
from audit.siem import configured

MONTHS_AHEAD = 3

logger = logging.getLogger(__name__)


@shared_task
def make_partitions() -> None:
    """Make this month's partition and those of the next `MONTHS_AHEAD` months; those that stand are left alone.

    And those that nobody made ahead: their rows lie in the default partition until then.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT audit_late_months() UNION SELECT (now() AT TIME ZONE 'UTC' + make_interval(months => ahead))::date"
            " FROM generate_series(0, %s) AS ahead ORDER BY 1",
            [MONTHS_AHEAD],
        )
        # each for itself: making one locks the record, and what another has done need not wait for it
        for (day,) in cursor.fetchall():
            cursor.execute("SELECT audit_make_partition(%s)", [day])
            cursor.execute("SELECT audit_make_leaf_partition(%s)", [day])


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


# taken off the queue when it begins: it may run for longer than the broker waits before it hands a task to another
# worker, and a run that died with its process is told by its row
@shared_task(acks_late=False, soft_time_limit=6 * 3600, time_limit=6 * 3600 + 60)
def verify_record(run_id: str) -> None:
    """Verify the whole record for a run that a page has asked for."""
    run = VerificationRun.objects.filter(pk=run_id, finished_at=None).first()
    if run is not None:
        verifying.verify(run)


@shared_task(acks_late=False, soft_time_limit=6 * 3600, time_limit=6 * 3600 + 60)
def verify_nightly(first: bool = False) -> None:
    """Verify the whole record where nobody has for a day; asked every hour, so a clock that begins anew costs none.

    With `first` only a record that nobody has ever verified: asked at once, which costs a new one next to nothing.
    """
    if first and VerificationRun.objects.exists():
        return
    if not verifying.is_due():
        return
    run, is_new = verifying.begin()
    if is_new:
        verifying.verify(run)


@shared_task
def push_record() -> None:
    """Send every target of CHATGRID_SIEM what it has not got; the next tick goes on where this one ends."""
    for target in configured():
        with connect("default") as held:
            push(held, target)
