"""A person asks for more than their budget, a department admin grants it with an amount and an end.

How a grant ends stands in grants.py.

Rules:
- One open request for a person and department. It is answered once: the second of two admins finds it answered.
- A grant is added to the person's own ceiling of that kind, in that department, from now to its end. The ceilings of
  the department and of the company hold as before, so nobody can grant what their department does not have.
- A grant cannot be for oneself: asking is there for everybody, admins included.
- Where a department has no other admin, IT is told, so that no request waits for nobody.
- Asked, granted and declined are events, written with the act or not at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit.events import Event
from audit.writer import Entry, record
from departments.access import Forbidden, NotFound
from departments.calls.grants import LONGEST_REASON, NotPossible, details_of
from departments.calls.meter import Meter, budgets_of
from departments.http import Person
from departments.limits.alerts import tell_people
from departments.limits.grant_models import Grant, MoreAsked
from departments.models import Department, Membership
from departments.roles import DepartmentRole, OrganizationRole

MOST_TIMES = 10  # an amount above so many times the ceiling is a slip of the finger
# with or without a comma after each third digit; as many as the database holds
TOKENS = re.compile(r"[0-9]{1,12}|[0-9]{1,3}(,[0-9]{3}){1,3}")
DOLLARS = re.compile(r"([0-9]{1,12}|[0-9]{1,3}(,[0-9]{3}){1,3})(\.[0-9]{1,4})?")
IT_CAN = "make somebody an admin of it, or raise the budget under Limits"
ENDS = {"today": "Tonight", "week": "In seven days", "month": "At the end of the month"}


@dataclass(frozen=True)
class Waiting:
    """A request as an admin sees it: with the person's budget as it stands now, and an amount to begin with."""

    asked: MoreAsked
    meter: Meter | None
    suggested: int | Decimal
    is_own: bool


def own_budget(person: Person, department: Department) -> Meter | None:
    """The person's own budget that is closest to being reached: of that one more can be asked for. None without one."""
    own = [meter for meter in budgets_of(person, department) if meter.is_own]
    return max(own, key=lambda meter: (meter.percent, meter.scope == "member"), default=None)


def open_request(person: Person, department: Department) -> MoreAsked | None:
    return MoreAsked.objects.filter(person_id=person.id, department=department, state=MoreAsked.State.OPEN).first()


def ask_for_more(person: Person, department: Department, reason: str, address: str = "") -> MoreAsked:
    """Raises NotPossible."""
    reason = reason.replace("\x00", "").strip()[:LONGEST_REASON]
    if not reason:
        raise NotPossible("Write what you need it for, so that your department admin can decide.")
    budget = own_budget(person, department)
    if budget is None:
        raise NotPossible("You have no budget of your own here: what you read is the ceiling of everybody together.")
    try:
        with transaction.atomic():
            asked = MoreAsked.objects.create(
                organization=department.organization,
                department=department,
                person_id=person.id,
                measure=budget.measure,
                period=budget.period,
                reason=reason,
            )
            details = {"measure": budget.measure, "period": budget.period, "reason": reason, "used": str(budget.used)}
            _record(Event.MORE_ASKED, department, person, asked, details | {"limit": str(budget.limit)}, address)
            _tell_who_decides(department, person, reason)
    except IntegrityError:
        raise NotPossible(f"You have asked already. {who_decides(person, department)} will see it.") from None
    return asked


def who_decides(person: Person, department: Department) -> str:
    """Who is told of this person's request: another admin of the department, or IT where there is none."""
    return "Your department admin" if _other_admins(department, person.id).exists() else "IT"


def waiting_in(department: Department, viewer: Person) -> list[Waiting]:
    """The open requests of a department, the oldest first."""
    found = _of_members(department).filter(state=MoreAsked.State.OPEN).select_related("person")
    return [_waiting(asked, department, viewer) for asked in found.order_by("asked_at")]


def grant(department: Department, asked_id: UUID, admin: Person, amount: str, end: str, address: str = "") -> Grant:
    """Raises NotFound, Forbidden (one's own) or NotPossible."""
    with transaction.atomic():
        asked = _claimed(department, asked_id, admin)
        meter = _budget_of(asked, department)
        ends_at = _end(department, end)
        made = Grant.objects.create(
            organization=department.organization,
            department=department,
            person=asked.person,
            measure=asked.measure,
            period=asked.period,
            amount=_amount(amount, asked, meter),
            starts_at=timezone.now(),
            ends_at=ends_at,
            granted_by=admin.id,
            granted_by_name=admin.name,
            reason=asked.reason,
        )
        _answer(asked, MoreAsked.State.GRANTED, admin, made)
        details = details_of(made) | {"reason": asked.reason, "before": str(meter.limit) if meter else ""}
        _record(Event.MORE_GRANTED, department, admin, asked, details, address)
    return made


