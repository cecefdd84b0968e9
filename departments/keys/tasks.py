"""The rotator: the one worker that writes secrets and reads admin keys; queue and, in production, role are its own."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from departments.keys import archiving, drift, provisioning, rotation, triggers, usage_check
from departments.keys.models import ProviderProject
from departments.keys.project_plan import ProvisioningStopped
from departments.models import Department

SOON = 60.0  # seconds; what waits longer is found by the tick


@shared_task(name="departments.keys.tasks.advance_rotation")
def advance_rotation(rotation_id: str) -> None:
    """Take a rotation's next steps, and come back when it has to wait for a moment only."""
    wait = rotation.advance(UUID(rotation_id))
    if wait is not None and wait < SOON:
        advance_rotation.apply_async((rotation_id,), countdown=max(1.0, wait))


@shared_task(name="departments.keys.tasks.tick_rotations")
def tick_rotations() -> None:
    """Start what is due by the clock or because somebody left, and go on with what waits."""
    triggers.run_all()
    for rotation_id in rotation.tick():
        advance_rotation.delay(str(rotation_id))


@shared_task(name="departments.keys.tasks.check_projects")
def check_projects() -> None:
    """Compare every project at the provider with what is wanted, and file what differs."""
    drift.check_all()


@shared_task(name="departments.keys.tasks.check_new_projects")
def check_new_projects() -> None:
    """The same for those that were never compared."""
    drift.check_new()


@shared_task(name="departments.keys.tasks.repair_finding")
def repair_finding(finding_id: str, by: str | None = None, by_name: str = "") -> None:
    """Put one finding right. Where that does not work, the finding says why."""
    drift.repair_by_id(UUID(finding_id), UUID(by) if by else None, by_name)


@shared_task(name="departments.keys.tasks.adopt_project")
def adopt_project(department_id: str, project_id: str, by: str | None = None, by_name: str = "") -> None:
    """Take over an existing project; what applying would change in it then stands on the page."""
    department = Department.objects.select_related("organization").filter(pk=UUID(department_id)).first()
    if department is None:
        return
    try:
        answer = provisioning.adopt(department, project_id, UUID(by) if by else None, by_name)
        changes, sentence = (answer, "") if isinstance(answer, list) else ([], answer.sentence)
    except ProvisioningStopped as error:
        changes, sentence = [], str(error)
    _show(department, [asdict(change) for change in changes], sentence)


@shared_task(name="departments.keys.tasks.archive_project")
def archive_project(department_id: str, by: str | None = None, by_name: str = "") -> None:
    """Close a department's project for ever. The receipt is in the record; a stop is on the page."""
    department = Department.objects.select_related("organization").filter(pk=UUID(department_id)).first()
    if department is None:
        return
    try:
        sentence = archiving.archive(department, UUID(by) if by else None, by_name).sentence
    except ProvisioningStopped as error:
        sentence = str(error)
    _show(department, [], sentence)


def _show(department: Department, changes: list[dict[str, Any]], sentence: str) -> None:
    """What the rotator answers, for the page of the project."""
    ProviderProject.objects.filter(department=department).update(
        plan=changes, plan_sentence=sentence[:400], planned_at=timezone.now()
    )


@shared_task(name="departments.keys.tasks.compare_usage")
def compare_usage() -> None:
    """Compare what the provider counted with what the record holds; what nobody logged is a leaked key."""
    usage_check.check_all()
