"""What a project's key may do on the model endpoints: its account's role, its models, its spend and its rate.

Keys that no Admin API made have no fence, so that a test may hand in any key.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from chatgrid.dev.openai_simulator.admin.books import MINUTE, Row
from chatgrid.dev.openai_simulator.admin.company import ApiKey, Company, Project, now
from chatgrid.dev.openai_simulator.admin.memory import AdminState
from chatgrid.dev.openai_simulator.errors import ApiError
from chatgrid.dev.openai_simulator.keys import incorrect_key, missing_scope

MODEL_SCOPES = ("api.model", "api.all")


@dataclass
class Pace:
    """Requests and tokens of a project and model in one minute."""

    minute: int = 0
    requests: int = 0
    tokens: int = 0


@dataclass
class Fence:
    admin: AdminState
    paces: dict[tuple[str, str], Pace] = field(default_factory=dict)

    def enter(self, fingerprint: str) -> None:
        """Any request with this key: 401 where its project is closed, 403 where its owner has no role."""
        found = self.admin.holder(fingerprint)
        if found is None:
            return
        _, project, key = found
        if project.archived_at:
            raise incorrect_key(key.redacted)
        account = project.accounts.get(key.account_id)
        if key.account_id and (account is None or account.role == "none"):
            raise missing_scope()
        if key.scopes and not any(scope.startswith(MODEL_SCOPES) for scope in key.scopes):
            raise missing_scope()

    def allow(self, fingerprint: str, model: str) -> tuple[Company, Project, ApiKey] | None:
        """403 where the project's list does not hold the model."""
        found = self.admin.holder(fingerprint)
        if found and not found[1].allows(model):
            message = f"Project `{found[1].id}` does not have access to model `{model}`"
            raise ApiError(403, message, code="model_not_found")
        return found

    def admit(self, fingerprint: str, kind: str, model: str, tokens: int) -> tuple[Row, ...]:
        """One model call of `tokens` prompt tokens; the rows it is booked on, none for a key without a project."""
        found = self.allow(fingerprint, model)
        if found is None:
            return ()
        _, project, key = found
        self._require_money(project)
        self._spend_rate(project, model, tokens)
        key.last_used_at = now()
        return self.admin.books.open(kind, project.id, key.id, model)

    def _require_money(self, project: Project) -> None:
        if project.spend_limit is not None and self.admin.books.spent_cents(project.id) >= project.spend_limit:
            message = "The project has reached its spend limit for this month."
            raise ApiError(429, message, code="project_spend_limit_exceeded", type="insufficient_quota")

    def _spend_rate(self, project: Project, model: str, tokens: int) -> None:
        limit = project.rate_limit(model)
        seconds = time.time()
        pace = self.paces.get((project.id, model))
        if pace is None or pace.minute != int(seconds // MINUTE):
            pace = self.paces[project.id, model] = Pace(int(seconds // MINUTE))
        wait = str(int(MINUTE - seconds % MINUTE) + 1)
        if pace.requests + 1 > limit["max_requests_per_1_minute"]:
            raise _too_fast(model, "requests", wait)
        if pace.tokens + tokens > limit["max_tokens_per_1_minute"]:
            raise _too_fast(model, "tokens", wait)
        pace.requests += 1
        pace.tokens += tokens


def _too_fast(model: str, what: str, wait: str) -> ApiError:
    message = f"Rate limit reached for {model} in your project on {what} per min. Please try again in {wait}s."
    return ApiError(429, message, code="rate_limit_exceeded", type=what, headers={"retry-after": wait})
