"""A department's project at OpenAI, from nothing to ready: planned, shown, applied, adopted.

Rules:
- `plan` reads and changes nothing; `apply` does the steps of project_steps.py in order, each only where it is needed.
  So applying again after a crash, or for no reason, ends in one project, one account and one live key.
- One process has a project in hand at a time: a conditional update claims it, and the claim lapses by itself.
- Each step that was done is an event in the record, with what was changed; so is a stop, with our sentence.
- An organization without an admin key, or a provider without an Admin API, is an answer and not an error.
- A department's store is made one layer up (departments/provisioning.py). Closing a project is archiving.py's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.events import Event
from audit.writer import Entry, record
from departments.keys.admin_api import (
    AdminApi,
    AdminApiError,
    AdminKeyMissing,
    AdminKeyRefused,
    AdminMissing,
    has_admin_api,
    open_admin_api,
    provider_of,
)
from departments.keys.models import AdminKeyReference, ProviderProject
from departments.keys.project_plan import (
    Busy,
    Change,
    NameTaken,
    NoAdminApi,
    PlanChanged,
    ProvisioningStopped,
)
from departments.keys.project_steps import STEPS, changes, remember_project
from departments.keys.project_work import Step, Work
from departments.keys.vaults import VaultError
from departments.models import Department
from departments.roles import OrganizationRole

__all__ = [
    "Busy",
    "Change",
    "NameTaken",
    "NoAdminApi",
    "PlanChanged",
    "ProvisioningStopped",
    "Unmanaged",
    "adopt",
    "apply",
    "in_hand",
    "plan",
    "project_row",
]

LEASE = timedelta(minutes=3)  # above the longest step: three attempts at 30 seconds and their waits
MOST_RECIPIENTS = 10
PROVIDER_UNKNOWN = (
    "There is no provider {} in CHATGRID_PROVIDERS. Set it up there, or choose another one on the department's page."
)

Unmanaged: TypeAlias = AdminKeyMissing | NoAdminApi

ORDER = list(Step)

logger = logging.getLogger(__name__)


def project_row(department: Department) -> ProviderProject:
    """The department's row, made with the defaults of settings where there is none."""
    row = ProviderProject.objects.filter(department=department).first() or _new_row(department)
    row.department = department  # the caller's, which may not be saved for good
    return row


def plan(department: Department, row: ProviderProject | None = None) -> list[Change] | Unmanaged:
    """What `apply` would do now; with `row`, an unsaved one, what it would do if that were saved.

    ProvisioningStopped where that cannot be told or cannot be done.
    """
    opened = open_api(department)
    if not isinstance(opened, AdminApi):
        return opened
    work = Work(opened, row or project_row(department), department)
    with opened, translated(work, "plan"):
        return list(changes(work))


def apply(
    department: Department, expected: Sequence[Change] | None = None, by: UUID | None = None, by_name: str = ""
) -> list[Change] | Unmanaged:
    """Make it so; the changes that were made. `expected` is the plan that somebody agreed to.

    Raises Busy, PlanChanged, ProvisioningStopped; calling again goes on from where it stopped.
    """
    opened = open_api(department)
    if not isinstance(opened, AdminApi):
        return opened
    with opened, in_hand(department) as row:
        work = Work(opened, row, department)
        if expected is not None:
            _require_same(list(expected), work)
        actor = {"actor_id": by, "actor_name": by_name}
        return [change for step in ORDER if (change := do_step(work, step, actor)) is not None]


def do_step(work: Work, step: Step, actor: dict[str, Any] | None = None) -> Change | None:
    """One step, where it is needed; the change that was made. The claim on the project is renewed with it."""
    look, do = STEPS[step]
    _renew(work.row)
    with translated(work, step):
        change = work.attempt = look(work)
        if change is not None:
            do(work)
        _note_done(work, step, change, actor or {})
    return change


def adopt(
    department: Department, project_id: str, by: UUID | None = None, by_name: str = ""
) -> list[Change] | Unmanaged:
    """Take over an existing project for this department; what would be changed in it. Nothing in it is changed yet."""
    opened = open_api(department)
    if not isinstance(opened, AdminApi):
        return opened
    with opened, in_hand(department) as row:
        work = Work(opened, row, department)
        with translated(work, "adopt"):
            _require_adoptable(work, project_id)
            row.service_account_id, row.step = "", ""
            with transaction.atomic():
                remember_project(row, project_id)
                row.save(update_fields=["service_account_id", "step"])
                actor = {"actor_id": by, "actor_name": by_name}
                record(project_entry(department, Event.PROJECT_ADOPTED, project_id, {}, actor))
            return list(changes(work))


# -- rows and claims


def _new_row(department: Department) -> ProviderProject:
    defaults = settings.PROJECT_DEFAULTS
    people = get_user_model().objects.filter(
        organization=department.organization, role=OrganizationRole.IT, is_active=True
    )
    row, _ = ProviderProject.objects.get_or_create(
        department=department,
        defaults={
            "name": project_name(department),
            "alert_recipients": list(people.order_by("email").values_list("email", flat=True)[:MOST_RECIPIENTS]),
            **defaults,
        },
    )
    return row


