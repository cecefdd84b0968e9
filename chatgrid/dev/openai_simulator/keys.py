"""Which API keys the simulator knows, and what belongs to each.

- A key's value is not kept: the ring holds a fingerprint (16 hex of its SHA-256) and a mask for error messages.
- Until a key is registered any well-formed key enters; from then on only registered ones (see `KeyPolicy`).
- A revoked key is refused, at once or after `after_seconds`: real authentication caches lag too.
- Admin keys (`sk-admin-`) cannot call models.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from chatgrid.dev.openai_simulator.errors import ApiError
from chatgrid.dev.openai_simulator.options import KeyPolicy

WELL_FORMED = re.compile(r"sk-[A-Za-z0-9_-]{16,}")
ADMIN_PREFIX = "sk-" + "admin-"


@dataclass
class Key:
    fingerprint: str
    masked: str
    project: str | None = None
    department: str | None = None
    name: str | None = None
    registered: bool = False
    revoked_at: float | None = None
    enabled_at: float | None = None
    expires_at: float | None = None

    def is_valid(self, now: float) -> bool:
        if self.revoked_at is not None and self.revoked_at <= now:
            return False
        if self.enabled_at is not None and now < self.enabled_at:
            return False
        return self.expires_at is None or now < self.expires_at

    def listing(self) -> dict[str, Any]:
        return asdict(self)


def fingerprint(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def mask(value: str) -> str:
    """As the provider repeats a refused key: the kind and the last four characters."""
    return f"{value[:8]}{'*' * 8}{value[-4:]}" if len(value) > 16 else "*" * len(value)


class KeyRing:
    def __init__(self, policy: KeyPolicy, now: Callable[[], float] = time.time) -> None:
        self._policy = policy
        self._now = now
        self._keys: dict[str, Key] = {}
        self._closed = policy is KeyPolicy.REGISTERED

    def register(
        self, value: str, *, project: str | None = None, department: str | None = None, name: str | None = None
    ) -> Key:
        """Let this key in, and from now on only registered ones. A revoked key that is registered again lives again."""
        key = Key(fingerprint(value), mask(value), project, department, name, registered=True)
        self._keys[key.fingerprint] = key
        self._closed = self._policy is not KeyPolicy.ANY
        return key

    def revoke(self, value: str, after_seconds: float = 0.0) -> Key:
        key = self._keys.setdefault(fingerprint(value), Key(fingerprint(value), mask(value)))
        key.revoked_at = self._now() + after_seconds
        return key

    def admit(
        self, mark: str, masked: str, *, project: str, name: str, after_seconds: float = 0.0, until: float | None = None
    ) -> None:
        """Let in a key that the Admin API made, by its fingerprint. Other well-formed keys enter as before."""
        self._keys[mark] = Key(
            mark,
            masked,
            project,
            name=name,
            registered=True,
            enabled_at=self._now() + after_seconds,
            expires_at=until,
        )

    def revoke_fingerprint(self, mark: str, after_seconds: float = 0.0) -> None:
        key = self._keys.setdefault(mark, Key(mark, "*" * 16))
        key.revoked_at = self._now() + after_seconds

    def reset(self) -> None:
        self._keys.clear()
        self._closed = self._policy is KeyPolicy.REGISTERED

    def listings(self) -> list[dict[str, Any]]:
        return [key.listing() for key in self._keys.values()]

    def authenticate(self, authorization: str | None) -> Key:
        """The key of an Authorization header, or a 401 whose message masks what was sent."""
        value = bearer(authorization)
        key = self._keys.get(fingerprint(value))
        if key is None and (self._closed or not WELL_FORMED.fullmatch(value)):
            raise incorrect_key(mask(value))
        key = key or Key(fingerprint(value), mask(value))
        if not key.is_valid(self._now()):
            raise incorrect_key(key.masked)
        if value.startswith(ADMIN_PREFIX):
            raise missing_scope()
        return key


def bearer(authorization: str | None) -> str:
    """The key of an Authorization header, or a 401."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not value.strip():
        raise ApiError(401, "You didn't provide an API key. Send it in the header `Authorization: Bearer <key>`.")
    return value.strip()


def incorrect_key(masked: str) -> ApiError:
    return ApiError(401, f"Incorrect API key provided: {masked}.", code="invalid_api_key")


def missing_scope() -> ApiError:
    message = "You have insufficient permissions for this operation. Missing scopes: model.request."
    return ApiError(403, message, code="missing_scope")
