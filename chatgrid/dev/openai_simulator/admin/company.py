"""What an OpenAI organization holds: projects with their accounts, keys and fences, admin keys, and its audit log."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from chatgrid.dev.openai_simulator.catalogue import MODELS
from chatgrid.dev.openai_simulator.keys import fingerprint

TOOLS = ("code_interpreter", "file_search", "image_generation", "mcp", "web_search")
# what the organization itself may ask of one model in a minute; no project can have more
ORGANIZATION_REQUESTS = 10_000
ORGANIZATION_TOKENS = 10_000_000
KEY_LENGTH = 58


def now() -> int:
    return int(time.time())


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def new_key_value(kind: str) -> str:
    """A value of the shape of OpenAI's: the kind in front, the mark in the middle."""
    first, last = (secrets.token_hex(KEY_LENGTH // 2) for _ in range(2))
    return "-".join(("sk", kind, first)) + "T3Blbk" + "FJ" + last


def redacted(value: str) -> str:
    """As OpenAI lists a key."""
    return f"{value[:10]}{'*' * 12}{value[-4:]}"


@dataclass
class Account:
    id: str
    name: str
    role: str
    created_at: int


@dataclass
class ApiKey:
    """A project's key; `person` is who owns it where no service account does."""

    id: str
    name: str
    fingerprint: str
    redacted: str
    created_at: int
    account_id: str = ""
    person: str = ""
    scopes: list[str] = field(default_factory=list)
    expires_at: int | None = None
    last_used_at: int | None = None


@dataclass
class AdminKey:
    """`person` makes the acts with this key look as if that person had done them in the dashboard."""

    id: str
    name: str
    fingerprint: str
    redacted: str
    created_at: int
    person: str = ""
    expires_at: int | None = None
    last_used_at: int | None = None


@dataclass
class Project:
    """`models` is None while everything is allowed; `rate_limits` holds what differs from the organization's."""

    id: str
    name: str
    created_at: int
    archived_at: int | None = None
    accounts: dict[str, Account] = field(default_factory=dict)
    keys: dict[str, ApiKey] = field(default_factory=dict)
    mode: str = "allow_list"
    models: list[str] | None = None
    tools: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(TOOLS, True))
    spend_limit: int | None = None
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)
    rate_limits: dict[str, dict[str, int]] = field(default_factory=dict)
    retention: str = "organization_default"

    def rate_limit(self, model: str) -> dict[str, int]:
        default = {
            "max_requests_per_1_minute": ORGANIZATION_REQUESTS,
            "max_tokens_per_1_minute": ORGANIZATION_TOKENS,
        }
        return default | self.rate_limits.get(model, {})

    def allows(self, model: str) -> bool:
        if self.models is None:
            return True
        return (model in self.models) == (self.mode == "allow_list")


@dataclass
class Company:
    """An organization at OpenAI."""

    id: str
    projects: dict[str, Project] = field(default_factory=dict)
    admin_keys: dict[str, AdminKey] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)

    def add_admin_key(self, value: str, name: str, person: str = "", expires_at: int | None = None) -> AdminKey:
        key = AdminKey(
            new_id("key"), name, fingerprint(value), redacted(value), now(), person=person, expires_at=expires_at
        )
        self.admin_keys[key.id] = key
        return key

    def note(self, actor: AdminKey, kind: str, subject: dict[str, Any], project: Project | None = None) -> None:
        """A line of the audit log."""
        line: dict[str, Any] = {
            "id": new_id("audit_log"),
            "effective_at": now(),
            "type": kind,
            "actor": _actor(actor),
            kind: subject,
        }
        if project is not None:
            line["project"] = {"id": project.id, "name": project.name}
        self.log.append(line)


def _actor(key: AdminKey) -> dict[str, Any]:
    if key.person:
        user = {"id": f"user-{fingerprint(key.person)}", "email": key.person}
        return {"type": "session", "session": {"user": user, "ip_address": "198.51.100.7"}}
    return {"type": "api_key", "api_key": {"id": key.id, "type": "user"}}


def model_ids() -> list[str]:
    return list(MODELS)
