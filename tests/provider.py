"""The tests' hold on the OpenAI simulator: tell it to misbehave for one key, and read what it was asked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

import httpx2

from departments.keys.secret import Secret

# One for all, which trusts no authority: reading those of the web takes longer than everything else of a request. No
# connection is kept, because the simulator would end it at the moment it is used again.
ORDERS = httpx2.Client(
    verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    trust_env=False,
    timeout=30,
    limits=httpx2.Limits(max_keepalive_connections=0),
)


@dataclass(frozen=True)
class Provider:
    address: str

    def misbehave(self, key: Secret, kind: str, times: int | None = None, **options: Any) -> None:
        """From now on, `times` requests with this key (None: all) meet `kind` (see the simulator's README)."""
        body = {"key": key.reveal(), "kind": kind, "times": times, "options": options}
        ORDERS.post(f"{self.address}/__simulator/behaviour", json=body).raise_for_status()

    def revoke(self, key: Secret) -> None:
        """Refuse this key from now on, as after its deletion at the provider."""
        body = {"key": key.reveal()}
        ORDERS.request("DELETE", f"{self.address}/__simulator/keys", json=body).raise_for_status()

    def behave(self) -> None:
        ORDERS.delete(f"{self.address}/__simulator/behaviour").raise_for_status()

    def journal(self, key: Secret | None = None) -> dict[str, Any]:
        """The books: all sums, and the latest requests, of one key where it is given."""
        only = {"key": key.fingerprint()} if key else None
        answer: dict[str, Any] = (
            ORDERS.get(f"{self.address}/__simulator/journal", params=only).raise_for_status().json()
        )
        return answer