def decline(department: Department, asked_id: UUID, admin: Person, address: str = "") -> None:
    """Raises NotFound, Forbidden (one's own) or NotPossible."""
    with transaction.atomic():
        asked = _claimed(department, asked_id, admin)
        _answer(asked, MoreAsked.State.DECLINED, admin, None)
        _record(Event.MORE_DECLINED, department, admin, asked, {"reason": asked.reason}, address)


def _waiting(asked: MoreAsked, department: Department, viewer: Person) -> Waiting:
    meter = _budget_of(asked, department)
    half = (meter.limit or 0) / 2 if meter else 0
    suggested = Decimal(half).quantize(Decimal("0.01")) if asked.measure == Grant.Measure.MONEY else int(half)
    return Waiting(asked, meter, suggested or 1, asked.person_id == viewer.id)


def _of_members(department: Department) -> QuerySet[MoreAsked]:
    """What the people of a department have asked; whoever has left it needs no more there."""
    here = Membership.objects.filter(department=department, user__is_active=True)
    return MoreAsked.objects.filter(department=department, person_id__in=here.values("user_id"))


def _budget_of(asked: MoreAsked, department: Department) -> Meter | None:
    kind = (asked.measure, asked.period)
    budgets = [meter for meter in budgets_of(asked.person, department) if meter.is_own]
    return next((meter for meter in budgets if (meter.measure, meter.period) == kind), None)


def _claimed(department: Department, asked_id: UUID, admin: Person) -> MoreAsked:
    """The request, locked, still open and not the admin's own."""
    found = _of_members(department).select_for_update(of=("self",)).select_related("person")
    asked = found.filter(pk=asked_id).first()
    if asked is None:
        raise NotFound("There is no such request.")
    if asked.person_id == admin.id:
        raise Forbidden("Somebody else has to decide about your own request: another admin of the department, or IT.")
    if asked.state != MoreAsked.State.OPEN:
        raise NotPossible(f"{asked.answered_by_name} has answered this request already.")
    return asked


def _amount(written: str, asked: MoreAsked, meter: Meter | None) -> Decimal:
    text = "".join(written.split())
    # 20.000 tokens or 12,50 dollars, as other countries write them, must not become 20 or 1250
    if asked.measure == Grant.Measure.MONEY and not DOLLARS.fullmatch(text):
        raise NotPossible("Write the amount in dollars, with a point before the cents, such as 12.50.")
    if asked.measure == Grant.Measure.TOKENS and not TOKENS.fullmatch(text):
        raise NotPossible("Write a whole number of tokens, such as 20000.")
    amount = Decimal(text.replace(",", ""))
    if amount <= 0:
        raise NotPossible("Write an amount above zero.")
    if meter is None:
        raise NotPossible("This budget is not theirs any more, so nothing can be added to it. Decline the request.")
    if meter.limit and amount > MOST_TIMES * Decimal(meter.limit):
        raise NotPossible(f"That is more than {MOST_TIMES} times the budget itself. IT can raise the budget.")
    return amount


def _end(department: Department, end: str) -> datetime:
    zone = ZoneInfo(department.organization.time_zone)
    today = timezone.now().astimezone(zone).date()
    days = {
        "today": today + timedelta(days=1),
        "week": today + timedelta(days=7),
        "month": (today.replace(day=28) + timedelta(days=4)).replace(day=1),
    }
    if end not in days:
        raise NotPossible("Choose when it ends.")
    return datetime.combine(days[end], time.min, zone)


def _answer(asked: MoreAsked, state: MoreAsked.State, admin: Person, made: Grant | None) -> None:
    asked.state, asked.answered_at, asked.answered_by_name, asked.grant = state, timezone.now(), admin.name, made
    asked.save(update_fields=["state", "answered_at", "answered_by_name", "grant"])


def _record(
    event: Event, department: Department, actor: Person, asked: MoreAsked, details: dict[str, str], address: str
) -> None:
    record(
        Entry(
            event=event,
            **department.in_record,
            actor_id=actor.id,
            actor_name=actor.name,
            client_address=address,
            subject_kind="person",
            subject_id=str(asked.person_id),
            details=details,
        )
    )


def _other_admins(department: Department, person_id: UUID) -> QuerySet[Membership]:
    admins = Membership.objects.filter(department=department, role=DepartmentRole.ADMIN, user__is_active=True)
    return admins.exclude(user_id=person_id)


def _tell_who_decides(department: Department, person: Person, reason: str) -> None:
    addresses = list(_other_admins(department, person.id).values_list("user__email", flat=True))
    then = f"Sign in to ChatGrid and open Budget in {department.name} to grant or decline it.\n"
    if not addresses:
        people = get_user_model().objects.filter(organization=department.organization, is_active=True)
        addresses = list(people.filter(role=OrganizationRole.IT).values_list("email", flat=True))
        then = f"{department.name} has no other admin who could grant it. In the console, {IT_CAN}.\n"
    body = f"{person.name} asks for more than their budget in {department.name}:\n\n    {reason}\n\n{then}"
    tell_people(department.organization, addresses, f"{person.name} asks for more in {department.name}", body)
