"""The steps that make a department's project at OpenAI what it should be, each with a look and a deed.

Rules:
- `look` reads and gives the change that is needed, or None. `do` makes it. Nothing is remembered in between, so a step
  may be repeated after a crash at any moment: what was done is found, what was not is done.
- What may have been made by an interrupted attempt is looked for by its name before anything is made again.
- The fences (project_fences.py) stand before there is a key that could pass them.
- The same looks find drift (drift.py): a difference is a difference, whoever made it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from departments.keys.admin_api import AdminMissing, ServiceAccount
from departments.keys.models import KeyReference, ProviderProject
from departments.keys.project_fences import (
    do_alerts,
    do_models,
    do_rate_limits,
    do_retention,
    do_spend_limit,
    do_tools,
    dollars,
    look_alerts,
    look_models,
    look_rate_limits,
    look_retention,
    look_spend_limit,
    look_tools,
    readable,
    wanted_alerts,
    wanted_models,
    wanted_rate,
)
from departments.keys.project_key import has_current_key, install_key, is_rotating
from departments.keys.project_plan import Change, NameTaken, ProvisioningStopped
from departments.keys.project_work import Step, Work

ACCOUNT_NAME = "chatgrid"
CLOCKS_DIFFER = timedelta(minutes=5)


# -- the project itself


def look_project(work: Work) -> Change | None:
    if work.row.project_id:
        return None if _is_open(work) else _change(Step.PROJECT, "Make the project again", work.row.project_id, work)
    found = _left_behind(work)
    if found:
        return _change(Step.PROJECT, "Go on with the project of an interrupted attempt", found, work)
    return _change(Step.PROJECT, "Make the project", None, work)


def do_project(work: Work) -> None:
    row = work.row
    row.project_id = row.service_account_id = ""
    if row.asked_at is None or row.step:
        # from here on a project of our name may be ours
        row.asked_at, row.step = timezone.now(), ""
        work.keep("asked_at", "step", "project_id", "service_account_id")
    project_id = _left_behind(work) or work.api.create_project(row.name).id
    remember_project(row, project_id)
    work.said["project_id"] = project_id


def remember_project(row: ProviderProject, project_id: str) -> None:
    """Save the id. ProvisioningStopped where the project is another department's."""
    row.project_id = project_id
    try:
        with transaction.atomic():
            row.save(update_fields=["project_id", "changed_at"])
    except IntegrityError:
        row.project_id = ""
        raise ProvisioningStopped(f"{project_id} is the project of another department. Name a different one.") from None


def _is_open(work: Work) -> bool:
    try:
        return work.api.retrieve_project(work.row.project_id).active
    except AdminMissing:
        return False


def _left_behind(work: Work) -> str | None:
    """The id of a project that an interrupted attempt has made. NameTaken where somebody else's has our name."""
    found = work.api.find_projects(work.row.name)
    asked_at = work.row.asked_at
    ours = [project for project in found if asked_at and project.created_at >= asked_at - CLOCKS_DIFFER]
    if found and not ours:
        raise NameTaken(work.row.name, found[0].id)
    return ours[0].id if ours else None


def look_name(work: Work) -> Change | None:
    name = work.api.retrieve_project(work.project_id).name
    return None if name == work.row.name else Change(Step.NAME, "Rename the project", name, work.row.name)


def do_name(work: Work) -> None:
    work.api.rename_project(work.project_id, work.row.name)


# -- its service account


def look_account(work: Work) -> Change | None:
    account = _account(work)
    if account is None:
        return Change(Step.ACCOUNT, "Make a service account without rights elsewhere", None, ACCOUNT_NAME)
    if account.role == "none":
        return Change(Step.ACCOUNT, "Make the service account a member of the project", "none", "member")
    if account.id != work.row.service_account_id:
        return Change(Step.ACCOUNT, "Take note of the service account", work.row.service_account_id or None, account.id)
    return None


