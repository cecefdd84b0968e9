"""Background work on whole departments, in the rotator's queue: it reads the admin key and writes secrets.

Pages may do neither, so a page asks for a plan, shows what the rotator has written into the project's row, and sends it
back by its moment: what is applied is what was shown, or nothing.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from departments.calls import query_policy
from departments.keys.models import ProviderProject
from departments.keys.project_plan import Change, PlanChanged, ProvisioningStopped
from departments.keys.provisioning import project_row
from departments.models import Department
from departments.provisioning import Plan, apply, plan

logger = logging.getLogger(__name__)


@shared_task(name="departments.tasks.plan_department")
def plan_department(department_id: str) -> None:
    """Write what `provision` would do now into the project's row, for the page."""
    department = _department(department_id)
    if department is None:
        return
    row = project_row(department)
    try:
        planned = plan(department)
    except ProvisioningStopped as error:
        planned = Plan(department, (), str(error))
    row.plan = [asdict(change) for change in planned.changes]
    row.plan_sentence, row.planned_at = planned.sentence[:400], timezone.now()
    row.save(update_fields=["plan", "plan_sentence", "planned_at"])


@shared_task(name="departments.tasks.make_pepper")
def make_pepper(department_id: str) -> None:
    """The key with which a department's questions are hashed: made here, because the web may only read it."""
    department = _department(department_id)
    if department is not None:
        query_policy.make_pepper(department)


@shared_task(name="departments.tasks.provision")
def provision(department_id: str, by: str | None = None, by_name: str = "", planned_at: str | None = None) -> None:
    """Make a department's project, key and store, or finish making them; with `planned_at` exactly what was shown.

    A stop is in the row and in the record.
    """
    department = _department(department_id)
    if department is None:
        return
    try:
        agreed = _agreed(department, planned_at) if planned_at else None
        done = apply(department, agreed, by=UUID(by) if by else None, by_name=by_name)
    except ProvisioningStopped as error:
        logger.warning("department %s is not complete: %s", department_id, error)
        ProviderProject.objects.filter(department=department, failure="").update(failure=str(error)[:400])
        return
    ProviderProject.objects.filter(department=department).update(plan=[], plan_sentence=done.sentence[:400])


def _department(department_id: str) -> Department | None:
    """None for one that was deleted while the task waited."""
    return Department.objects.select_related("organization").filter(pk=UUID(department_id)).first()


def _agreed(department: Department, planned_at: str) -> Plan:
    """The plan that was shown at that moment. PlanChanged where a newer one has been made since."""
    row = project_row(department)
    if row.planned_at != datetime.fromisoformat(planned_at):
        raise PlanChanged("A newer plan has been made since. Look at it, then apply it.")
    return Plan(department, tuple(Change(**change) for change in row.plan))
