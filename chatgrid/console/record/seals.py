"""How the record is sealed right now, and verifications of all of it: asked for here, done by a worker.

Rules:
- Seals are over the events of every organization, so no page says how many events there are: only the viewer's own wait
  here, and a finding names an entry only to those whose entry it is.
- Asking for a verification is an auditor's right as it is IT's. The page leaves a task and shows a row; without a
  broker it says so and nothing waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.db import connection
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from audit import rollups, tasks, verifying
from audit.events import Event
from audit.findings import Severity
from audit.models import AuditEvent, AuditSeal, LegalHold, RetentionPolicy, VerificationRun
from audit.proofs import AnchorMark, anchor_marks
from audit.push import standings
from audit.signing import key_id
from audit.verification import LEAST_KEPT
from chatgrid.accounts.models import User
from chatgrid.console.asking import ask
from chatgrid.console.record.filters import as_uuid
from chatgrid.console.scope import viewer_of, visible
from chatgrid.console.site import site

FRESH = timedelta(minutes=3)
MOST_WAITING = 1_000
RUNS = 20
MONTHS = 24
LATEST = timedelta(minutes=15)
EVER = datetime(2000, 1, 1, tzinfo=UTC)
ASKED = "A worker verifies the record now."

_WAITING = """
    SELECT count(*) FROM (
        SELECT FROM audit_event e WHERE (%s OR e.organization_id = %s) AND e.at >= %s
            AND NOT EXISTS (SELECT FROM audit_leaf l WHERE l.event_id = e.id AND l.at = e.at) LIMIT %s
    ) w
"""


@dataclass(frozen=True)
class Sealing:
    """What is known of the sealer from what it has written. `waiting` counts the viewer's own events."""

    seal: AuditSeal | None
    key: str
    waiting: int
    capped: bool
    anchors: list[AnchorMark]

    @property
    def is_late(self) -> bool:
        return self.seal is None or self.seal.at < timezone.now() - FRESH


@dataclass(frozen=True)
class Found:
    """A finding as the page says it; `url` leads to the entry where it is the viewer's."""

    words: str
    is_fault: bool
    url_id: str = ""


@require_safe
def show_seals(request: HttpRequest) -> HttpResponse:
    """State of the seals, the places outside, the verifications, and what ends when."""
    viewer = viewer_of(request)
    context = {
        **site.each_context(request),
        "title": "Seals",
        "tab": "seals",
        "sealing": _sealing(viewer),
        "targets": standings(viewer.organization_id),
        "sums": _sums_state(),
        "runs": [(run, state_of(run)) for run in _runs(viewer)[:RUNS]],
        "days": _days(viewer),
        "holds": _holds(viewer),
        "ended": _ended(),
        "least_days": RetentionPolicy.LEAST_DAYS,
    }
    return TemplateResponse(request, "console/record/seals.html", context)


@require_POST
def verify_now(request: HttpRequest) -> HttpResponse:
    """Leave a verification for a worker, or show the one that is under way."""
    viewer = viewer_of(request)
    run, is_new = verifying.begin(organization_id=viewer.organization_id, asked_by_id=viewer.pk, asked_by=str(viewer))
    if not is_new:
        messages.info(request, "A verification is under way already; its result will be here.")
        return _to(run, viewer)
    if not ask(request, tasks.verify_record, str(run.pk), said=ASKED):
        run.delete()
        return redirect("admin:audit_auditevent_seals")
    return _to(run, viewer)


def _to(run: VerificationRun, viewer: User) -> HttpResponse:
    if _runs(viewer).filter(pk=run.pk).exists():
        return redirect("admin:audit_auditevent_run", run.pk)
    return redirect("admin:audit_auditevent_seals")  # somebody else's: that it runs is all that is said


@require_safe
def show_run(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Progress and result of a verification; the page asks again by itself while it runs."""
    viewer = viewer_of(request)
    run = _runs(viewer).filter(pk=run_id).first()
    if run is None:
        raise Http404
    context = {
        **site.each_context(request),
        "title": "Verification",
        "tab": "seals",
        "run": run,
        "state": state_of(run),
        "is_changed": _is_changed(run),
        "found": [_found(finding, viewer) for finding in run.findings],
    }
    return TemplateResponse(request, "console/record/run.html", context)


def _is_changed(run: VerificationRun) -> bool:
    """The record's event says something else than this row; asked only while that event cannot have ended yet."""
    if run.finished_at is None or run.problem:
        return False
    return timezone.now() - run.finished_at < LEAST_KEPT and not verifying.is_told(run)


def state_of(run: VerificationRun) -> str:
    """waiting, running, abandoned, failed, fault, remark or good."""
    if verifying.is_abandoned(run):
        return "abandoned"
    if run.finished_at is None:
        return "running" if run.started_at else "waiting"
    if run.problem:
        return "failed"
    if run.faults:
        return "fault"
    return "remark" if run.findings else "good"


def _runs(viewer: User) -> QuerySet[VerificationRun]:
    """The organization's own runs and those of the clock."""
    every = VerificationRun.objects.all()
    if viewer.is_superuser:
        return every
    return every.filter(Q(organization_id=viewer.organization_id) | Q(organization_id=None, asked_by_id=None))


def _found(finding: dict[str, Any], viewer: User) -> Found:
    places = [("seal", finding["seal"]), ("number", finding["seq"])]
    where = ", ".join(f"{name} {value:,}" for name, value in places if value is not None) or "the record"
    event_id = as_uuid(finding["event_id"] or "")
    own = event_id is not None and visible(AuditEvent.objects.filter(pk=event_id), viewer).exists()
    words = f"{where}: {finding['kind']}" + (f" ({finding['words']})" if finding["words"] else "")
    return Found(words, finding["severity"] == Severity.FAULT, str(event_id) if own else "")


def _sealing(viewer: User) -> Sealing:
    seal = AuditSeal.objects.order_by("-n").first()
    waiting = _waiting(viewer, seal.at if seal else None)
    connection.ensure_connection()
    return Sealing(
        seal=seal,
        key=key_id(bytes(seal.public_key)) if seal else "",
        waiting=min(waiting, MOST_WAITING),
        capped=waiting > MOST_WAITING,
        anchors=anchor_marks(cast(Any, connection.connection), seal.n if seal else 0),
    )


def _waiting(viewer: User, sealed_at: datetime | None) -> int:
    """The viewer's events that have no leaf, counted no further than needed; of the time in which there can be any."""
    since = sealed_at - LATEST if sealed_at else EVER
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [viewer.is_superuser, viewer.organization_id, since, MOST_WAITING + 1])
        row = cursor.fetchone()
    return int(row[0])


def _sums_state() -> rollups.State:
    with connection.cursor() as cursor:
        return rollups.state(cursor)


def _days(viewer: User) -> int:
    if viewer.organization_id is None:
        return RetentionPolicy.DEFAULT_DAYS
    own = RetentionPolicy.objects.filter(organization_id=viewer.organization_id).values_list("days", flat=True)
    return own.first() or RetentionPolicy.DEFAULT_DAYS


def _holds(viewer: User) -> list[LegalHold]:
    if viewer.organization_id is None:
        return []
    return list(LegalHold.objects.filter(organization_id=viewer.organization_id, lifted_at=None))


def _ended() -> list[str]:
    """The months that retention has ended, newest first; they are shared, and only their names are said."""
    gone = AuditEvent.objects.filter(event=Event.MONTH_DROPPED).order_by("-at").values_list("subject_id", flat=True)
    return [month.replace("_", "-") for month in dict.fromkeys(gone[: MONTHS * 2])][:MONTHS]
