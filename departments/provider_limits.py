"""The ceilings of a department, carried over to its project at OpenAI: spend limit, requests per minute, models.

Rules:
- A ceiling in money per month becomes the project's hard spend limit, requests per minute its rate for each model; of
  the department's and the company's the lower one. A part of a cent is a whole one there: ours is the exact ceiling,
  and half a cent must not become nothing. What no limit says stays as IT set it on the project's page.
- A changed limit changes what is wanted of the project at once, in the same transaction. OpenAI is not asked by
  whoever changes it: the rotator makes a new plan, IT sees and applies it, and until then the check finds a difference.
- The list of models is the department's own model and that of the embeddings, which provisioning knows already.
- A raised budget ends a pause that the provider's spend limit began.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.signals import post_delete, post_save
from kombu.exceptions import OperationalError

from departments.keys.models import ProviderProject
from departments.limits.models import Limit, ProviderPause
from departments.models import Department

MOST_CENTS = 2**31 - 1

logger = logging.getLogger(__name__)


def bounds_of(department: Department) -> dict[str, int]:
    """What limits say of a department's project, by field of ProviderProject; nothing where they are silent."""
    rows = Limit.objects.filter(organization_id=department.organization_id, person=None)
    mine = [row for row in rows.filter(model="") if row.department_id in (None, department.pk)]
    of_model = [row for row in rows.filter(model=department.model) if row.department_id in (None, department.pk)]
    cents = [math.ceil(row.money_per_month * 100) for row in mine if row.money_per_month is not None]
    rates = [row.requests_per_minute for row in (*mine, *of_model) if row.requests_per_minute is not None]
    bounds: dict[str, int] = {}
    if cents:
        bounds["monthly_cents"] = min(MOST_CENTS, *cents)
    if rates:
        bounds["requests_per_minute"] = min(rates)
    return bounds


def follow(department: Department) -> bool:
    """Make the project's row say what the limits say; whether anything changed."""
    row = ProviderProject.objects.filter(department=department).exclude(state=ProviderProject.State.ARCHIVED).first()
    if row is None:
        return False
    changed = {name: value for name, value in bounds_of(department).items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    if changed:
        row.save(update_fields=list(changed))
    return bool(changed)


def connect() -> None:
    """From now on every saved or deleted limit is followed."""
    post_save.connect(_limit_changed, sender=Limit, dispatch_uid="provider limits")
    post_delete.connect(_limit_changed, sender=Limit, dispatch_uid="provider limits")


def _limit_changed(instance: Limit, **_: Any) -> None:
    if instance.person_id is not None:
        return  # a person has no project
    departments = Department.objects.filter(organization_id=instance.organization_id, is_active=True)
    if instance.department_id is not None:
        departments = departments.filter(pk=instance.department_id)
    ProviderPause.objects.filter(department__in=departments).delete()
    changed = [department.pk for department in departments if follow(department)]
    transaction.on_commit(lambda: _plan(changed))


def _plan(departments: Iterable[UUID]) -> None:
    from departments.tasks import plan_department  # the tasks' layer is above whatever begins them

    for each in departments:
        try:
            plan_department.delay(str(each))
        except OperationalError:
            logger.warning("no plan yet for department %s, the broker is away; the hourly check will find it", each)
