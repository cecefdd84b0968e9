"""Every hour: is OpenAI as we want it? What differs is a finding, with what was wanted, what is there, and a repair.

Rules:
- The looks of provisioning decide (project_steps.py), so a finding and the plan to repair it can never disagree.
- One open finding for a department and kind. Found again, it is only seen again; no longer there, it closes itself.
- A repair does that one step and what it stands on, and the person who pressed the button is in the record.
- A key we did not make is the one thing that is deleted: exactly those that the finding names, still strangers now
  (own_keys.py). The key that readers get, one that may be it, and a rotation's keys are never deleted here.
- What cannot be asked (no admin key, OpenAI away) opens nothing and closes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit.events import Event
from audit.writer import Entry, record
from departments.keys.admin_api import AdminApi, AdminApiError, has_admin_api_for
from departments.keys.models import Finding, KeyReference, ProviderProject
from departments.keys.own_keys import Sorted, learn_id, sort_keys
from departments.keys.project_key import is_rotating
from departments.keys.project_plan import Change, ProvisioningStopped
from departments.keys.project_steps import STEPS
from departments.keys.project_work import Step, Work
from departments.keys.provisioning import Unmanaged, do_step, in_hand, open_api, project_row, translated
from departments.keys.vaults import VaultError
from departments.models import Department

ENDS_SOON = timedelta(days=14)

logger = logging.getLogger(__name__)

KINDS: dict[Step, Finding.Kind] = {
    Step.PROJECT: Finding.Kind.PROJECT_GONE,
    Step.NAME: Finding.Kind.PROJECT_RENAMED,
    Step.ACCOUNT: Finding.Kind.ACCOUNT_GONE,
    Step.MODELS: Finding.Kind.MODELS,
    Step.TOOLS: Finding.Kind.TOOLS,
    Step.SPEND_LIMIT: Finding.Kind.SPEND_LIMIT,
    Step.SPEND_ALERTS: Finding.Kind.SPEND_ALERTS,
    Step.RATE_LIMITS: Finding.Kind.RATE_LIMITS,
    Step.RETENTION: Finding.Kind.RETENTION,
    Step.KEY: Finding.Kind.KEY_GONE,
}
# what a look at the project can find, and so can find gone; the others are the usage's (usage_findings.py)
SEEN_HERE = {*KINDS.values(), Finding.Kind.KEY_UNKNOWN, Finding.Kind.KEY_EXPIRING}
STEP_OF = {kind: step for step, kind in KINDS.items()}
# what has to be right before a step can be: a new project has nothing of the old one, a key needs its account
NEEDED: dict[Step, tuple[Step, ...]] = {Step.PROJECT: tuple(Step), Step.KEY: (Step.ACCOUNT, Step.KEY)}


@dataclass(frozen=True)
class Difference:
    """One finding before it is filed. `evidence` holds ids, names and figures; never a key."""

    kind: Finding.Kind
    sentence: str
    evidence: dict[str, Any]


def check_all() -> int:
    """Every project that was made ready; how many findings are open after it. Departments without a row get one."""
    for department in Department.objects.filter(is_active=True, project=None).select_related("organization"):
        if has_admin_api_for(department):
            project_row(department)
    _check_each(ProviderProject.objects.all())
    return Finding.objects.filter(closed_at=None).count()


def check_new() -> None:
    """Projects that were made ready and never compared: nobody waits for the hour to know that a new one is right."""
    _check_each(ProviderProject.objects.filter(checked_at=None))


def _check_each(rows: QuerySet[ProviderProject]) -> None:
    for row in rows.filter(state=ProviderProject.State.READY).select_related("department__organization"):
        try:
            check(row.department)
        except (ProvisioningStopped, VaultError) as error:
            logger.warning("the project of department %s could not be checked: %s", row.department_id, error)


def check(department: Department) -> list[Finding] | Unmanaged:
    """Compare now; the department's open findings. ProvisioningStopped where OpenAI could not be asked."""
    opened = open_api(department)
    if not isinstance(opened, AdminApi):
        return opened
    with opened, in_hand(department) as row:
        work = Work(opened, row, department)
        with translated(work, "check"):
            learn_id(opened, department)
            found = list(_differences(work))
            _note_use(work)
    return _file(department, found)


