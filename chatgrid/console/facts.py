"""What is true of each control right now, read when the home page is asked for: figures, and what to do.

Rules:
- Limited to what the viewer may see; every fact is one query that an index answers.
- `todo` marks what somebody should act on, and its sentence says on what.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, Min, Q, QuerySet, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from chatgrid.console.proofs.base import counted, named
from chatgrid.console.scope import visible
from departments.calls.models import CatalogueModel
from departments.keys.models import Finding, KeyReference
from departments.limits.models import Limit, Spent
from departments.models import Department, Organization
from departments.roles import OrganizationRole

SHUTDOWN_WARNING_DAYS = 90
LATEST = 5


@dataclass(frozen=True)
class Fact:
    """One line. `todo` marks what somebody should look at."""

    text: str
    todo: bool = False
    url: str = ""


def by_control(viewer: User) -> dict[int, list[Fact]]:
    """The facts of this viewer's tiles, by the control's number."""
    departments = list(_departments(viewer))
    return {
        1: _models(departments),
        2: _keys(departments),
        3: _differences(departments),
        4: _stores(departments),
        6: _limits(viewer),
        7: _ages(departments),
    }


def _departments(viewer: User) -> QuerySet[Department]:
    return visible(Department.objects.filter(is_active=True), viewer).select_related("key")


def people(viewer: User) -> list[Fact]:
    active = Q(is_active=True)
    numbers = visible(User.objects.order_by(), viewer).aggregate(
        active=Count("pk", filter=active),
        it=Count("pk", filter=active & Q(role=OrganizationRole.IT)),
        auditors=Count("pk", filter=active & Q(role=OrganizationRole.AUDITOR)),
        waiting=Count("pk", filter=active & Q(last_login=None)),
        closed=Count("pk", filter=Q(is_active=False)),
    )
    return [
        Fact(f"{numbers['active']:,} may sign in: {numbers['it']} IT, {counted(numbers['auditors'], 'auditor')}"),
        Fact(f"{numbers['waiting']:,} have not signed in yet"),
        Fact(f"{numbers['closed']:,} closed"),
    ]


def _stores(departments: list[Department]) -> list[Fact]:
    without = [department for department in departments if not department.store_ready]
    facts = [Fact(f"{counted(len(departments), 'active department')}, {len(departments) - len(without)} with a store")]
    if without:
        url = _list("departments_department") + "?store=missing"
        facts.append(Fact(f"No store yet: {named([department.name for department in without])}", todo=True, url=url))
    return facts


def _keys(departments: list[Department]) -> list[Fact]:
    keys = {department: getattr(department, "key", None) for department in departments}
    without = [department.name for department, key in keys.items() if key is None]
    refused = [each.name for each, key in keys.items() if key and key.state == KeyReference.State.BROKEN]
    facts = [Fact(f"{len(keys) - len(without)} of {counted(len(keys), 'department')} have a key of their own")]
    if without:
        facts.append(Fact(f"No key yet: {named(without)}", todo=True, url=reverse("admin:keys_keyreference_paste")))
    if refused:
        facts.append(Fact(f"Refused by the provider: {named(refused)}", todo=True, url=_list("keys_keyreference")))
    return facts


def _differences(departments: list[Department]) -> list[Fact]:
    differing = Finding.objects.filter(department__in=departments, closed_at=None).count()
    if not differing:
        return [Fact("No open finding")]
    url = _list("keys_finding") + "?open=yes"
    return [Fact(f"{counted(differing, 'difference')} at OpenAI from what is wanted", todo=True, url=url)]


def _ages(departments: list[Department]) -> list[Fact]:
    keys = [department.key for department in departments if hasattr(department, "key")]
    oldest = min((key.installed_at for key in keys), default=None)
    if oldest is None:
        return []
    due = oldest < timezone.now() - timedelta(days=settings.KEY_ROTATION_DAYS)
    url = _list("keys_keyreference")
    return [Fact(f"Oldest key: {timesince(oldest, depth=1)}", todo=True, url=url)] if due else []


def _limits(viewer: User) -> list[Fact]:
    organizations = list(visible(Organization.objects.all(), viewer))
    ceiling = _ceiling(viewer)
    spent = f"{_tokens_today(organizations):,} tokens today"
    if ceiling is not None:
        spent += f" of {ceiling:,}"
    refused = _since_midnight(viewer, Event.CALL_REFUSED)
    facts = [Fact(spent), Fact(f"{counted(refused, 'call')} refused today")]
    if ceiling is None and not viewer.is_superuser:
        facts.append(Fact("The company has no ceiling of its own", todo=True, url=reverse("admin:limits_limit_add")))
    return facts


def _ceiling(viewer: User) -> int | None:
    if viewer.organization_id is None:
        return None
    own = Limit.objects.filter(organization=viewer.organization_id, department=None, person=None)
    return own.values_list("tokens_per_day", flat=True).first()


def _tokens_today(organizations: Iterable[Organization]) -> int:
    days: dict[date, list[object]] = {}
    for organization in organizations:
        days.setdefault(timezone.now().astimezone(ZoneInfo(organization.time_zone)).date(), []).append(organization.pk)
    if not days:
        return 0
    today = Q(pk__in=[])
    for day, ids in days.items():  # at most three dates exist on earth at once
        today |= Q(day=day, scope_id__in=ids)
    rows = Spent.objects.filter(today, scope=Spent.Scope.ORGANIZATION)
    return rows.aggregate(tokens=Sum("tokens"))["tokens"] or 0


def _since_midnight(viewer: User, event: Event) -> int:
    return visible(AuditEvent.objects.order_by(), viewer).filter(event=event, at__gte=_midnight(viewer)).count()


def _midnight(viewer: User) -> datetime:
    zone = ZoneInfo(viewer.organization.time_zone if viewer.organization else "UTC")
    return timezone.now().astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)


def latest(viewer: User) -> list[Fact]:
    columns = AuditEvent.objects.only("at", "event", "actor_name", "department_name")
    latest = visible(columns.filter(at__lte=timezone.now()), viewer).order_by("-at")[:LATEST]
    return [Fact(_sentence(event), url=_event(event)) for event in latest] or [Fact("Nothing has happened yet")]


def _sentence(event: AuditEvent) -> str:
    who = event.actor_name or event.department_name
    return f"{event.at:%H:%M} UTC, {event.sentence}" + (f" ({who})" if who else "")


def _event(event: AuditEvent) -> str:
    return reverse("admin:audit_auditevent_change", args=[event.pk])


def _models(departments: list[Department]) -> list[Fact]:
    used = {department.model for department in departments}
    chat = CatalogueModel.objects.filter(kind=CatalogueModel.Kind.CHAT)
    ending = chat.filter(name__in=used, shutdown_on__lte=timezone.now().date() + timedelta(days=SHUTDOWN_WARNING_DAYS))
    known = chat.aggregate(all=Count("pk"), used=Count("pk", filter=Q(name__in=used)))
    facts = [Fact(f"{counted(known['all'], 'chat model')} known, {known['used']} in use")]
    if unknown := len(used) - known["used"]:
        facts.append(Fact(f"{counted(unknown, 'model')} in use without an entry here", todo=True))
    first = ending.aggregate(first=Min("shutdown_on"))["first"]
    if first is not None:
        facts.append(Fact(f"A model in use ends on {first:%Y-%m-%d}", todo=True))
    return facts


def _list(name: str) -> str:
    return reverse(f"admin:{name}_changelist")
