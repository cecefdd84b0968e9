"""What a step of provisioning is called, and what it is given: one department's project in hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from departments.keys.admin_api import AdminApi
from departments.keys.models import ProviderProject
from departments.keys.project_plan import Change
from departments.models import Department


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
