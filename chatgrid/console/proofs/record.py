"""Control 5: every call logged, and nobody changed it. The seals' age each hour, the whole record verified each day."""

from __future__ import annotations

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from audit.anchors import configured
from audit.models import AnchorState, AuditEvent, AuditLeaf, AuditSeal
from audit.roles import connect
from audit.verification import FRESH, Verifier
from chatgrid.console.proofs.base import Evidence, counted
from departments.models import Organization

RECENT = 5_000  # seals compared with the anchors: a bucket gives some fifty a second


def seals(organization: Organization) -> list[Evidence]:
    """How long the newest event waits for its seal, and whether the seals have left the database."""
    newest = AuditSeal.objects.order_by("-n").first()
    if newest is None:
        return [Evidence("Nothing is sealed yet: start `manage.py run_sealer`", holds=False)]
    return [_lag(newest), *(_anchored(state, newest) for state in AnchorState.objects.order_by("anchor"))]


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


def _kind(state: AnchorState) -> str:
    """Without its address: a path or a bucket is no business of a company's auditor."""
    return state.anchor.partition(":")[0]


def verification(organization: Organization) -> list[Evidence]:
    """Every seal, event and signature, as `manage.py verify_audit` does."""
    keys = [bytes.fromhex(key) for key in settings.AUDIT_PUBLIC_KEYS]
    newest = AuditSeal.objects.order_by("-n").values_list("n", flat=True).first() or 0
    with connect("default") as held:
        after = max(0, newest - RECENT)
        report = Verifier(held, trusted=keys, anchors=configured(), anchored_after=after).verify()
    evidence = [Evidence(f"{counted(report.events, 'event')} under {counted(report.seals, 'seal')} verified")]
    if report.first_fault:
        words = f"Not verified. The first bad place: {report.first_fault}"
        evidence = [Evidence(words, holds=False, url=reverse("admin:audit_auditevent_changelist"))]
    remarks = len(report.findings) - len(report.faults)
    if remarks:
        evidence.append(Evidence(f"{counted(remarks, 'remark')} that explain themselves, such as late seals"))
    return evidence