def repair(finding: Finding, by: UUID | None = None, by_name: str = "") -> Finding | Unmanaged:
    """Put right what the finding is about, and close it. ProvisioningStopped where that does not work."""
    department = finding.department
    opened = open_api(department)
    if not isinstance(opened, AdminApi):
        return opened
    actor = {"actor_id": by, "actor_name": by_name}
    with opened, in_hand(department) as row:
        _put_right(Work(opened, row, department), finding, actor)
    _close(finding, "repaired", Event.DRIFT_REPAIRED, actor)
    return finding


def repair_by_id(finding_id: UUID, by: UUID | None = None, by_name: str = "") -> None:
    """As `repair`, for a task: a finding that is gone or closed is done, and a failure is noted in the finding."""
    finding = Finding.objects.select_related("department__organization").filter(pk=finding_id, closed_at=None).first()
    if finding is None:
        return
    try:
        answer = repair(finding, by, by_name)
        problem = "" if isinstance(answer, Finding) else answer.sentence
    except (ProvisioningStopped, VaultError) as error:
        problem = str(error)
    Finding.objects.filter(pk=finding_id).update(problem=problem[:400])


def _differences(work: Work) -> Iterator[Difference]:
    """Of a project that is gone nothing else can be asked."""
    for step, (look, _) in STEPS.items():
        change = look(work)
        if change is not None:
            yield _difference(step, change)
        if change is not None and step is Step.PROJECT:
            return
    yield from _about_keys(work)


def _difference(step: Step, change: Change) -> Difference:
    kind = KINDS[step]
    return Difference(kind, f"{kind.label}.", {"found": change.before, "wanted": change.after})


def _about_keys(work: Work) -> Iterator[Difference]:
    if not is_rotating(work.department):  # a rotation has two keys, and both are its own
        yield from _about_strangers(_sorted_keys(work))
    reference = KeyReference.objects.filter(department=work.department).first()
    if reference and reference.expires_at and reference.expires_at < timezone.now() + ENDS_SOON:
        ends = reference.expires_at.isoformat()
        yield Difference(Finding.Kind.KEY_EXPIRING, f"The key ends on {ends[:10]}.", {"expires_at": ends})


def _about_strangers(keys: Sorted) -> Iterator[Difference]:
    """A single key that may be ours is taken for it; of several, one at least is somebody else's."""
    unclear = keys.unclear if len(keys.unclear) > 1 else ()
    shown = [
        {"id": key.id, "name": key.name, "made": key.created_at.isoformat()} for key in (*keys.strangers, *unclear)
    ]
    if unclear:
        sentence = f"Of {len(unclear)} keys in this project OpenAI's list does not tell which is the department's."
    else:
        count = "is a key" if len(shown) == 1 else f"are {len(shown)} keys"
        sentence = f"There {count} in this project that ChatGrid did not make."
    if shown:
        yield Difference(Finding.Kind.KEY_UNKNOWN, sentence, {"keys": shown})


def _sorted_keys(work: Work) -> Sorted:
    return sort_keys(work.department, work.api.list_keys(work.project_id))


def _note_use(work: Work) -> None:
    """When the provider last saw our key used, for the pages, which may not ask it themselves."""
    reference = KeyReference.objects.filter(department=work.department).exclude(key_id="").first()
    if reference is None or not work.row.project_id:
        return
    used = [key.last_used_at for key in work.api.list_keys(work.row.project_id) if key.id == reference.key_id]
    if used:
        KeyReference.objects.filter(pk=reference.pk, key_id=reference.key_id).update(used_at_provider=used[0])


# -- filing


def _file(department: Department, found: list[Difference]) -> list[Finding]:
    """Open what is new, see again what stays, close what is gone."""
    now = timezone.now()
    ProviderProject.objects.filter(department=department).update(checked_at=now)
    for difference in found:
        seen = Finding.objects.filter(department=department, kind=difference.kind, closed_at=None).update(
            seen_at=now, sentence=difference.sentence, evidence=difference.evidence
        )
        if not seen:
            _open_finding(department, difference)
    gone = SEEN_HERE - {difference.kind for difference in found}
    for finding in Finding.objects.filter(department=department, closed_at=None, kind__in=gone):
        _close(finding, "vanished", Event.DRIFT_VANISHED, {})
    return list(Finding.objects.filter(department=department, closed_at=None).select_related("department"))


