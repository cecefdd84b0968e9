"""The settings of a project that bound what its keys may do: models, hosted tools, spend, rates, retention."""

from __future__ import annotations

from typing import Any

from chatgrid.dev.openai_simulator.admin import shapes
from chatgrid.dev.openai_simulator.admin.call import Call, missing
from chatgrid.dev.openai_simulator.admin.company import (
    ORGANIZATION_REQUESTS,
    ORGANIZATION_TOKENS,
    TOOLS,
    Project,
    model_ids,
    new_id,
)
from chatgrid.dev.openai_simulator.errors import ApiError, invalid

RETENTIONS = (
    "organization_default",
    "none",
    "zero_data_retention",
    "modified_abuse_monitoring",
    "enhanced_zero_data_retention",
    "enhanced_modified_abuse_monitoring",
)
NEEDS_CONSENT = RETENTIONS[4:]
CEILINGS = {
    "max_requests_per_1_minute": ORGANIZATION_REQUESTS,
    "max_tokens_per_1_minute": ORGANIZATION_TOKENS,
}


def retrieve_models(call: Call) -> dict[str, Any]:
    project = call.project()
    if project.models is None:
        raise missing("model permissions", project.id)
    return shapes.models(project)


def update_models(call: Call) -> dict[str, Any]:
    project = call.open_project()
    mode, names = call.text("mode"), call.body.get("model_ids")
    if mode not in ("allow_list", "deny_list") or not isinstance(names, list):
        raise invalid("'mode' is allow_list or deny_list, 'model_ids' a list.", "mode", "invalid_value")
    project.mode, project.models = mode, [str(name) for name in names]
    return shapes.models(project)


def delete_models(call: Call) -> dict[str, Any]:
    call.open_project().models = None
    return shapes.deleted("project.model_permissions")


def retrieve_tools(call: Call) -> dict[str, Any]:
    return shapes.tools(call.project())


def update_tools(call: Call) -> dict[str, Any]:
    project = call.open_project()
    for tool in TOOLS:
        wanted = call.body.get(tool)
        if isinstance(wanted, dict) and isinstance(wanted.get("enabled"), bool):
            project.tools[tool] = wanted["enabled"]
    return shapes.tools(project)


def retrieve_spend_limit(call: Call) -> dict[str, Any]:
    project = call.project()
    if project.spend_limit is None:
        raise missing("spend limit", project.id)
    return _spend_limit(call, project, project.spend_limit)


def update_spend_limit(call: Call) -> dict[str, Any]:
    project = call.open_project()
    _require_dollars_a_month(call)
    project.spend_limit = call.whole_number("threshold_amount")
    return _spend_limit(call, project, project.spend_limit)


def delete_spend_limit(call: Call) -> dict[str, Any]:
    project = call.open_project()
    if project.spend_limit is None:
        raise missing("spend limit", project.id)
    project.spend_limit = None
    return shapes.deleted("project.spend_limit")


def _spend_limit(call: Call, project: Project, cents: int) -> dict[str, Any]:
    return shapes.spend_limit(cents, enforcing=call.admin.books.spent_cents(project.id) >= cents)


def _require_dollars_a_month(call: Call) -> None:
    if call.body.get("currency") != "USD" or call.body.get("interval") != "month":
        raise invalid("Amounts are in USD a month.", "currency", "invalid_value")


def list_alerts(call: Call) -> dict[str, Any]:
    return call.page([shapes.alert(one) for one in call.project().alerts.values()])


def create_alert(call: Call) -> dict[str, Any]:
    project = call.open_project()
    _require_dollars_a_month(call)
    channel = call.body.get("notification_channel")
    if not isinstance(channel, dict) or channel.get("type") != "email" or not channel.get("recipients"):
        raise invalid("An alert needs e-mail recipients.", "notification_channel", "invalid_value")
    id = new_id("alert")
    alert = {
        "id": id,
        "currency": "USD",
        "interval": "month",
        "threshold_amount": call.whole_number("threshold_amount"),
        "notification_channel": channel,
    }
    project.alerts[id] = alert
    return shapes.alert(alert)


def delete_alert(call: Call) -> dict[str, Any]:
    project = call.open_project()
    if project.alerts.pop(call.path["alert"], None) is None:
        raise missing("spend alert", call.path["alert"])
    return shapes.deleted("project.spend_alert", call.path["alert"])


def list_rate_limits(call: Call) -> dict[str, Any]:
    project = call.project()
    return call.page([shapes.rate_limit(project, model) for model in model_ids()], default=100)


def update_rate_limit(call: Call) -> dict[str, Any]:
    """One model's limits; 400 above what the organization itself has."""
    project = call.open_project()
    model = call.path["limit"].removeprefix("rl-")
    if model not in model_ids():
        raise missing("rate limit", call.path["limit"])
    changed = {name: call.whole_number(name) for name in CEILINGS if call.body.get(name) is not None}
    for name, value in changed.items():
        if value > CEILINGS[name]:
            raise invalid(f"'{name}' exceeds the limit of your organization.", name, "rate_limit_exceeds_organization")
    project.rate_limits.setdefault(model, {}).update(changed)
    call.company.note(
        call.actor, "rate_limit.updated", {"id": call.path["limit"], "changes_requested": changed}, project
    )
    return shapes.rate_limit(project, model)


def retrieve_retention(call: Call) -> dict[str, Any]:
    return shapes.retention(call.project())


def update_retention(call: Call) -> dict[str, Any]:
    """403 for the kinds that OpenAI agrees to by contract only."""
    project = call.open_project()
    wanted = call.text("retention_type")
    if wanted not in RETENTIONS:
        raise invalid(f"'retention_type' is one of {', '.join(RETENTIONS)}.", "retention_type", "invalid_value")
    if wanted in NEEDS_CONSENT:
        raise ApiError(403, "Your organization is not eligible for this retention.", code="not_eligible")
    project.retention = wanted
    return shapes.retention(project)
