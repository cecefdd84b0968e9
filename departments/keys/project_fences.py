"""The fences of a project at OpenAI: models, hosted tools, money, rates, retention. Each with a look and a deed.

The rules are those of project_steps.py, which puts the steps in order.
"""

from __future__ import annotations

from django.conf import settings

from departments.keys.admin_api import AdminRejected, RateLimit
from departments.keys.models import ProviderProject
from departments.keys.project_plan import Change
from departments.keys.project_work import Step, Work
from departments.models import Department, Moderation


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
    wanted, found = wanted_alerts(work.row), _own_alerts(work)
    if wanted == sorted(found):
        return None
    return Change(Step.SPEND_ALERTS, "Mail about spending at", readable(sorted(found)), readable(wanted))


def do_alerts(work: Work) -> None:
    """Makes what is missing, then takes away what is not wanted, so that there is no moment without an alert."""
    wanted, found = wanted_alerts(work.row), _own_alerts(work)
    for cents, recipients in wanted:
        if (cents, recipients) not in found:
            work.api.create_spend_alert(work.project_id, cents, recipients, _prefix(work.row))
    for alert, ids in found.items():
        for id in ids if alert not in wanted else ids[1:]:
            work.api.delete_spend_alert(work.project_id, id)


Alert = tuple[int, tuple[str, ...]]


def wanted_alerts(row: ProviderProject) -> list[Alert]:
    """Cents and recipients. Without a limit, a share of it means nothing."""
    if row.monthly_cents is None or not row.alert_recipients:
        return []
    recipients = tuple(sorted(set(row.alert_recipients)))
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


def readable(alerts: list[Alert]) -> list[str]:
    return [f"{dollars(cents)} to {', '.join(recipients)}" for cents, recipients in alerts]


def look_rate_limits(work: Work) -> Change | None:
    differing = _differing_rates(work)
    if not differing:
        return None
    before = {limit.model: f"{limit.requests_per_minute:,}/{limit.tokens_per_minute:,}" for limit in differing}
    after = dict.fromkeys(before, " / ".join(f"{figure:,}" for figure in wanted_rate(work.row) if figure))
    return Change(Step.RATE_LIMITS, "Set requests and tokens a minute", before, after)


def do_rate_limits(work: Work) -> None:
    requests, tokens = wanted_rate(work.row)
    for limit in _differing_rates(work):
        try:
            work.api.set_rate_limit(work.project_id, limit.id, requests_per_minute=requests, tokens_per_minute=tokens)
        except AdminRejected:
            # above the organization's own limit, which is stricter than what we want and so in order
            if not _is_stricter(limit, work.row):
                raise
        work.row.applied[f"rate {limit.model}"] = [requests, tokens]
    work.keep("applied")


def wanted_rate(row: ProviderProject) -> tuple[int | None, int | None]:
    return row.requests_per_minute, row.tokens_per_minute


def _differing_rates(work: Work) -> list[RateLimit]:
    """Limits of our models that are wider than wanted, or narrower without our having tried what is wanted now."""
    if wanted_rate(work.row) == (None, None):
        return []
    models = wanted_models(work.row, work.department)
    return [
        limit
        for limit in work.api.rate_limits(work.project_id)
        if limit.model in models and not _is_rate_right(limit, work.row)
    ]


def _is_rate_right(limit: RateLimit, row: ProviderProject) -> bool:
    requests, tokens = wanted_rate(row)
    exact = requests in (None, limit.requests_per_minute) and tokens in (None, limit.tokens_per_minute)
    tried = row.applied.get(f"rate {limit.model}") == [requests, tokens]
    return exact or (tried and _is_stricter(limit, row))


def _is_stricter(limit: RateLimit, row: ProviderProject) -> bool:
    requests, tokens = wanted_rate(row)
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