def do_account(work: Work) -> None:
    account = _account(work) or work.api.create_service_account(work.project_id, ACCOUNT_NAME)
    work.row.service_account_id = account.id
    work.keep("service_account_id")
    if account.role == "none":
        work.api.grant_role(work.project_id, account.id)
    work.said["service_account_id"] = account.id


def _account(work: Work) -> ServiceAccount | None:
    """Ours by id, else by the current key's (a rotation may have changed it), else by name (an interrupted attempt)."""
    accounts = {account.id: account for account in work.api.list_service_accounts(work.project_id)}
    reference = KeyReference.objects.filter(department=work.department).first()
    for known in (reference.service_account_id if reference else "", work.row.service_account_id):
        if known in accounts:
            return accounts[known]
    return next((account for account in accounts.values() if account.name == ACCOUNT_NAME), None)


# -- its key


def look_key(work: Work) -> Change | None:
    if is_rotating(work.department):
        return None  # the rotation has the key in hand
    if has_current_key(work.department, work.api.list_keys(work.project_id)):
        return None
    reference = KeyReference.objects.filter(department=work.department).first()
    before = f"key {reference.fingerprint}" if reference else None
    after = f"a key of this project for {work.row.key_days} days"
    return Change(Step.KEY, "Make a key and put it into the secret manager", before, after)


def do_key(work: Work) -> None:
    if not work.row.mint_token:
        work.row.mint_token = str(uuid.uuid4())
        work.keep("mint_token")
    reference = install_key(work.api, work.row, work.department)
    work.row.mint_token = ""
    work.keep("mint_token")
    work.said |= {"key_id": reference.key_id, "fingerprint": reference.fingerprint}


def _change(step: Step, sentence: str, before: str | None, work: Work) -> Change:
    return Change(step, sentence, before, work.row.name)


Look = Callable[[Work], Change | None]
Do = Callable[[Work], None]

STEPS: dict[Step, tuple[Look, Do]] = {
    Step.PROJECT: (look_project, do_project),
    Step.NAME: (look_name, do_name),
    Step.ACCOUNT: (look_account, do_account),
    Step.MODELS: (look_models, do_models),
    Step.TOOLS: (look_tools, do_tools),
    Step.SPEND_LIMIT: (look_spend_limit, do_spend_limit),
    Step.SPEND_ALERTS: (look_alerts, do_alerts),
    Step.RATE_LIMITS: (look_rate_limits, do_rate_limits),
    Step.RETENTION: (look_retention, do_retention),
    Step.KEY: (look_key, do_key),
}


def changes(work: Work) -> Iterator[Change]:
    """Every change that is needed, in order. Of a project that is still to be made there is nothing to read."""
    for step, (look, _) in STEPS.items():
        change = look(work)
        if change is not None:
            yield change
        if step is Step.PROJECT and change is not None:
            yield from _changes_of_new(work)
            return


def _changes_of_new(work: Work) -> Iterator[Change]:
    row = work.row
    yield Change(Step.ACCOUNT, "Make a service account without rights elsewhere", None, ACCOUNT_NAME)
    yield Change(Step.MODELS, "Allow these models only", "every model", wanted_models(row, work.department))
    yield Change(Step.TOOLS, "Switch OpenAI's hosted tools off", "all of them", [])
    if row.monthly_cents is not None:
        yield Change(Step.SPEND_LIMIT, "Set the monthly spend limit", None, dollars(row.monthly_cents))
    if alerts := wanted_alerts(row):
        yield Change(Step.SPEND_ALERTS, "Mail about spending at", None, readable(alerts))
    if any(figures := wanted_rate(row)):
        after = " / ".join(f"{figure:,}" for figure in figures if figure)
        yield Change(Step.RATE_LIMITS, "Set requests and tokens a minute", None, after)
    yield Change(Step.RETENTION, "Set how long OpenAI keeps what is sent", None, row.retention)
    yield Change(
        Step.KEY,
        "Make a key and put it into the secret manager",
        None,
        f"a key of this project for {row.key_days} days",
    )
