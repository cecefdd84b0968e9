"""The steps that make a department's project at OpenAI what it should be, each with a look and a deed.

Rules:
- `look` reads and gives the change that is needed, or None. `do` makes it. Nothing is remembered in between, so a step
  may be repeated after a crash at any moment: what was done is found, what was not is done.
- What may have been made by an interrupted attempt is looked for by its name before anything is made again.
- The fences (models, tools, spend, rates, retention) stand before there is a key that could pass them.
- The same looks find drift (drift.py): a difference is a difference, whoever made it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from departments.keys.admin_api import AdminApi, AdminMissing, AdminRejected, ApiKey, RateLimit, ServiceAccount
from departments.keys.models import KeyReference, ProviderProject
from departments.keys.project_key import has_current_key, install_key, is_rotating
from departments.keys.project_plan import Change, NameTaken, ProvisioningStopped
from departments.models import Department, Moderation

ACCOUNT_NAME = "chatgrid"
CLOCKS_DIFFER = timedelta(minutes=5)


class Step(StrEnum):
    """In the order in which they are done."""

    PROJECT = "project"
    NAME = "name"
    ACCOUNT = "account"
    MODELS = "models"
    TOOLS = "tools"
    SPEND_LIMIT = "spend_limit"
    SPEND_ALERTS = "spend_alerts"
    RATE_LIMITS = "rate_limits"
    RETENTION = "retention"
    KEY = "key"


@dataclass
class Work:
    """One department's project in hand. For the record: `attempt` is the change being tried, `said` what came of it."""

    api: AdminApi
    row: ProviderProject
    department: Department
    attempt: Change | None = None
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def project_id(self) -> str:
        return self.row.project_id

    def keep(self, *fields: str) -> None:
        self.row.save(update_fields=[*fields, "changed_at"])


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


# -- its fences


def wanted_models(row: ProviderProject, department: Department) -> list[str]:
    """Sorted. Whatever the department's own calls ask for is always in it, or they would fail."""
    moderated = [] if department.moderation == Moderation.OFF else [settings.MODERATION_MODEL]
    return sorted({*row.allowed_models, department.model, settings.EMBEDDING_MODEL, *moderated})


def look_models(work: Work) -> Change | None:
    wanted = wanted_models(work.row, work.department)
    found = work.api.model_permissions(work.project_id)
    if found and found.mode == "allow_list" and sorted(found.models) == wanted:
        return None
    before = "every model" if found is None else {found.mode: sorted(found.models)}
    return Change(Step.MODELS, "Allow these models only", before, wanted)


def do_models(work: Work) -> None:
    work.api.allow_models(work.project_id, wanted_models(work.row, work.department))


def look_tools(work: Work) -> Change | None:
    enabled = sorted(work.api.hosted_tools(work.project_id))
    return Change(Step.TOOLS, "Switch OpenAI's hosted tools off", enabled, []) if enabled else None


def do_tools(work: Work) -> None:
    work.api.disable_hosted_tools(work.project_id)


def look_spend_limit(work: Work) -> Change | None:
    wanted = work.row.monthly_cents
    if wanted is None:
        return None
    found = work.api.spend_limit(work.project_id)
    if found and found.cents == wanted:
        return None
    return Change(
        Step.SPEND_LIMIT, "Set the monthly spend limit", dollars(found.cents) if found else None, dollars(wanted)
    )


def do_spend_limit(work: Work) -> None:
    work.api.set_spend_limit(work.project_id, work.row.monthly_cents or 0)


def dollars(cents: int) -> str:
    return f"${cents / 100:,.2f}"


def look_alerts(work: Work) -> Change | None:
    wanted, found = _wanted_alerts(work.row), _own_alerts(work)
    if wanted == sorted(found):
        return None
    return Change(Step.SPEND_ALERTS, "Mail about spending at", _readable(sorted(found)), _readable(wanted))


def do_alerts(work: Work) -> None:
    """Makes what is missing, then takes away what is not wanted, so that there is no moment without an alert."""
    wanted, found = _wanted_alerts(work.row), _own_alerts(work)
    for cents, recipients in wanted:
        if (cents, recipients) not in found:
            work.api.create_spend_alert(work.project_id, cents, recipients, _prefix(work.row))
    for alert, ids in found.items():
        for id in ids if alert not in wanted else ids[1:]:
            work.api.delete_spend_alert(work.project_id, id)


Alert = tuple[int, tuple[str, ...]]


