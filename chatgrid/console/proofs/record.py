"""Control 5: every call logged, and nobody changed it. The seals' age, and what the last verification of all found."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.urls import reverse
from django.utils import timezone

from audit import verifying
from audit.findings import Severity
from audit.models import AnchorState, AuditEvent, AuditLeaf, AuditSeal, VerificationRun
from audit.push import Standing, standings
from audit.verification import FRESH
from chatgrid.console.proofs.base import Evidence, counted
from departments.models import Organization

RECENT = 5_000  # events and leaves looked at for one that waits
MANY_FAILURES = 4  # some ten seconds: a restart of the other side is nobody's alarm
VERIFIED_WITHIN = timedelta(hours=26)  # one a day, and time to make it


def seals(organization: Organization) -> list[Evidence]:
    """How long the newest event waits for its seal, and whether the seals have left the database."""
    newest = AuditSeal.objects.order_by("-n").first()
    if newest is None:
        return [Evidence("Nothing is sealed yet: start `manage.py run_sealer`", holds=False)]
    anchors = [_anchored(state, newest) for state in AnchorState.objects.order_by("anchor")]
    return [_lag(newest), *anchors, *map(_pushed, standings())]


def _lag(newest: AuditSeal) -> Evidence:
    now = timezone.now()
    events = AuditEvent.objects.filter(at__range=(newest.at, now)).order_by("at").values_list("pk", "at")[:RECENT]
    sealed = set(AuditLeaf.objects.filter(at__gte=newest.at).values_list("event_id", flat=True)[: 2 * RECENT])
    waiting = next((at for pk, at in events if pk not in sealed), None)
    if waiting is None:
        return Evidence(f"Every event has its seal; the newest is number {newest.n}")
    lag = now - waiting
    text = f"The oldest event without a seal waits for {round(lag.total_seconds())} s; the newest seal is {newest.n}"
    return Evidence(text, holds=lag < FRESH)


def _anchored(state: AnchorState, newest: AuditSeal) -> Evidence:
    if state.problem:
        return Evidence(f"The anchor {_kind(state)} does not take seals: {state.problem}", holds=False)
    behind = newest.n - state.seal
    is_late = behind > 0 and timezone.now() - state.at > FRESH
    words = f"{counted(behind, 'seal')} behind" if behind > 0 else "has every seal"
    return Evidence(f"The anchor {_kind(state)} {words}", holds=not is_late)


def _pushed(target: Standing) -> Evidence:
    if not target.problem:
        return Evidence(f"The SIEM {target.name} takes what is sealed")
    words = f"The SIEM {target.name} is behind after {counted(target.failures, 'failed attempt')}: {target.problem}"
    return Evidence(words, holds=target.failures < MANY_FAILURES, url=reverse("admin:audit_auditevent_seals"))


def _kind(state: AnchorState) -> str:
    """Without its address: a path or a bucket is no business of a company's auditor."""
    return state.anchor.partition(":")[0]


def verification(organization: Organization) -> list[Evidence]:
    """What the last verification of the whole record found: a worker makes one each day, this only reads its result."""
    run = verifying.newest()
    page = reverse("admin:audit_auditevent_seals")
    if run is None or run.finished_at is None:
        return [Evidence("Nobody has verified the record yet; a worker of the queue “record” does", None, page)]
    if run.problem:
        return [Evidence(f"The last verification did not end: {run.problem}", False, page)]
    if not verifying.is_told(run):
        words = "The saved result of the last verification is not the one in the record: verify again"
        return [Evidence(words, False, page)]
    return [_result(run, page), *_remarks(run), _freshness(run.finished_at, page)]


def _result(run: VerificationRun, page: str) -> Evidence:
    if run.faults:
        first = next(each for each in run.findings if each["severity"] == Severity.FAULT)
        where = f"seal {first['seal']:,}" if first["seal"] else "the record"
        words = f"{counted(run.faults, 'fault')}. The first bad place: {where}, {first['kind']}"
        return Evidence(f"Not verified: {words}", False, page)
    places = f" and compared with {counted(len(run.anchors), 'place')} outside" if run.anchors else ""
    return Evidence(f"{counted(run.seals, 'seal')} with every event under them verified{places}", True, page)


def _remarks(run: VerificationRun) -> list[Evidence]:
    remarks = sum(1 for each in run.findings if each["severity"] != Severity.FAULT)
    return [Evidence(f"{counted(remarks, 'remark')} that explain themselves, such as late seals")] if remarks else []


def _freshness(ended: datetime, page: str) -> Evidence:
    hours = round((timezone.now() - ended).total_seconds() / 3600)
    return Evidence(f"Verified {counted(hours, 'hour')} ago", timezone.now() - ended < VERIFIED_WITHIN, page)
