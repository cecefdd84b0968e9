"""What happens right now: answers being written, tokens a minute, what waits, what breaks off; and two brakes.

Rules:
- Everything is read from the ledger, the record and the broker when the page is asked for; nothing is sampled.
- One answer is stopped by asking the process that writes it (its next renewal, five seconds at most).
- A paused department makes no call, whoever asks and whatever for; its running answers end too. Its people read why.
- The brakes ask for a fresh sign-in and a reason, like every dangerous act: whoever finds a console left open must not
  silence a company. People read the reason of a pause.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import Coalesce, TruncMinute
from django.utils import timezone
from redis import Redis
from redis.exceptions import RedisError

from audit.events import Event, Outcome
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from chatgrid.console.charts import Chart, Entry, Series, columns, ranking
from chatgrid.console.scope import visible
from chatgrid.schedule import Queue
from departments.limits.models import Reservation
from departments.models import Department

REACH = timedelta(minutes=30)
LONGEST = timedelta(minutes=15)  # beyond any call's end: the index knows when calls began
MOST_RUNNING = 100
TROUBLE = (Outcome.FAILED, Outcome.CUT, Outcome.LOST)
WHAT_WAITS = {
    Queue.INGEST: "Documents to read",
    Queue.ROTATION: "Keys and projects",
    Queue.CHORES: "Chores and checks",
    Queue.RECORD: "Work on the record",
    Queue.PUSH: "Events for the SIEM",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Running:
    """A call that is being made. Tokens are those that had arrived at its last renewal."""

    call_id: UUID
    department: str
    person: str
    purpose: str
    model: str
    admitted_at: datetime
    tokens: int
    is_stopping: bool

    @property
    def seconds(self) -> int:
        return round((timezone.now() - self.admitted_at).total_seconds())


@dataclass(frozen=True)
class Waiting:
    """A queue: what is in it, and how many; None where the broker does not answer."""

    words: str
    number: int | None


def running(viewer: User) -> list[Running]:
    """The calls under way, the oldest first; `MOST_RUNNING` at most. A process that died is left out with its lease."""
    rows = list(_under_way(viewer).order_by("admitted_at")[:MOST_RUNNING])
    departments = _names(Department.objects.filter(pk__in={row.department_id for row in rows}))
    people = _names(User.objects.filter(pk__in={row.person_id for row in rows}))
    return [
        Running(
            call_id=row.call_id,
            department=departments.get(row.department_id, "-"),
            person=people.get(row.person_id, "-"),
            purpose=row.purpose,
            model=row.model,
            admitted_at=row.admitted_at,
            tokens=row.tokens_written,
            is_stopping=row.stop_requested,
        )
        for row in rows
    ]


def _names(rows: QuerySet[Any]) -> dict[UUID, str]:
    return dict(rows.order_by().values_list("pk", "name"))


def count_running(viewer: User) -> int:
    return _under_way(viewer).count()


def _under_way(viewer: User) -> QuerySet[Reservation]:
    return visible(Reservation.objects.filter(settled_at=None, lease_until__gt=timezone.now()), viewer)


def call_under_way(viewer: User, call_id: UUID) -> Reservation | None:
    """A call of the viewer's company; None where there is no such call, or not any more."""
    return _under_way(viewer).filter(call_id=call_id).first()


def stop(call: Reservation) -> None:
    """Ask for the end of a call: the process that makes it sees that at its next renewal."""
    Reservation.objects.filter(call_id=call.call_id, settled_at=None).update(stop_requested=True)


def tokens_by_minute(viewer: User) -> Chart:
    """Tokens of the calls that ended in each of the last minutes."""
    begin = timezone.now().replace(second=0, microsecond=0) - REACH
    rows = (
        visible(Reservation.objects.filter(settled_at__gte=begin, admitted_at__gte=begin - LONGEST), viewer)
        .annotate(minute=TruncMinute("settled_at"))
        .values("minute")
        .annotate(sent=Coalesce(Sum("tokens_input"), 0), used=Coalesce(Sum("tokens_used"), 0))
        .order_by()
    )
    sums = {row["minute"]: (row["sent"], row["used"] - row["sent"]) for row in rows}
    minutes = [begin + timedelta(minutes=number) for number in range(int(REACH.total_seconds() // 60) + 1)]
    values = [sums.get(minute, (0, 0)) for minute in minutes]
    series = [Series("Sent", [sent for sent, _ in values]), Series("Answered", [answered for _, answered in values])]
    labels = [f"{minute:%H:%M}" for minute in minutes]
    return columns("Tokens a minute", labels, series, unit="tokens", first_column="Minute (UTC)")


def provider_errors(viewer: User) -> Chart:
    """Why calls of the last half hour had no whole answer, by reason."""
    since = timezone.now() - REACH
    events = visible(AuditEvent.objects.filter(at__gte=since, event=Event.CALL_ANSWERED), viewer)
    rows = (
        events.filter(outcome__in=TROUBLE)
        .values("details__reason", "department_name")
        .annotate(times=Count("id"))
        .order_by("-times")[:10]
    )
    named = [(f"{row['details__reason'] or 'unknown'} ({row['department_name']})", row["times"]) for row in rows]
    entries = [Entry(label, [times]) for label, times in named]
    return ranking("Answers that broke off", ["Calls"], entries, unit="calls", first_column="Reason and department")


def waiting() -> list[Waiting]:
    """How many tasks each queue holds. They are the deployment's, not one company's."""
    names = list(Queue)
    try:
        lengths: Sequence[int | None] = _lengths([queue.value for queue in names])
    except RedisError as error:
        logger.warning("the broker does not say what waits: %s", type(error).__name__)
        lengths = [None] * len(names)
    return [
        Waiting(WHAT_WAITS.get(queue, f"Tasks of {queue.value}"), length)
        for queue, length in zip(names, lengths, strict=True)
    ]


def _lengths(names: Sequence[str]) -> list[int]:
    """A queue of the broker is a Redis list of its name (kombu)."""
    options: dict[str, Any] = {"socket_connect_timeout": 1, "socket_timeout": 1}
    with Redis.from_url(settings.CELERY_BROKER_URL, **options) as broker:
        return [int(broker.llen(name)) for name in names]


def departments(viewer: User) -> QuerySet[Department]:
    """The open departments, those that are paused first."""
    rows = visible(Department.objects.filter(is_active=True), viewer)
    return rows.order_by("paused_at", "name")


def pause(department: Department, reason: str) -> None:
    department.paused_at, department.pause_reason = timezone.now(), reason
    department.save(update_fields=["paused_at", "pause_reason"])


def resume(department: Department) -> None:
    department.paused_at, department.pause_reason = None, ""
    department.save(update_fields=["paused_at", "pause_reason"])
