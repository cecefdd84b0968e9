"""An OpenAI organization of a test's own on the simulator: its admin key, its switches, a look from the other side."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from departments.keys.admin_api import AdminApi, store_admin_key
from departments.keys.secret import Secret
from departments.models import Organization
from tests.provider import ORDERS

MODEL = "gpt-6-luna"


def make_admin_key() -> Secret:
    """A well-formed admin key that nobody has issued: the simulator gives it an organization of its own."""
    part = secrets.token_hex(24)
    return Secret("-".join(("sk", "admin", part)) + "T3Blbk" + "FJ" + part)


@dataclass(frozen=True)
class OpenAICompany:
    """`address` is the simulator's, without a path."""

    address: str
    admin_key: Secret = field(default_factory=make_admin_key)

    @property
    def base_url(self) -> str:
        return f"{self.address}/v1"

    def api(self) -> AdminApi:
        return AdminApi(self.admin_key, self.base_url)

    def belongs_to(self, organization: Organization) -> OpenAICompany:
        """Store the admin key as this organization's."""
        store_admin_key(organization, self.admin_key, secrets.token_hex(16))
        return self

    def order(self, when: str, how: str, **fields: Any) -> None:
        """The next matching request to the Admin API fails: see chatgrid/dev/openai_simulator/admin/switches.py."""
        self._tell("POST", "orders", {"when": when, "how": how, **fields})

    def settle(self, **settings: Any) -> None:
        self._tell("POST", "settings", settings)

    def behave(self) -> None:
        """Withdraw all orders and settings."""
        self._tell("DELETE", "orders", None)
        self.settle(stale_seconds=0.0, refuses_key_deletion=False)

    def colleague(self, person: str) -> OpenAICompany:
        """Somebody who works in OpenAI's dashboard of the same organization."""
        known = self._tell("POST", "keys", {"key": self.admin_key.reveal()})
        other = OpenAICompany(self.address)
        order = {"key": other.admin_key.reveal(), "organization": known["organization"], "person": person}
        self._tell("POST", "keys", order)
        return other

    def asks(self, key: Secret, model: str = MODEL) -> int:
        """The status of one small chat with this key."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 40}
        return ORDERS.post(f"{self.base_url}/chat/completions", json=body, headers=_bearer(key)).status_code

    def refusal(self, key: Secret, model: str = MODEL) -> dict[str, Any]:
        """The error of one small chat that must not succeed."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 40}
        answer: dict[str, Any] = ORDERS.post(
            f"{self.base_url}/chat/completions", json=body, headers=_bearer(key)
        ).json()
        return answer["error"] | {"request": "refused"}

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """What the Admin API says of a path below /organization, as the plain JSON."""
        response = ORDERS.get(f"{self.base_url}/organization/{path}", params=query, headers=_bearer(self.admin_key))
        answer: dict[str, Any] = response.raise_for_status().json()
        return answer

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        response = ORDERS.post(f"{self.base_url}/organization/{path}", json=body, headers=_bearer(self.admin_key))
        answer: dict[str, Any] = response.raise_for_status().json()
        return answer

    def add_usage(self, **line: Any) -> None:
        self._tell("POST", "usage", line)

    def _tell(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        response = ORDERS.request(method, f"{self.address}/__simulator/admin/{path}", json=body)
        answer: dict[str, Any] = response.raise_for_status().json()
        return answer


def _bearer(key: Secret) -> dict[str, str]:
    return {"authorization": f"Bearer {key.reveal()}"}
