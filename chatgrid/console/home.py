"""The facts on the console's home page, one tile a control.

Rules:
- A fact is read when the page is asked for; nothing here is remembered, and nothing is green by default.
- A tile asks for attention when there is something to do, and says what.
- Every fact is one query that an index answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Count, Min, Q, QuerySet, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from chatgrid.console.scope import visible
from departments.calls.models import CatalogueModel
from departments.keys.models import Finding, KeyReference
from departments.limits.models import Limit, Spent
from departments.models import Department, Organization
from departments.roles import OrganizationRole

ROTATION_DAYS = 90
SHUTDOWN_WARNING_DAYS = 90
LATEST = 5
NAMED = 3


@dataclass(frozen=True)
class Fact:
    """One line of a tile. `todo` marks what somebody should look at."""

    text: str
    todo: bool = False
    url: str = ""


@dataclass(frozen=True)
class Tile:
    """A control: its name, where its pages begin, and what is true of it right now."""

    name: str
    icon: str
    url: str
    facts: list[Fact] = field(default_factory=list)

    @property
    def todo(self) -> bool:
        return any(fact.todo for fact in self.facts)


def tiles_for(viewer: User) -> list[Tile]:
    """The home page of this viewer, limited to what they may see."""
    departments = list(_departments(viewer))
    return [
        Tile("People", "people", _list("accounts_user"), _people(viewer)),
        Tile("Departments", "files", _list("departments_department"), _stores(departments)),
        Tile("Keys", "lock", _list("keys_keyreference"), _keys(departments)),
        Tile("Limits", "clock", _list("limits_limit"), _limits(viewer)),
        Tile("Record", "check", _list("audit_auditevent"), _record(viewer)),
        Tile("Models", "chat", _list("calls_cataloguemodel"), _models(departments)),
    ]


def _departments(viewer: User) -> QuerySet[Department]:
    return visible(Department.objects.filter(is_active=True), viewer).select_related("key")


def _people(viewer: User) -> list[Fact]:
    active = Q(is_active=True)
    counted = visible(User.objects.order_by(), viewer).aggregate(
        active=Count("pk", filter=active),
        it=Count("pk", filter=active & Q(role=OrganizationRole.IT)),
        auditors=Count("pk", filter=active & Q(role=OrganizationRole.AUDITOR)),
        waiting=Count("pk", filter=active & Q(last_login=None)),
        closed=Count("pk", filter=Q(is_active=False)),
    )
    return [
        Fact(f"{counted['active']:,} may sign in: {counted['it']} IT, {_counted(counted['auditors'], 'auditor')}"),
        Fact(f"{counted['waiting']:,} have not signed in yet"),
        Fact(f"{counted['closed']:,} closed"),
    ]


def _stores(departments: list[Department]) -> list[Fact]:
    without = [department for department in departments if not department.store_ready]
    facts = [Fact(f"{_counted(len(departments), 'active department')}, {len(departments) - len(without)} with a store")]
    if without:
        url = _list("departments_department") + "?store=missing"
        facts.append(Fact(f"No store yet: {_named(without)}", todo=True, url=url))
    return facts


def _keys(departments: list[Department]) -> list[Fact]:
    keys = {department: getattr(department, "key", None) for department in departments}
    without = [department for department, key in keys.items() if key is None]
    refused = [department for department, key in keys.items() if key and key.state == KeyReference.State.BROKEN]
    facts = [Fact(f"{len(keys) - len(without)} of {_counted(len(keys), 'department')} have a key of their own")]
    if without:
        facts.append(Fact(f"No key yet: {_named(without)}", todo=True, url=reverse("admin:keys_keyreference_paste")))
    if refused:
        facts.append(Fact(f"Refused by the provider: {_named(refused)}", todo=True, url=_list("keys_keyreference")))
    differing = Finding.objects.filter(department__in=departments, closed_at=None).count()
    if differing:
        url = _list("keys_finding") + "?open=yes"
        facts.append(Fact(f"{_counted(differing, 'difference')} at OpenAI from what is wanted", todo=True, url=url))
    oldest = min((key.changed_at for key in keys.values() if key), default=None)
    if oldest is not None:
        due = oldest < timezone.now() - timedelta(days=ROTATION_DAYS)
        facts.append(Fact(f"Oldest key: {timesince(oldest, depth=1)}", todo=due))
    return facts


def _limits(viewer: User) -> list[Fact]:
    organizations = list(visible(Organization.objects.all(), viewer))
    ceiling = _ceiling(viewer)
    spent = f"{_tokens_today(organizations):,} tokens today"
    if ceiling is not None:
        spent += f" of {ceiling:,}"
    refused = _since_midnight(viewer, Event.CALL_REFUSED)
    facts = [Fact(spent), Fact(f"{_counted(refused, 'call')} refused today")]
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


def _record(viewer: User) -> list[Fact]:
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
    facts = [Fact(f"{_counted(known['all'], 'chat model')} known, {known['used']} in use")]
    if unknown := len(used) - known["used"]:
        facts.append(Fact(f"{_counted(unknown, 'model')} in use without an entry here", todo=True))
    first = ending.aggregate(first=Min("shutdown_on"))["first"]
    if first is not None:
        facts.append(Fact(f"A model in use ends on {first:%Y-%m-%d}", todo=True))
    return facts


def _list(name: str) -> str:
    return reverse(f"admin:{name}_changelist")


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _named(departments: list[Department]) -> str:
    names = ", ".join(department.name for department in departments[:NAMED])
    more = len(departments) - NAMED
    return f"{names} and {more} more" if more > 0 else names
