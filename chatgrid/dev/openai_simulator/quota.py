"""What the provider says beside an answer: the rate-limit headers and the tokens it had cached.

The limits are figures of a mid-size account and are reported, never enforced: refusals are ordered (`misbehaviour.py`).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

REQUESTS_PER_MINUTE = 10_000
TOKENS_PER_MINUTE = 2_000_000
CACHEABLE_TOKENS = 1024
PREFIX_CHARACTERS = 4096
PREFIXES_KEPT = 10_000


@dataclass
class Meter:
    minute: int = 0
    requests: int = 0
    tokens: int = 0


class Meters:
    """Requests and prompt tokens of each key in the running minute."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._meters: dict[str, Meter] = {}

    def reset(self) -> None:
        self._meters.clear()

    def spend(self, fingerprint: str, tokens: int) -> dict[str, str]:
        """Count one request and return its `x-ratelimit-*` headers."""
        now = self._now()
        meter = self._meters.get(fingerprint)
        if meter is None or meter.minute != int(now // 60):
            meter = self._meters[fingerprint] = Meter(int(now // 60))
        meter.requests += 1
        meter.tokens += tokens
        return _headers(meter, reset=f"{60 - now % 60:.0f}s")


def _headers(meter: Meter, reset: str) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(REQUESTS_PER_MINUTE),
        "x-ratelimit-limit-tokens": str(TOKENS_PER_MINUTE),
        "x-ratelimit-remaining-requests": str(max(0, REQUESTS_PER_MINUTE - meter.requests)),
        "x-ratelimit-remaining-tokens": str(max(0, TOKENS_PER_MINUTE - meter.tokens)),
        "x-ratelimit-reset-requests": reset,
        "x-ratelimit-reset-tokens": reset,
    }


class CachedPrefixes:
    """Prompts of 1,024 tokens or more whose beginning this key and model saw before have 1,024 tokens cached."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str, int], None] = OrderedDict()

    def reset(self) -> None:
        self._seen.clear()

    def cached_tokens(self, fingerprint: str, model: str, prompt: str, tokens: int) -> int:
        if tokens < CACHEABLE_TOKENS or len(prompt) < PREFIX_CHARACTERS:
            return 0
        mark = (fingerprint, model, hash(prompt[:PREFIX_CHARACTERS]))
        known = mark in self._seen
        self._seen[mark] = None
        if len(self._seen) > PREFIXES_KEPT:
            self._seen.popitem(last=False)
        return CACHEABLE_TOKENS if known else 0