def project_name(department: Department) -> str:
    """Environment, organization, department. A slug may hold hyphens but no dot, so no two come to the same name."""
    return f"{settings.ENVIRONMENT}.{department.organization.slug}.{department.slug}"


@contextmanager
def in_hand(department: Department) -> Iterator[ProviderProject]:
    """The department's row, claimed. Busy where another process has it."""
    row = project_row(department)
    now = timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    if not ProviderProject.objects.filter(free, pk=row.pk).update(lease_until=now + LEASE):
        raise Busy(f"The project of {department} is being worked on. Try again in a minute.")
    row.refresh_from_db()
    try:
        yield row
    finally:
        ProviderProject.objects.filter(pk=row.pk).update(lease_until=None)


def _renew(row: ProviderProject) -> None:
    row.lease_until = timezone.now() + LEASE
    ProviderProject.objects.filter(pk=row.pk).update(lease_until=row.lease_until)


def open_api(department: Department) -> AdminApi | Unmanaged:
    """The Admin API of the department's organization, or the sentence why there is none.

    ProvisioningStopped where settings name the department's provider no longer.
    """
    try:
        provider = provider_of(department)
    except KeyError:
        raise ProvisioningStopped(PROVIDER_UNKNOWN.format(department.provider)) from None
    if not has_admin_api(provider):
        return NoAdminApi(department.name)
    return open_admin_api(department.organization, provider)


# -- looking and refusing


def _require_same(expected: list[Change], work: Work) -> None:
    with translated(work, "plan"):
        if list(changes(work)) != expected:
            raise PlanChanged("Something has changed since this plan was made. Look at the new plan, then apply it.")


def _require_adoptable(work: Work, project_id: str) -> None:
    if work.row.project_id and work.row.project_id != project_id:
        raise ProvisioningStopped(f"{work.department} has the project {work.row.project_id}. Archive it first.")
    try:
        project = work.api.retrieve_project(project_id)
    except AdminMissing:
        raise ProvisioningStopped(f"OpenAI has no project {project_id} in this organization.") from None
    if not project.active:
        raise ProvisioningStopped(f"{project_id} is archived, and that is final. Choose another one.")


# -- notes


@contextmanager
def translated(work: Work, step: str) -> Iterator[None]:
    """What the provider or the secret manager would not do becomes a stop with a sentence, noted and recorded."""
    stopped: ProvisioningStopped
    try:
        yield
        return
    except (AdminApiError, VaultError, ProvisioningStopped) as error:
        if isinstance(error, AdminKeyRefused):
            AdminKeyReference.objects.filter(organization=work.department.organization).update(
                state=AdminKeyReference.State.BROKEN
            )
        stopped = error if isinstance(error, ProvisioningStopped) else ProvisioningStopped(str(error))
    if step in STEPS:
        _note_stopped(work, step, str(stopped))
    raise stopped


def _note_stopped(work: Work, step: str, sentence: str) -> None:
    """Whether the attempted change happened all the same is not known: the next attempt finds out."""
    logger.warning("the project of department %s stopped at %s: %s", work.department.pk, step, sentence)
    with transaction.atomic():
        work.row.state, work.row.failure = ProviderProject.State.FAILED, f"{step}: {sentence}"[:400]
        work.row.save(update_fields=["state", "failure", "changed_at"])
        attempted = asdict(work.attempt) if work.attempt else None
        details = {"step": step, "sentence": sentence, "attempted": attempted}
        record(project_entry(work.department, Event.PROJECT_STOPPED, work.row.project_id, details))


def _note_done(work: Work, step: Step, change: Change | None, actor: dict[str, Any]) -> None:
    """Progress in the row. An event for a change, for a step that is reached for the first time, and for the end."""
    row, was_ready = work.row, work.row.state == ProviderProject.State.READY
    is_ready = was_ready or step is ORDER[-1]
    is_progress = not was_ready and (not row.step or ORDER.index(step) > ORDER.index(Step(row.step)))
    with transaction.atomic():
        row.step, row.failure = step if is_progress else row.step, ""
        row.state = ProviderProject.State.READY if is_ready else ProviderProject.State.WORKING
        row.save(update_fields=["step", "failure", "state", "changed_at"])
        if change is not None or is_progress:
            details = asdict(change) if change else {"step": step, "sentence": "Was as wanted already"}
            record(project_entry(work.department, Event.PROJECT_STEP_DONE, row.project_id, details | work.said, actor))
        if is_ready and not was_ready:
            record(project_entry(work.department, Event.PROJECT_READY, row.project_id, {"name": row.name}, actor))
    work.said = {}


def project_entry(
    department: Department, event: Event, project_id: str, details: dict[str, Any], actor: dict[str, Any] | None = None
) -> Entry:
    """An event about a department's project."""
    return Entry(
        event=event,
        **department.in_record,
        subject_kind="project",
        subject_id=project_id,
        details=details,
        **(actor or {}),
    )
