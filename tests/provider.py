"""The tests' hold on the OpenAI simulator: tell it to misbehave for one key, and read what it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2

from departments.keys.secret import Secret


@dataclass(frozen=True)
class Provider:
    address: str

    def misbehave(self, key: Secret, kind: str, times: int | None = None, **options: Any) -> None:
        """From now on, `times` requests with this key (None: all) meet `kind` (see the simulator's README)."""
        body = {"key": key.reveal(), "kind": kind, "times": times, "options": options}
        httpx2.post(f"{self.address}/__simulator/behaviour", json=body).raise_for_status()

    def revoke(self, key: Secret) -> None:
        """Refuse this key from now on, as after its deletion at the provider."""
        body = {"key": key.reveal()}
        httpx2.request("DELETE", f"{self.address}/__simulator/keys", json=body).raise_for_status()

    def behave(self) -> None:
        httpx2.delete(f"{self.address}/__simulator/behaviour").raise_for_status()

    def journal(self) -> dict[str, Any]:
        answer: dict[str, Any] = httpx2.get(f"{self.address}/__simulator/journal").raise_for_status().json()
        return answer
