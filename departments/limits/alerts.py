"""Whoever should know that a budget nears its end is told: by e-mail and by webhook, once for each share and period.

Rules:
- Shares are `PERCENTS` of a ceiling. The last tokens of a budget are too few for an answer and stay, so 100 % is also
  reached when a call was refused for want of the rest.
- A budget of nothing has no shares: whoever set it knows that nothing is sent.
- A share is told again in the same period where the ceiling was raised so far that less than the share was used of it,
  and then it is reached after all.
- A person's own budget is told to the person; a department's to its admins and to IT; the company's to IT. Targets
  that IT has set up get them as well: those of a department what is its own, the others everything.
- An alert, its event and its messages are one transaction; the messages are sent by a task, which tries again with
  longer and longer pauses, and gives up after `MOST_ATTEMPTS`.
- Where a webhook's server or the mail server gives no answer, the other messages for it wait for a while without an
  attempt: one server that is away holds up nobody else's.
- A webhook is signed (Standard Webhooks: HMAC-SHA256 over id, time and body) and goes to the open internet only
  (departments/outgoing.py).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from smtplib import SMTPConnectError, SMTPException, SMTPServerDisconnected
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.core.mail import EmailMessage
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from audit.events import Event
from audit.writer import Entry, record
from departments.limits.alert_models import Alert, AlertTarget, Notice
from departments.limits.budget import dollars
from departments.models import Department, Membership, Organization
from departments.outgoing import NoAnswer, NotReachable, post
from departments.roles import DepartmentRole, OrganizationRole

PERCENTS = (50, 80, 100)
MOST_ATTEMPTS = 8
FIRST_PAUSE = timedelta(seconds=30)  # doubled with each attempt: the last comes after about an hour
AT_ONCE = 50
SILENCE = (NoAnswer, TimeoutError, ConnectionError, SMTPConnectError, SMTPServerDisconnected)

_REACHED = "SELECT * FROM limits_reached(%s, %s, %s)"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reached:
    """A budget of which at least the smallest share is used."""

    scope: str
    scope_id: UUID
    department_id: UUID | None
    person_id: UUID | None
    measure: str
    period: str
    ceiling: Decimal
    used: Decimal
    refused: bool

    @property
    def percents(self) -> list[int]:
        """The shares that are reached."""
        return [each for each in PERCENTS if self.used * 100 >= self.ceiling * each or (each == 100 and self.refused)]


def raise_alerts() -> int:
    """Look at every organization's budgets, and raise what has not been raised; how many that were."""
    return sum(raise_alerts_of(organization) for organization in Organization.objects.all())


def raise_alerts_of(organization: Organization) -> int:
    today = timezone.now().astimezone(ZoneInfo(organization.time_zone)).date()
    with connection.cursor() as cursor:
        cursor.execute(_REACHED, [organization.pk, today, min(PERCENTS)])
        reached = [each for row in cursor.fetchall() if (each := Reached(*row)).ceiling]
    return sum(_raise(organization, each, percent, today) for each in reached for percent in each.percents)


def tell_people(organization: Organization, addresses: Sequence[str], subject: str, body: str) -> None:
    """Mail to each of these, in the caller's transaction: it is sent soon after."""
    now = timezone.now()
    mail = AlertTarget.Kind.EMAIL
    Notice.objects.bulk_create(
        Notice(organization=organization, kind=mail, address=each, subject=subject[:200], body=body, next_at=now)
        for each in dict.fromkeys(addresses)
    )


def send_due() -> int:
    """Send what waits; how many messages arrived."""
    due = Notice.objects.filter(sent_at=None, next_at__lte=timezone.now()).order_by("next_at")
    return sum(_send(each) for each in list(due.values_list("pk", flat=True)[:AT_ONCE]))


def secret_of(target: AlertTarget) -> str:
    """The secret by which a receiver checks a webhook's signature; shown to IT, stored nowhere."""
    purpose = "departments.limits.alerts.webhook"
    digest = salted_hmac(purpose, f"{target.pk}:{target.secret_epoch}", algorithm="sha256").digest()
    return "whsec_" + base64.b64encode(digest).decode()


