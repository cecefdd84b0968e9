"""The Admin API's fences of a project: models, tools, money, rates, retention. The rules are in admin_api.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from departments.keys.admin_calls import PAGE, AdminCalls, deleted, every, found, said
from departments.keys.admin_values import (
    ModelPermissions,
    RateLimit,
    SpendAlert,
    SpendLimit,
    alert_of,
    rate_limit_of,
    text_of,
)

HOSTED_TOOLS = ("code_interpreter", "file_search", "image_generation", "mcp", "web_search")


class FenceCalls(AdminCalls):
    """What a project may do, whoever holds its key."""

    def model_permissions(self, project_id: str) -> ModelPermissions | None:
        """None: every model of the organization is allowed."""

        def read() -> ModelPermissions:
            answer = self._reads.projects.model_permissions.retrieve(project_id)
            return ModelPermissions(answer.mode, frozenset(answer.api_model_ids))

        return found("look at the allowed models", read)

    def allow_models(self, project_id: str, models: Sequence[str]) -> None:
        """Allow these models and no other."""
        said(
            "set the allowed models",
            lambda: self._writes.projects.model_permissions.update(
                project_id, mode="allow_list", model_ids=sorted(models)
            ),
        )

    def hosted_tools(self, project_id: str) -> frozenset[str]:
        """Those that are switched on."""

        def read() -> frozenset[str]:
            answer = self._reads.projects.hosted_tool_permissions.retrieve(project_id)
            return frozenset(tool for tool in HOSTED_TOOLS if getattr(answer, tool).enabled)

        return said("look at the hosted tools", read)

    def disable_hosted_tools(self, project_id: str) -> None:
        off: dict[str, Any] = {tool: {"enabled": False} for tool in HOSTED_TOOLS}
        said(
            "switch the hosted tools off",
            lambda: self._writes.projects.hosted_tool_permissions.update(project_id, **off),
        )

    def spend_limit(self, project_id: str) -> SpendLimit | None:
        def read() -> SpendLimit:
            answer = self._reads.projects.spend_limit.retrieve(project_id)
            return SpendLimit(int(answer.threshold_amount), answer.enforcement.status == "enforcing")

        return found("look at the spend limit", read)

    def set_spend_limit(self, project_id: str, cents: int) -> None:
        """A hard limit a calendar month. It takes a while to bite: a little more may be spent."""
        said(
            "set the spend limit",
            lambda: self._writes.projects.spend_limit.update(
                project_id, threshold_amount=cents, currency="USD", interval="month"
            ),
        )

    def remove_spend_limit(self, project_id: str) -> bool:
        return deleted("remove the spend limit", lambda: self._reads.projects.spend_limit.delete(project_id))

    def spend_alerts(self, project_id: str) -> list[SpendAlert]:
        return said(
            "list the spend alerts",
            lambda: every(self._reads.projects.spend_alerts.list(project_id, limit=PAGE), alert_of),
        )

    def create_spend_alert(
        self, project_id: str, cents: int, recipients: Sequence[str], subject_prefix: str
    ) -> SpendAlert:
        """A mail when the month's spending passes `cents`; it stops nothing."""
        return said(
            "create the spend alert",
            lambda: alert_of(
                self._writes.projects.spend_alerts.create(
                    project_id,
                    threshold_amount=cents,
                    currency="USD",
                    interval="month",
                    notification_channel={
                        "type": "email",
                        "recipients": list(recipients),
                        "subject_prefix": subject_prefix,
                    },
                )
            ),
        )

    def delete_spend_alert(self, project_id: str, alert_id: str) -> bool:
        return deleted(
            "delete the spend alert",
            lambda: self._reads.projects.spend_alerts.delete(alert_id, project_id=project_id),
        )

    def rate_limits(self, project_id: str) -> list[RateLimit]:
        """One for each model the organization knows."""
        return said(
            "list the rate limits",
            lambda: every(self._reads.projects.rate_limits.list_rate_limits(project_id, limit=PAGE), rate_limit_of),
        )

    def set_rate_limit(
        self,
        project_id: str,
        limit_id: str,
        *,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> RateLimit:
        """Change one model's limit; None leaves a figure as it is. AdminRejected above the organization's own."""
        figures: dict[str, Any] = {
            "max_requests_per_1_minute": requests_per_minute,
            "max_tokens_per_1_minute": tokens_per_minute,
        }
        given = {name: value for name, value in figures.items() if value is not None}
        return said(
            "set the rate limit",
            lambda: rate_limit_of(
                self._writes.projects.rate_limits.update_rate_limit(limit_id, project_id=project_id, **given)
            ),
        )

    def retention(self, project_id: str) -> str:
        """A value of `departments.keys.models.Retention`."""
        return said(
            "look at the retention",
            lambda: text_of(self._reads.projects.data_retention.retrieve(project_id).type),
        )

    def set_retention(self, project_id: str, kind: str) -> None:
        """AdminForbidden or AdminRejected where OpenAI has not agreed to it for this organization."""
        chosen: Any = kind
        said(
            "set the retention",
            lambda: self._writes.projects.data_retention.update(project_id, retention_type=chosen),
        )