def _wanted_alerts(row: ProviderProject) -> list[Alert]:
    """Cents and recipients. Without a limit, a share of it means nothing."""
    if row.monthly_cents is None or not row.alert_recipients:
        return []
    recipients = tuple(sorted(row.alert_recipients))
    return sorted({(row.monthly_cents * percent // 100, recipients) for percent in row.alert_percents})


def _own_alerts(work: Work) -> dict[Alert, list[str]]:
    """Ours, by their subject; what people set up at OpenAI for themselves is none of our business."""
    own: dict[Alert, list[str]] = {}
    for alert in work.api.spend_alerts(work.project_id):
        if alert.subject_prefix == _prefix(work.row):
            own.setdefault((alert.cents, tuple(sorted(alert.recipients))), []).append(alert.id)
    return own


def _prefix(row: ProviderProject) -> str:
    return f"[ChatGrid {row.name}]"


def _readable(alerts: list[Alert]) -> list[str]:
    return [f"{dollars(cents)} to {', '.join(recipients)}" for cents, recipients in alerts]


def look_rate_limits(work: Work) -> Change | None:
    differing = _differing_rates(work)
    if not differing:
        return None
    before = {limit.model: f"{limit.requests_per_minute:,}/{limit.tokens_per_minute:,}" for limit in differing}
    after = dict.fromkeys(before, " / ".join(f"{figure:,}" for figure in _wanted_rate(work.row) if figure))
    return Change(Step.RATE_LIMITS, "Set requests and tokens a minute", before, after)


def do_rate_limits(work: Work) -> None:
    requests, tokens = _wanted_rate(work.row)
    for limit in _differing_rates(work):
        try:
            work.api.set_rate_limit(work.project_id, limit.id, requests_per_minute=requests, tokens_per_minute=tokens)
        except AdminRejected:
            # above the organization's own limit, which is stricter than what we want and so in order
            if not _is_stricter(limit, work.row):
                raise
        work.row.applied[f"rate {limit.model}"] = [requests, tokens]
    work.keep("applied")


def _wanted_rate(row: ProviderProject) -> tuple[int | None, int | None]:
    return row.requests_per_minute, row.tokens_per_minute


def _differing_rates(work: Work) -> list[RateLimit]:
    """Limits of our models that are wider than wanted, or narrower without our having tried what is wanted now."""
    if _wanted_rate(work.row) == (None, None):
        return []
    models = wanted_models(work.row, work.department)
    return [
        limit
        for limit in work.api.rate_limits(work.project_id)
        if limit.model in models and not _is_rate_right(limit, work.row)
    ]


def _is_rate_right(limit: RateLimit, row: ProviderProject) -> bool:
    requests, tokens = _wanted_rate(row)
    exact = requests in (None, limit.requests_per_minute) and tokens in (None, limit.tokens_per_minute)
    tried = row.applied.get(f"rate {limit.model}") == [requests, tokens]
    return exact or (tried and _is_stricter(limit, row))


def _is_stricter(limit: RateLimit, row: ProviderProject) -> bool:
    requests, tokens = _wanted_rate(row)
    return (requests is None or limit.requests_per_minute <= requests) and (
        tokens is None or limit.tokens_per_minute <= tokens
    )


def look_retention(work: Work) -> Change | None:
    found = work.api.retention(work.project_id)
    if found == work.row.retention:
        return None
    return Change(Step.RETENTION, "Set how long OpenAI keeps what is sent", found, work.row.retention)


def do_retention(work: Work) -> None:
    work.api.set_retention(work.project_id, work.row.retention)


# -- its key


def look_key(work: Work) -> Change | None:
    if is_rotating(work.department):
        return None  # the rotation has the key in hand
    if has_current_key(work.department, work.row, work.api.list_keys(work.project_id)):
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


def unknown_keys(work: Work) -> list[ApiKey]:
    """Keys of the project that we did not make. None while a rotation is under way: it has two."""
    if is_rotating(work.department):
        return []
    reference = KeyReference.objects.filter(department=work.department).first()
    known = reference.key_id if reference else ""
    return [key for key in work.api.list_keys(work.project_id) if key.id != known]


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
    if alerts := _wanted_alerts(row):
        yield Change(Step.SPEND_ALERTS, "Mail about spending at", None, _readable(alerts))
    if any(figures := _wanted_rate(row)):
        after = " / ".join(f"{figure:,}" for figure in figures if figure)
        yield Change(Step.RATE_LIMITS, "Set requests and tokens a minute", None, after)
    yield Change(Step.RETENTION, "Set how long OpenAI keeps what is sent", None, row.retention)
    yield Change(
        Step.KEY,
        "Make a key and put it into the secret manager",
        None,
        f"a key of this project for {row.key_days} days",
    )
