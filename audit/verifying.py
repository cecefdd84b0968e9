"""Verifications in the background, with their progress and their result in a row: "verify now", and every night.

Rules:
- One at a time reads the record; whoever asks while one waits or runs is shown that one.
- A result is an event, `record:verified`, so that who verified what and when is in the record itself. The row is for
  showing; `is_told` compares it with that event, because a row can be changed and an event cannot.
- What a run needs: to read the record, and to read the anchors. Its worker has both; a page has neither and only asks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection as django_connection
from django.db import transaction
from django.utils import timezone
from psycopg import Connection

from audit.anchors import configured
from audit.events import Event
from audit.findings import Finding, Report
from audit.models import AuditEvent, VerificationRun
from audit.roles import connect
from audit.signing import public_keys
from audit.verification import Verifier
from audit.writer import Entry, record

RECENT = 5_000  # seals compared with the anchors: a bucket gives them one by one, some fifty a second
NOTED_EVERY = 1.0
ABANDONED = timedelta(minutes=3)
EVERY = timedelta(hours=24)
MOST_FINDINGS = 200

logger = logging.getLogger(__name__)


def unfinished() -> VerificationRun | None:
    """The run that waits or that somebody works on, if there is one."""
    live = timezone.now() - ABANDONED
    waiting = VerificationRun.objects.filter(finished_at=None)
    return waiting.filter(seen_at__gte=live).first() or waiting.filter(seen_at=None, asked_at__gte=live).first()


def is_abandoned(run: VerificationRun) -> bool:
    """Nobody has worked on it for a while: its process died, or no worker takes such runs."""
    return run.finished_at is None and (run.seen_at or run.asked_at) < timezone.now() - ABANDONED


def newest() -> VerificationRun | None:
    """The run that ended last, whoever asked for it and however it ended."""
    return VerificationRun.objects.exclude(finished_at=None).order_by("-finished_at").first()


def begin(**asked: Any) -> tuple[VerificationRun, bool]:
    """A new run, and True; or the unfinished one that there is, and False. Two who ask in one moment get one run."""
    with transaction.atomic(), django_connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('chatgrid begin verification'))")
        found = unfinished()
        return (found, False) if found else (VerificationRun.objects.create(**asked), True)


def is_due() -> bool:
    """Nobody verifies, and nobody has for `EVERY`."""
    return (
        unfinished() is None
        and not VerificationRun.objects.filter(problem="", finished_at__gt=timezone.now() - EVERY).exists()
    )


def is_told(run: VerificationRun) -> bool:
    """Whether the event that this run left in the record says what its row says."""
    if run.started_at is None:
        return False
    since = run.started_at - timedelta(hours=1)  # the event's clock is the database's
    told = AuditEvent.objects.filter(event=Event.RECORD_VERIFIED, at__gte=since, subject_id=str(run.pk))
    return [(each.details.get("seals"), each.details.get("faults")) for each in told] == [(run.seals, run.faults)]


def verify(run: VerificationRun) -> None:
    """Do the verification and keep its result. Whatever goes wrong is in the row, in words."""
    run.started_at = run.seen_at = timezone.now()
    run.done, run.problem = 0, ""
    run.save(update_fields=["started_at", "seen_at", "done", "problem"])
    try:
        with connect("default") as connection:
            report = Verifier(
                connection,
                trusted=public_keys(settings.AUDIT_PUBLIC_KEYS),
                anchors=configured(),
                anchored_after=_old(connection),
                progress=_progress_of(run),
            ).verify()
    except (psycopg.Error, ImproperlyConfigured, OSError) as error:
        logger.error("the record could not be verified: %s", type(error).__name__)
        _close(run, problem=f"It could not be finished: {_words_of(error)}")
        return
    _keep(run, report)


def _old(connection: Connection[Any]) -> int:
    row = connection.execute("SELECT coalesce(max(n), 0) FROM audit_seal").fetchone()
    return max(0, row[0] - RECENT) if row else 0


def _progress_of(run: VerificationRun) -> Callable[[int, int], None]:
    """Notes how far a run is, once a second at most, on another connection than the one that verifies."""
    noted = 0.0

    def note(done: int, total: int) -> None:
        nonlocal noted
        if time.monotonic() - noted > NOTED_EVERY or done == total:
            noted = time.monotonic()
            VerificationRun.objects.filter(pk=run.pk).update(done=done, total=total, seen_at=timezone.now())

    return note


def _keep(run: VerificationRun, report: Report) -> None:
    run.refresh_from_db(fields=["done", "total"])
    run.seals, run.expired_seals = report.seals, report.expired_seals
    run.keys, run.anchors = report.keys, report.anchors
    run.findings = [_plain(finding) for finding in report.findings[:MOST_FINDINGS]]
    run.faults = len(report.faults)
    first = report.first_fault
    if first is not None:
        logger.critical("the record is NOT VERIFIED: %s", first)
    details = {
        "run": str(run.pk),
        "seals": report.seals,
        "faults": len(report.faults),
        "first_bad_place": str(first) if first else "",
    }
    record(
        Entry(
            event=Event.RECORD_VERIFIED,
            organization_id=run.organization_id,
            actor_id=run.asked_by_id,
            actor_name=run.asked_by,
            subject_kind="verification",
            subject_id=str(run.pk),
            details=details,
        )
    )
    _close(run)


def _close(run: VerificationRun, problem: str = "") -> None:
    run.finished_at, run.problem = timezone.now(), problem
    run.save()


def _plain(finding: Finding) -> dict[str, Any]:
    held = asdict(finding)
    return {**held, "event_id": str(finding.event_id) if finding.event_id else None}


def _words_of(error: Exception) -> str:
    if isinstance(error, ImproperlyConfigured):
        return str(error)
    return "the database or a place outside it did not answer. Ask again in a minute; the worker's log says more."