def _open_finding(department: Department, difference: Difference) -> None:
    try:
        with transaction.atomic():
            finding = Finding.objects.create(
                department=department,
                kind=difference.kind,
                sentence=difference.sentence,
                evidence=difference.evidence,
                seen_at=timezone.now(),
            )
            record(_entry(finding, Event.DRIFT_FOUND, {}))
    except IntegrityError:
        pass  # another check has filed it in the same moment


def _close(finding: Finding, how: str, event: Event, actor: dict[str, Any]) -> None:
    """By conditional update: of two that close it, one writes the event."""
    finding.closed_at, finding.closed_how = timezone.now(), how
    with transaction.atomic():
        closed = Finding.objects.filter(pk=finding.pk, closed_at=None).update(
            closed_at=finding.closed_at, closed_how=how
        )
        if closed:
            record(_entry(finding, event, actor))


def _entry(finding: Finding, event: Event, actor: dict[str, Any]) -> Entry:
    department = finding.department
    return Entry(
        event=event,
        **department.in_record,
        subject_kind="finding",
        subject_id=str(finding.pk),
        details={"kind": finding.kind, "sentence": finding.sentence, "evidence": finding.evidence},
        **actor,
    )


# -- repairing


def _put_right(work: Work, finding: Finding, actor: dict[str, Any]) -> None:
    if finding.kind in {Finding.Kind.KEY_UNKNOWN, Finding.Kind.FOREIGN_USE}:
        with translated(work, "repair"):
            _delete_unknown(work, {key["id"] for key in finding.evidence["keys"]})
    elif finding.kind == Finding.Kind.DELETED_KEY_USED:
        with translated(work, "repair"):
            _delete_again(work, [key["id"] for key in finding.evidence["keys"]])
    elif finding.kind == Finding.Kind.LEAKED_KEY:
        raise ProvisioningStopped("Rotate the key: that ends every use of it.")
    elif finding.kind == Finding.Kind.KEY_EXPIRING:
        raise ProvisioningStopped("Rotate the key: the new one lives as long as planned.")
    elif finding.kind != Finding.Kind.FOREIGN_ACT:  # somebody has looked at that: what it changed has its own findings
        step = STEP_OF[Finding.Kind(finding.kind)]
        for needed in NEEDED.get(step, (step,)):
            do_step(work, needed, actor)


def _delete_unknown(work: Work, named: set[str]) -> None:
    """Only what the finding showed to the person who pressed the button, and only what is still a stranger's."""
    keys = _sorted_keys(work)
    for key in keys.strangers:
        if key.id in named:
            _delete_stranger(work, key.id)
    _require_not_in_use(keys, named)
    if named & {key.id for key in keys.unclear}:
        raise ProvisioningStopped(
            "Nothing was deleted that may be the key in use: OpenAI's list shows too little of these keys. Rotate the "
            "department's key, then ChatGrid knows its own by its id."
        )


def _delete_stranger(work: Work, key_id: str) -> None:
    if is_rotating(work.department):
        raise ProvisioningStopped(
            "A rotation of this key is under way, and its keys are its own. Repair after its end."
        )
    try:
        work.api.delete_key(work.project_id, key_id)
    except AdminApiError as error:
        raise ProvisioningStopped(f"{error} Delete the key {key_id} at OpenAI yourself.") from None


def _delete_again(work: Work, named: list[str]) -> None:
    """Keys that a rotation had deleted; one that is gone is no error."""
    _require_not_in_use(_sorted_keys(work), set(named))
    for key_id in named:
        work.api.delete_key(work.project_id, key_id)


def _require_not_in_use(keys: Sorted, named: set[str]) -> None:
    if keys.ours is not None and keys.ours.id in named:
        raise ProvisioningStopped(
            f"The key {keys.ours.id} is the one this department uses, so it was not deleted. Rotate it instead."
        )