def signature(target: AlertTarget, message_id: str, sent: int, body: bytes) -> str:
    """The value of the webhook-signature field: `v1,` and the base64 of the HMAC."""
    key = base64.b64decode(secret_of(target).removeprefix("whsec_"))
    signed = hmac.new(key, f"{message_id}.{sent}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode()


# -- raising


def _raise(organization: Organization, reached: Reached, percent: int, today: date) -> bool:
    """Whether this one is new."""
    budget = {
        "scope": reached.scope,
        "scope_id": reached.scope_id,
        "measure": reached.measure,
        "period": reached.period,
        "begins": today if reached.period == "day" else today.replace(day=1),
    }
    with transaction.atomic():
        if not _is_news(reached, percent, list(Alert.objects.filter(**budget))):
            return False
        alert, is_new = Alert.objects.get_or_create(
            **budget,
            percent=percent,
            ceiling=reached.ceiling,
            defaults={
                "organization": organization,
                "department_id": reached.department_id,
                "person_id": reached.person_id,
                "used": reached.used,
            },
        )
        if is_new:
            department = Department.objects.filter(id__in=[reached.department_id]).first()
            record(_entry(alert, organization, department))
            _write_messages(alert, organization, department)
    return is_new


def _is_news(reached: Reached, percent: int, told: Sequence[Alert]) -> bool:
    """Whether the period has no alert of this share (`told` are all of them), or a raised ceiling has taken it back."""
    same = [each for each in told if each.percent == percent]
    if not same:
        return True
    before = [each for each in told if each.ceiling < reached.ceiling]
    return set(same) <= set(before) and max(each.used for each in before) * 100 < reached.ceiling * percent


def _write_messages(alert: Alert, organization: Organization, department: Department | None) -> None:
    subject, body = _words(alert, organization, department)
    tell_people(organization, list(_addresses(alert, organization)), subject, body)
    targets = AlertTarget.objects.filter(organization=organization, is_active=True)
    for target in targets.filter(Q(department=None) | Q(department_id=alert.department_id)):
        is_mail = target.kind == AlertTarget.Kind.EMAIL
        Notice.objects.create(
            organization=organization,
            target=target,
            kind=target.kind,
            address=target.address,
            subject=subject,
            body=body if is_mail else json.dumps(_message(alert, organization, department, subject)),
            next_at=timezone.now(),
        )


def _addresses(alert: Alert, organization: Organization) -> Iterable[str]:
    people = get_user_model().objects.filter(organization=organization, is_active=True)
    if alert.person_id:
        return people.filter(pk=alert.person_id).values_list("email", flat=True)
    found = list(people.filter(role=OrganizationRole.IT).values_list("email", flat=True))
    if alert.department_id:
        admins = Membership.objects.filter(department_id=alert.department_id, role=DepartmentRole.ADMIN)
        found += admins.filter(user__is_active=True).values_list("user__email", flat=True)
    return found


def _words(alert: Alert, organization: Organization, department: Department | None) -> tuple[str, str]:
    place = department.name if department else "the company"
    whose = f"Your budget in {place}" if alert.person_id else f"The budget of {place}"
    when = "today" if alert.period == "day" else "this month"
    state = "is used up" if alert.percent == 100 else f"is {alert.percent} % used"
    figures = f"{_figure(alert, alert.used)} of {_figure(alert, alert.ceiling)}"
    then = "Calls are refused until it resets" if alert.percent == 100 else "When it is used up, calls are refused"
    ask = "You can ask your department admin for more, on the page Budget." if alert.person_id else ""
    body = f"{whose} for {when} {state}: {figures}.\n{then}. {ask}".rstrip() + f"\n\nChatGrid of {organization.name}\n"
    return f"{whose} for {when} {state}", body


def _figure(alert: Alert, value: Decimal) -> str:
    return dollars(value) if alert.measure == "money" else f"{int(value):,} tokens"


def _message(alert: Alert, organization: Organization, department: Department | None, subject: str) -> dict[str, Any]:
    """What a webhook tells. Ids and figures; a person is an id."""
    return {
        "type": "limit.alert",
        "timestamp": alert.raised_at.isoformat(),
        "data": {
            "text": subject,
            "organization": organization.slug,
            "department": department.slug if department else None,
            "person_id": str(alert.person_id) if alert.person_id else None,
            "scope": alert.scope,
            "measure": alert.measure,
            "period": alert.period,
            "period_begins": alert.begins.isoformat(),
            "percent": alert.percent,
            "used": float(alert.used),
            "limit": float(alert.ceiling),
        },
    }


def _entry(alert: Alert, organization: Organization, department: Department | None) -> Entry:
    return Entry(
        event=Event.LIMIT_ALERTED,
        organization_id=organization.pk,
        organization_name=organization.name,
        department_id=alert.department_id,
        department_name=department.name if department else "",
        subject_kind=alert.scope,
        subject_id=str(alert.person_id or alert.department_id or organization.pk),
        details={
            "percent": alert.percent,
            "measure": alert.measure,
            "period": alert.period,
            "used": str(alert.used),
            "limit": str(alert.ceiling),
        },
    )


# -- sending


def _send(notice_id: UUID) -> bool:
    """One attempt, claimed before it is made: a process that dies in it has used it up, and another one follows."""
    notice = _claim(notice_id)
    if notice is None:
        return False
    try:
        _deliver(notice)
    except (NotReachable, SMTPException, OSError, ValueError) as error:  # a ValueError: what no mail can carry
        problem = str(error) if isinstance(error, NotReachable) else type(error).__name__
        _note_failure(notice, problem)
        if isinstance(error, SILENCE):
            _put_off(notice)
        return False
    Notice.objects.filter(pk=notice.pk).update(sent_at=timezone.now(), next_at=None, problem="")
    return True


def _claim(notice_id: UUID) -> Notice | None:
    with transaction.atomic():
        due = Notice.objects.select_for_update(skip_locked=True, of=("self",)).select_related("target")
        notice = due.filter(pk=notice_id, sent_at=None, next_at__lte=timezone.now()).first()
        if notice is None:
            return None
        notice.attempts += 1
        notice.next_at = _next_attempt(notice.attempts)
        notice.save(update_fields=["attempts", "next_at"])
    return notice


def _next_attempt(attempts: int) -> datetime | None:
    """None after the last one."""
    return None if attempts >= MOST_ATTEMPTS else timezone.now() + FIRST_PAUSE * 2 ** (attempts - 1)


def _deliver(notice: Notice) -> None:
    if notice.kind == AlertTarget.Kind.EMAIL:
        # a name may hold the end of a line, and a subject must not: it would be a header of its own
        EmailMessage(" ".join(notice.subject.split()), notice.body, to=[notice.address]).send()
        return
    target = notice.target
    if target is None or not target.is_active:
        raise NotReachable("The target was switched off.")
    body, sent = notice.body.encode(), int(timezone.now().timestamp())
    fields = {
        "Content-Type": "application/json",
        "User-Agent": "ChatGrid",
        "webhook-id": str(notice.pk),
        "webhook-timestamp": str(sent),
        "webhook-signature": signature(target, str(notice.pk), sent, body),
    }
    status = post(notice.address, body, fields)
    if not 200 <= status < 300:
        raise NotReachable(f"The server answered {status}.")


def _put_off(silent: Notice) -> None:
    """What else is due at the same server waits until it may be there again."""
    is_mail = silent.kind == AlertTarget.Kind.EMAIL
    same = Q(kind=silent.kind) if is_mail else Q(target=silent.target_id)
    now = timezone.now()
    Notice.objects.filter(same, sent_at=None, next_at__lte=now).update(next_at=now + FIRST_PAUSE)


def _note_failure(notice: Notice, problem: str) -> None:
    logger.warning("message %s was not delivered (attempt %d): %s", notice.pk, notice.attempts, problem)
    if notice.next_at is None:
        logger.error("message %s is given up: look at its target in the console, under Alert targets", notice.pk)
    Notice.objects.filter(pk=notice.pk).update(problem=problem[:200])
