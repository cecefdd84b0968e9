"""Projects, their service accounts and their keys."""

from __future__ import annotations

from typing import Any

from chatgrid.dev.openai_simulator.admin import shapes
from chatgrid.dev.openai_simulator.admin.call import Call, missing
from chatgrid.dev.openai_simulator.admin.company import (
    Account,
    AdminKey,
    ApiKey,
    Project,
    new_id,
    new_key_value,
    now,
    redacted,
)
from chatgrid.dev.openai_simulator.errors import ApiError, invalid
from chatgrid.dev.openai_simulator.keys import fingerprint


def create(call: Call) -> dict[str, Any]:
    project = Project(new_id("proj"), call.text("name"), now())
    call.company.projects[project.id] = project
    call.company.note(call.actor, "project.created", {"id": project.id, "data": {"name": project.name}}, project)
    return shapes.project(project)


def list_all(call: Call) -> dict[str, Any]:
    archived_too = call.query.get("include_archived") == "true"
    chosen = [one for one in call.company.projects.values() if archived_too or not one.archived_at]
    return call.page([shapes.project(one) for one in chosen])


def retrieve(call: Call) -> dict[str, Any]:
    return shapes.project(call.project())


def update(call: Call) -> dict[str, Any]:
    project = call.open_project()
    project.name = call.text("name")
    call.company.note(
        call.actor, "project.updated", {"id": project.id, "changes_requested": {"title": project.name}}, project
    )
    return shapes.project(project)


def archive(call: Call) -> dict[str, Any]:
    """Final, and every key of it is refused from now on."""
    project = call.open_project()
    project.archived_at = now()
    call.company.note(call.actor, "project.archived", {"id": project.id}, project)
    return shapes.project(project)


# -- service accounts


def create_account(call: Call) -> dict[str, Any]:
    """With `create_service_account_only` it has neither role nor key; else it is a member and its key is told."""
    project = call.open_project()
    alone = call.body.get("create_service_account_only") is True
    if alone and call.body.get("expires_in_seconds") is not None:
        raise invalid("There is no key whose end could be set.", "expires_in_seconds", "invalid_value")
    account = Account(new_id("user"), call.text("name"), "none" if alone else "member", now())
    project.accounts[account.id] = account
    call.company.note(
        call.actor, "service_account.created", {"id": account.id, "data": {"role": account.role}}, project
    )
    answer = shapes.account(account)
    return answer if alone else answer | {"api_key": _mint(call, project, account, "Secret Key")}


def list_accounts(call: Call) -> dict[str, Any]:
    return call.page([shapes.account(one) for one in call.project().accounts.values()])


def retrieve_account(call: Call) -> dict[str, Any]:
    return shapes.account(_account(call, call.project()))


def update_account(call: Call) -> dict[str, Any]:
    project = call.open_project()
    account = _account(call, project)
    if call.body.get("role") is not None:
        if call.body["role"] not in ("member", "owner"):
            raise invalid("'role' is member or owner.", "role", "invalid_value")
        account.role = call.body["role"]
    account.name = call.body.get("name") or account.name
    call.company.note(
        call.actor, "service_account.updated", {"id": account.id, "changes_requested": {"role": account.role}}, project
    )
    return shapes.account(account)


def delete_account(call: Call) -> dict[str, Any]:
    project = call.open_project()
    account = _account(call, project)
    for key in [key for key in project.keys.values() if key.account_id == account.id]:
        call.admin.close_key(project, key.id)
    del project.accounts[account.id]
    call.company.note(call.actor, "service_account.deleted", {"id": account.id}, project)
    return shapes.deleted("organization.project.service_account", account.id)


def _account(call: Call, project: Project) -> Account:
    account = project.accounts.get(call.path["account"])
    if account is None:
        raise missing("service account", call.path["account"])
    return account


# -- keys


def create_key(call: Call) -> dict[str, Any]:
    project = call.open_project()
    account = _account(call, project)
    return _mint(call, project, account, call.body.get("name") or "Secret Key")


def _mint(call: Call, project: Project, account: Account, name: str) -> dict[str, Any]:
    value = new_key_value("svcacct")
    key = ApiKey(
        new_id("key"),
        name,
        fingerprint(value),
        redacted(value),
        now(),
        account_id=account.id,
        scopes=list(call.body.get("scopes") or []),
        expires_at=call.expiry(),
    )
    call.admin.open_key(call.company, project, key)
    call.company.note(call.actor, "api_key.created", {"id": key.id, "data": {"scopes": key.scopes}}, project)
    return shapes.new_key(key, value)


def list_keys(call: Call) -> dict[str, Any]:
    """Without `owner_project_access=any` keys of accounts without a role are not shown."""
    project = call.project()
    listed = [shapes.key(key, project.accounts.get(key.account_id)) for key in project.keys.values()]
    wanted = call.query.get("owner_project_access", "active")
    return call.page([one for one in listed if wanted == "any" or one["owner_project_access"] == wanted])


def retrieve_key(call: Call) -> dict[str, Any]:
    project = call.project()
    key = _key(call, project)
    return shapes.key(key, project.accounts.get(key.account_id))


def delete_key(call: Call) -> dict[str, Any]:
    project = call.open_project()
    key = _key(call, project)
    if key.account_id and call.admin.switches.refuses_key_deletion:
        raise ApiError(400, "API keys of service accounts cannot be deleted; delete the account.")
    call.admin.close_key(project, key.id)
    call.company.note(call.actor, "api_key.deleted", {"id": key.id}, project)
    return shapes.deleted("organization.project.api_key", key.id)


def _key(call: Call, project: Project) -> ApiKey:
    key = project.keys.get(call.path["key"])
    if key is None:
        raise missing("API key", call.path["key"])
    return key


# -- admin keys of the organization


def create_admin_key(call: Call) -> dict[str, Any]:
    value = new_key_value("admin")
    key = call.company.add_admin_key(value, call.text("name"), expires_at=call.expiry())
    call.company.note(call.actor, "api_key.created", {"id": key.id})
    return shapes.admin_key(key) | {"value": value}


def list_admin_keys(call: Call) -> dict[str, Any]:
    return call.page([shapes.admin_key(one) for one in call.company.admin_keys.values()])


def delete_admin_key(call: Call) -> dict[str, Any]:
    key: AdminKey | None = call.company.admin_keys.pop(call.path["key"], None)
    if key is None:
        raise missing("admin API key", call.path["key"])
    call.admin.dead_admin_keys.add(key.fingerprint)
    call.company.note(call.actor, "api_key.deleted", {"id": key.id})
    return shapes.deleted("organization.admin_api_key", key.id)
