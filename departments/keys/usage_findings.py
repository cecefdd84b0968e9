"""Findings from usage: what the provider counted and nobody of ours did, for IT to end with one click.

Rules:
- One open finding for a department and kind, with the hours, the counts and the amount of every place it was seen in.
- A leaked key's finding stays open until the key has been exchanged; a look that sees nothing does not close it.
- What a closed finding already said opens no new one, and more than it said does.
- Usage from before a key was exchanged is answered by the exchange, however late it is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from audit.differences import Difference, Place, Reason, dollars, requests_in_words
from audit.events import Event
from audit.reconciliation import KnownKey
from audit.writer import Entry, record
from departments.keys.models import Finding
from departments.keys.rotation import By
from departments.keys.rotation_models import Rotation
from departments.keys.triggers import suspect_leak
from departments.models import Department, Organization

KINDS = {
    Reason.LEAKED_KEY: Finding.Kind.LEAKED_KEY,
    Reason.DELETED_KEY: Finding.Kind.DELETED_KEY_USED,
    Reason.FOREIGN_KEY: Finding.Kind.FOREIGN_USE,
}
WORDS = {
    Finding.Kind.LEAKED_KEY: "Somebody else uses the key of {department}. Rotate it now",
    Finding.Kind.DELETED_KEY_USED: "A deleted key of {department} was used. Delete it once more",
    Finding.Kind.FOREIGN_USE: "A key that ChatGrid did not make was used in the project of {department}. Delete it",
}
LONGEST = 400


def file(organization: Organization, alarms: Iterable[Difference]) -> list[Finding]:
    """File the alarms as findings of their departments; those that were opened or have grown.

    Also of a key that was exchanged meanwhile, for OpenAI counts late: `close_answered` closes that one at once.
    """
    grouped: dict[tuple[Department, Finding.Kind], list[Difference]] = {}
    for alarm in alarms:
        department = _department_of(organization, alarm)
        if department is not None:
            grouped.setdefault((department, KINDS[alarm.reason]), []).append(alarm)
    found = [_file(department, kind, places) for (department, kind), places in grouped.items()]
    return [finding for finding in found if finding is not None]


def close_answered(organization: Organization, keys: Sequence[KnownKey]) -> None:
    """Close the findings of leaked keys that have been exchanged and proven dead since."""
    retired = {key.key_id for key in keys if key.retired_at is not None}
    for finding in Finding.objects.filter(
        department__organization=organization, kind=Finding.Kind.LEAKED_KEY, closed_at=None
    ).select_related("department__organization"):
        if {key["id"] for key in finding.evidence["keys"]} <= retired:
            _close(finding)


def rotate(finding: Finding, by: By) -> Rotation:
    """The click: exchange the key at once. It joins a rotation that is under way, and hurries it."""
    return suspect_leak(finding.department, by, reason=finding.sentence)


def is_of_usage(finding: Finding) -> bool:
    return finding.kind in KINDS.values()


def places_in_words(finding: Finding) -> list[str]:
    """A line for each key, model and day: the hours (UTC), the counts and the amount."""
    return [str(Difference.from_json(place)) for place in finding.evidence["places"]]


def _file(department: Department, kind: Finding.Kind, places: list[Difference]) -> Finding | None:
    filed = Finding.objects.filter(department=department, kind=kind)
    known = [_places(finding) for finding in filed]
    opened = filed.filter(closed_at=None).first()
    fresh = {place.place: place for place in places if _is_more(place, known)}
    if not fresh:
        if opened is not None:
            Finding.objects.filter(pk=opened.pk).update(seen_at=timezone.now())
        return None
    # days that are no longer compared are a part of it until it is closed
    places = list({**(_places(opened) if opened else {}), **fresh}.values())
    fields = {"sentence": _sentence(department, kind, places), "evidence": _evidence(places), "seen_at": timezone.now()}
    if opened is not None:
        Finding.objects.filter(pk=opened.pk).update(**fields)
        return opened
    try:
        with transaction.atomic():
            return Finding.objects.create(department=department, kind=kind, **fields)
    except IntegrityError:
        return None  # another comparison has filed it in the same moment


def _places(finding: Finding) -> dict[Place, Difference]:
    held = map(Difference.from_json, finding.evidence.get("places", ()))
    return {difference.place: difference for difference in held}


def _is_more(place: Difference, known: list[dict[Place, Difference]]) -> bool:
    """Whether no finding has told of as many requests there, on that day, with that key."""
    return all(place.requests > told[place.place].requests for told in known if place.place in told)


def _evidence(places: list[Difference]) -> dict[str, Any]:
    amounts = [place.amount for place in places if place.amount is not None]
    return {
        "keys": [{"id": key_id} for key_id in sorted({place.key_id for place in places})],
        "requests": sum(place.requests for place in places),
        "tokens": sum(place.input_tokens + place.output_tokens for place in places),
        "amount": f"{sum(amounts, Decimal(0)):.8f}" if amounts else None,
        "places": [place.as_json() for place in places],
    }


def _sentence(department: Department, kind: Finding.Kind, places: list[Difference]) -> str:
    first = min(places, key=lambda place: (place.day, place.hours))
    requests = sum(place.requests for place in places)
    tokens = sum(place.input_tokens + place.output_tokens for place in places)
    amounts = [place.amount for place in places if place.amount is not None]
    words = [requests_in_words(requests), f"{tokens:,} tokens"]
    if amounts:
        words.append(dollars(sum(amounts, Decimal(0)), is_billed=all(place.is_billed for place in places)))
    begins = f"{first.day} {first.hours[0]:02}:00 UTC" if first.hours else str(first.day)
    told = f"{WORDS[kind].format(department=department.name)}: {', '.join(words)} since {begins}."
    return told[:LONGEST]


def _department_of(organization: Organization, alarm: Difference) -> Department | None:
    """Whose key it is, or whose project."""
    ours = Department.objects.filter(organization=organization).select_related("organization")
    wanted = (
        Q(key__key_id=alarm.key_id),
        Q(rotations__old_key_id=alarm.key_id),
        Q(project__project_id=alarm.project_id),
        Q(key__project_id=alarm.project_id),
    )
    found = (ours.filter(condition).first() for condition in wanted)
    return next((department for department in found if department is not None), None)


def _close(finding: Finding) -> None:
    with transaction.atomic():
        closed = Finding.objects.filter(pk=finding.pk, closed_at=None).update(
            closed_at=timezone.now(), closed_how="repaired"
        )
        if closed:
            record(_entry(finding))


def _entry(finding: Finding) -> Entry:
    department = finding.department
    return Entry(
        event=Event.LEAK_CLOSED,
        **department.in_record,
        subject_kind="finding",
        subject_id=str(finding.pk),
        details={"kind": finding.kind, "sentence": finding.sentence},
    )
