"""OpenAI's own audit log, merged into ours where it is switched on there.

Rules:
- Read from five minutes before the newest line we hold, and known by its id: nothing twice, and nothing that comes late
  is lost. The first time it goes back `FIRST_LOOK`.
- A line about keys or bounds of one of our projects, by somebody else than our admin key, is an alarm: a finding.
- An owner has to switch the log on at OpenAI. Where it is off, or cannot be read, that is one line in our log, and no
  comparison waits for it.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from audit.events import Event
from audit.models import AuditEvent
from audit.writer import Entry, record
from departments.keys.admin_api import AdminApi, AdminApiError, AdminForbidden, AdminRejected
from departments.keys.admin_values import LogEvent
from departments.keys.models import AdminKeyReference, Finding, KeyReference, ProviderProject
from departments.models import Department, Organization

FIRST_LOOK = timedelta(days=3)
OVERLAP = timedelta(minutes=5)
ABOUT_OUR_FENCE = ("api_key.", "service_account.", "project.", "rate_limit.", "spend_limit.", "model_permissions.")
LONGEST = 400

logger = logging.getLogger(__name__)


def merge(organization: Organization, api: AdminApi, now: datetime | None = None) -> int:
    """Write the lines that we do not have; how many, none where OpenAI does not show them."""
    since = _newest(organization) or (now or timezone.now()) - FIRST_LOOK
    try:
        lines = list(api.audit_logs(since - OVERLAP))
    except AdminApiError as error:
        is_usual = isinstance(error, AdminForbidden | AdminRejected)
        level = logging.INFO if is_usual else logging.ERROR
        logger.log(level, "OpenAI's audit log of organization %s is not merged: %s", organization.pk, error)
        return 0
    known = set(
        _held(organization).filter(subject_id__in=[line.id for line in lines]).values_list("subject_id", flat=True)
    )
    fresh = sorted((line for line in lines if line.id not in known), key=lambda line: line.at)
    for line in fresh:
        _write(organization, line)
    return len(fresh)


def _held(organization: Organization) -> QuerySet[AuditEvent]:
    kinds = [Event.PROVIDER_LOGGED, Event.PROVIDER_ACT_FOREIGN]
    return AuditEvent.objects.filter(event__in=kinds, organization_id=organization.pk)


def _newest(organization: Organization) -> datetime | None:
    row = _held(organization).order_by("-at").first()
    return parse_datetime(row.details["happened_at"]) if row else None


def _write(organization: Organization, line: LogEvent) -> None:
    department = _department_of(organization, line)
    foreign = department is not None and _is_foreign(organization, line)
    entry = Entry(
        event=Event.PROVIDER_ACT_FOREIGN if foreign else Event.PROVIDER_LOGGED,
        organization_id=organization.pk,
        organization_name=organization.name,
        department_id=department.pk if department else None,
        department_name=department.name if department else "",
        actor_name=line.actor_id,
        client_address=line.address,
        subject_kind="provider_log",
        subject_id=line.id,
        details={
            "type": line.type,
            "happened_at": line.at.isoformat(),
            "actor_kind": line.actor_kind,
            "project_id": line.project_id,
            "about": line.subject_id,
        },
    )
    with transaction.atomic():
        record(entry)
        if foreign and department is not None:
            _open_finding(department, line)


def _is_foreign(organization: Organization, line: LogEvent) -> bool:
    """By its actor. Without the id of our own admin key only people can be told from us."""
    if not line.type.startswith(ABOUT_OUR_FENCE):
        return False
    ours = AdminKeyReference.objects.filter(organization=organization).values_list("key_id", flat=True).first()
    return line.actor_kind != "api_key" or bool(ours and line.actor_id != ours)


def _department_of(organization: Organization, line: LogEvent) -> Department | None:
    if not line.project_id:
        return None
    ours = Department.objects.filter(organization=organization)
    by_project = ProviderProject.objects.filter(project_id=line.project_id).values("department")
    by_key = KeyReference.objects.filter(project_id=line.project_id).values("department")
    return ours.filter(pk__in=by_project).first() or ours.filter(pk__in=by_key).first()


def _open_finding(department: Department, line: LogEvent) -> None:
    """One open finding holds the acts that nobody has looked at yet, the newest last."""
    now = timezone.now()
    act = {"id": line.id, "at": line.at.isoformat(), "type": line.type, "by": line.actor_id, "about": line.subject_id}
    sentence = f"{line.actor_id or 'Somebody'} did {line.type} in the project of {department.name} at OpenAI."[:LONGEST]
    finding = Finding.objects.filter(department=department, kind=Finding.Kind.FOREIGN_ACT, closed_at=None).first()
    if finding is None:
        Finding.objects.create(
            department=department,
            kind=Finding.Kind.FOREIGN_ACT,
            sentence=sentence,
            evidence={"acts": [act]},
            seen_at=now,
        )
        return
    acts = [*finding.evidence["acts"], act]
    told = f"{sentence[:-1]}, and {len(acts) - 1} more such acts before."[:LONGEST]
    Finding.objects.filter(pk=finding.pk).update(seen_at=now, sentence=told, evidence={"acts": acts})
