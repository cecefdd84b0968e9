"""Control 3: a project and a key of its own for each department, as wanted at the provider."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from django.urls import reverse
from django.utils import timezone

from chatgrid.console.proofs.base import Evidence, counted, named
from departments.keys.models import Finding, KeyReference, ProviderProject
from departments.models import Department, Organization

COMPARED_WITHIN = timedelta(minutes=75)  # the comparison runs every hour


def look(organization: Organization) -> list[Evidence]:
    departments = list(Department.objects.filter(organization=organization, is_active=True))
    if not departments:
        return [Evidence("There is no department yet", holds=None)]
    return [*_shared_keys(organization), *_findings(organization), *_compared(departments)]


def _shared_keys(organization: Organization) -> list[Evidence]:
    rows = KeyReference.objects.filter(department__organization=organization)
    times = Counter(rows.values_list("fingerprint", flat=True))
    twice = [fingerprint for fingerprint, count in times.items() if count > 1]
    if twice:
        users = list(rows.filter(fingerprint__in=twice).values_list("department__name", flat=True))
        return [Evidence(f"These departments share one key: {named(users)}", False, _list("keyreference"))]
    return [Evidence(f"{counted(len(times), 'key')}, no two departments with the same")] if times else []


def _findings(organization: Organization) -> list[Evidence]:
    rows = Finding.objects.filter(department__organization=organization, closed_at=None)
    differing = sorted(set(rows.values_list("department__name", flat=True)))
    if not differing:
        return []
    text = f"{counted(rows.count(), 'difference')} from what is wanted, in {named(differing)}"
    return [Evidence(text, holds=False, url=f"{_list('finding')}?open=yes")]


def _compared(departments: list[Department]) -> list[Evidence]:
    since = timezone.now() - COMPARED_WITHIN
    rows = ProviderProject.objects.filter(department__in=departments, checked_at__gte=since)
    fresh = set(rows.values_list("department_id", flat=True))
    missing = [department.name for department in departments if department.pk not in fresh]
    evidence = []
    if fresh:
        evidence.append(Evidence(f"{counted(len(fresh), 'project')} compared with the provider within the hour"))
    if missing:
        text = f"Not compared within the hour: {named(missing)}"
        evidence.append(Evidence(text, holds=None, url=_list("providerproject")))
    return evidence


def _list(model: str) -> str:
    return reverse(f"admin:keys_{model}_changelist")
