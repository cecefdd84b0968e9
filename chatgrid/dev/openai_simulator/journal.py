"""The provider's own books: what was asked, with which key, and what was charged.

- Tokens are charged when they are made, so the counts are true while a stream runs and after it was cut.
- A refused request is counted and charged nothing.
- No key is kept: credential headers are replaced by the key's fingerprint.
- The last N requests are kept whole; the sums are kept for ever, or until a reset.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

CREDENTIAL_HEADERS = {"authorization", "api-key", "x-api-key", "proxy-authorization", "cookie"}


@dataclass
class Sums:
    requests: int = 0
    refused: int = 0
    disconnected: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


@dataclass
class Entry:
    """One request. `status` is 0 until it is answered; `finished` turns true when the last byte is sent or given up."""

    number: int
    request_id: str
    at: float
    method: str
    path: str
    headers: dict[str, str]
    client_request_id: str | None
    key: str | None = None
    body: Any = None
    model: str | None = None
    behaviour: str | None = None
    status: int = 0
    code: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finished: bool = False
    disconnected: bool = False
    sums: list[Sums] = field(default_factory=list, repr=False)

    def charge(self, *, prompt: int = 0, completion: int = 0) -> None:
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        self.count(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)

    def count(self, **amounts: int) -> None:
        for sums in self.sums:
            for name, amount in amounts.items():
                setattr(sums, name, getattr(sums, name) + amount)

    def refuse(self, status: int, code: str | None) -> None:
        self.status, self.code = status, code
        self.count(refused=1)

    def finish(self, *, disconnected: bool) -> None:
        self.finished, self.disconnected = True, disconnected
        self.count(disconnected=int(disconnected))

    def listing(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "sums"}


class Journal:
    def __init__(self, size: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        self._numbers = itertools.count(1)
        self.reset()

    def reset(self) -> None:
        self._entries.clear()
        self._totals = Sums()
        self._keys: dict[str, Sums] = {}
        self._models: dict[tuple[str, str], Sums] = {}

    def open(self, request_id: str, method: str, path: str, headers: Mapping[str, str]) -> Entry:
        entry = Entry(
            number=next(self._numbers),
            request_id=request_id,
            at=time.time(),
            method=method,
            path=path,
            headers=_without_credentials(headers),
            client_request_id=headers.get("x-client-request-id"),
        )
        self._entries.append(entry)
        self._add(entry, self._totals)
        return entry

    def attribute(self, entry: Entry, fingerprint: str) -> None:
        """Book the request on its key; everything charged later is charged to the key."""
        entry.key = fingerprint
        if "authorization" in entry.headers:
            entry.headers["authorization"] = f"fingerprint {fingerprint}"
        self._add(entry, self._keys.setdefault(fingerprint, Sums()))

    def attribute_model(self, entry: Entry, model: str) -> None:
        entry.model = model
        self._add(entry, self._models.setdefault((entry.key or "", model), Sums()))

    def listing(self, key: str | None = None, last: int | None = None) -> dict[str, Any]:
        chosen = [entry for entry in self._entries if key in (None, entry.key)]
        first = 0 if last is None else max(0, len(chosen) - last)
        return {
            "totals": asdict(self._totals),
            "keys": {name: asdict(sums) for name, sums in self._keys.items()},
            "models": [{"key": k, "model": m, **asdict(sums)} for (k, m), sums in self._models.items()],
            "open": sum(not entry.finished for entry in self._entries),
            "requests": [entry.listing() for entry in chosen[first:]],
        }

    def _add(self, entry: Entry, sums: Sums) -> None:
        sums.requests += 1
        entry.sums.append(sums)


def _without_credentials(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: "withheld" if name in CREDENTIAL_HEADERS else value for name, value in headers.items()}
