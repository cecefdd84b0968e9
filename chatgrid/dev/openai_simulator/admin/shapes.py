"""The provider's objects as it sends them. The SDK's own models must accept each of these."""

from __future__ import annotations

from typing import Any

from chatgrid.dev.openai_simulator.admin.company import TOOLS, Account, AdminKey, ApiKey, Project

Shape = dict[str, Any]


def project(one: Project) -> Shape:
    return {
        "id": one.id,
        "object": "organization.project",
        "name": one.name,
        "created_at": one.created_at,
        "archived_at": one.archived_at,
        "status": "archived" if one.archived_at else "active",
    }


def account(one: Account) -> Shape:
    return {
        "id": one.id,
        "object": "organization.project.service_account",
        "name": one.name,
        "role": one.role,
        "created_at": one.created_at,
    }


def new_key(one: ApiKey, value: str) -> Shape:
    """The one answer that tells a value."""
    return {
        "id": one.id,
        "object": "organization.project.service_account.api_key",
        "name": one.name,
        "value": value,
        "created_at": one.created_at,
        "expires_at": one.expires_at,
    }


def key(one: ApiKey, owner: Account | None) -> Shape:
    active = bool(one.person) or (owner is not None and owner.role != "none")
    return {
        "id": one.id,
        "object": "organization.project.api_key",
        "name": one.name,
        "redacted_value": one.redacted,
        "created_at": one.created_at,
        "last_used_at": one.last_used_at,
        "expires_at": one.expires_at,
        "owner": _owner(one, owner),
        "owner_project_access": "active" if active else "inactive",
    }


def _owner(one: ApiKey, owner: Account | None) -> Shape:
    if owner is not None:
        named = {"id": owner.id, "name": owner.name, "role": owner.role, "created_at": owner.created_at}
        return {"type": "service_account", "service_account": named}
    person = {"id": f"user-{one.person}", "name": one.person, "email": one.person, "role": "member", "created_at": 0}
    return {"type": "user", "user": person}


def admin_key(one: AdminKey) -> Shape:
    return {
        "id": one.id,
        "object": "organization.admin_api_key",
        "name": one.name,
        "redacted_value": one.redacted,
        "created_at": one.created_at,
        "last_used_at": one.last_used_at,
        "expires_at": one.expires_at,
        "owner": {"type": "user", "object": "organization.user", "name": one.person or "Owner", "role": "owner"},
    }


def models(one: Project) -> Shape:
    return {"object": "project.model_permissions", "mode": one.mode, "model_ids": one.models}


def tools(one: Project) -> Shape:
    return {tool: {"enabled": one.tools[tool]} for tool in TOOLS}


def spend_limit(cents: int, *, enforcing: bool) -> Shape:
    return {
        "object": "project.spend_limit",
        "currency": "USD",
        "interval": "month",
        "threshold_amount": cents,
        "enforcement": {"status": "enforcing" if enforcing else "inactive"},
    }


def alert(one: Shape) -> Shape:
    return {"object": "project.spend_alert", **one}


def rate_limit(one: Project, model: str) -> Shape:
    return {"object": "project.rate_limit", "id": f"rl-{model}", "model": model, **one.rate_limit(model)}


def retention(one: Project) -> Shape:
    return {"object": "project.data_retention", "type": one.retention}


def deleted(kind: str, id: str | None = None) -> Shape:
    answer: Shape = {"object": f"{kind}.deleted", "deleted": True}
    return answer if id is None else answer | {"id": id}
