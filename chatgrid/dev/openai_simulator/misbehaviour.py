"""What the simulator can be ordered to do wrong, for one key or all, for some requests or until told.

- An order with `times` waits in a queue and is used up; one without is standing, until the next standing one.
- A key's own orders come before everybody's, and the queue before the standing order.
- An order meets only requests it can mean something for: a broken event line needs a stream, an echo needs a chat.
- Unknown kinds and options are refused, since a misspelt order would let a test pass for the wrong reason.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chatgrid.dev.openai_simulator.errors import ApiError, invalid

Option = TypeVar("Option", bound=enum.Enum)


class Endpoint(enum.Enum):
    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    MODERATIONS = "moderations"
    MODELS = "models"


class Kind(enum.Enum):
    RATE_LIMITED = "rate_limited"
    SPEND_LIMIT = "spend_limit"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    ERROR = "error"
    SLOW = "slow"
    SILENT = "silent"
    CUT = "cut"
    MALFORMED = "malformed"
    NO_USAGE = "no_usage"
    ERROR_EVENT = "error_event"
    ODD_USAGE = "odd_usage"
    CRLF = "crlf"
    SPLIT_BYTES = "split_bytes"
    ECHO = "echo"
    SCRIPTED = "scripted"
    LONG = "long"


ERRORS: dict[Kind, dict[str, Any]] = {
    Kind.RATE_LIMITED: {
        "status": 429,
        "code": "rate_limit_exceeded",
        "type": "tokens",
        "message": "Rate limit reached for this model on tokens per minute. Try again later.",
    },
    Kind.SPEND_LIMIT: {
        "status": 429,
        "code": "project_spend_limit_exceeded",
        "type": "insufficient_quota",
        "message": "The project has reached its spend limit for this month.",
    },
    Kind.UNAUTHORIZED: {"status": 401, "code": "invalid_api_key", "message": "Incorrect API key provided."},
    Kind.FORBIDDEN: {
        "status": 403,
        "code": "missing_scope",
        "message": "You have insufficient permissions for this operation. Missing scopes: model.request.",
    },
    Kind.SERVER_ERROR: {
        "status": 500,
        "code": "server_error",
        "type": "server_error",
        "message": "The server had an error while processing your request.",
    },
    Kind.OVERLOADED: {
        "status": 503,
        "code": "server_is_overloaded",
        "type": "service_unavailable_error",
        "message": "The servers are overloaded at the moment. Try again later.",
    },
    Kind.ERROR: {"status": 400, "code": None, "message": "The request was refused."},
}
STREAM_ONLY = {Kind.ERROR_EVENT, Kind.ODD_USAGE, Kind.CRLF, Kind.SPLIT_BYTES}
CHAT_ONLY = STREAM_ONLY | {Kind.CUT, Kind.MALFORMED, Kind.NO_USAGE, Kind.ECHO, Kind.SCRIPTED, Kind.LONG}

ERROR_OPTIONS = {"status", "code", "type", "message", "param", "retry_after"}
CHAT_OPTIONS = {"text", "chunks", "reasoning_tokens", "cache_write_tokens", "first_token_ms", "tokens_per_second"}
OWN_OPTIONS: dict[Kind, set[str]] = {
    Kind.SLOW: {"first_byte_ms", "between_ms"},
    Kind.SILENT: {"headers"},
    Kind.CUT: {"after_chunks"},
    Kind.MALFORMED: {"after_chunks"},
    Kind.ERROR_EVENT: {"after_chunks", "code", "type", "message"},
    Kind.SPLIT_BYTES: {"sizes"},
}


@dataclass
class Behaviour:
    """One order: `times` is how many requests are left (None: standing), `endpoint` narrows it to one route."""

    kind: Kind
    times: int | None = None
    endpoint: Endpoint | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def meets(self, endpoint: Endpoint, *, streams: bool) -> bool:
        if self.endpoint not in (None, endpoint):
            return False
        if self.kind in STREAM_ONLY and not streams:
            return False
        return self.kind not in CHAT_ONLY or endpoint is Endpoint.CHAT

    def listing(self) -> dict[str, Any]:
        endpoint = self.endpoint.value if self.endpoint else None
        return {"kind": self.kind.value, "times": self.times, "endpoint": endpoint, "options": self.options}


@dataclass
class _Queue:
    limited: deque[Behaviour] = field(default_factory=deque)
    standing: Behaviour | None = None

    def listing(self) -> list[dict[str, Any]]:
        return [behaviour.listing() for behaviour in (*self.limited, self.standing) if behaviour]


class Orders:
    """The orders of every key, by fingerprint; None holds those for all keys."""

    def __init__(self) -> None:
        self._queues: dict[str | None, _Queue] = {}

    def give(self, fingerprint: str | None, behaviour: Behaviour) -> None:
        queue = self._queues.setdefault(fingerprint, _Queue())
        if behaviour.times is None:
            queue.standing = behaviour
        else:
            queue.limited.append(behaviour)

    def take(self, fingerprint: str, endpoint: Endpoint, *, streams: bool) -> Behaviour | None:
        """The order this request has to obey, used up by one."""
        for queue in (self._queues.get(fingerprint), self._queues.get(None)):
            behaviour = _first_met(queue, endpoint, streams) if queue else None
            if queue and behaviour:
                _use_up(queue, behaviour)
                return behaviour
        return None

    def reset(self) -> None:
        self._queues.clear()

    def reset_key(self, fingerprint: str) -> None:
        self._queues.pop(fingerprint, None)

    def listing(self) -> dict[str, Any]:
        return {fingerprint or "all": queue.listing() for fingerprint, queue in self._queues.items()}


def _first_met(queue: _Queue, endpoint: Endpoint, streams: bool) -> Behaviour | None:
    candidates = (*queue.limited, queue.standing)
    return next((one for one in candidates if one and one.meets(endpoint, streams=streams)), None)


def _use_up(queue: _Queue, behaviour: Behaviour) -> None:
    if behaviour.times is None:
        return
    behaviour.times -= 1
    if behaviour.times <= 0:
        queue.limited.remove(behaviour)


def read_order(order: dict[str, Any]) -> Behaviour:
    """A behaviour from the body of a control request, or a 400 that names what is not understood."""
    _refuse_unknown(set(order) - {"key", "kind", "times", "endpoint", "options"}, "fields")
    kind = _member(Kind, order.get("kind"), "kind")
    endpoint = _member(Endpoint, order["endpoint"], "endpoint") if order.get("endpoint") else None
    options = order.get("options") or {}
    _refuse_unknown(set(options) - _known_options(kind), f"options of {kind.value}")
    times = order.get("times")
    if times is not None and (not isinstance(times, int) or times < 1):
        raise invalid("`times` is how many requests to meet: a whole number above 0, or null for all.", "times")
    return Behaviour(kind, times, endpoint, options)


def refusal(behaviour: Behaviour | None, masked_key: str) -> ApiError | None:
    """The error this order stands for, if it stands for one."""
    if behaviour is None or behaviour.kind not in ERRORS:
        return None
    said = {**ERRORS[behaviour.kind], **behaviour.options}
    retry_after = said.pop("retry_after", None)
    if behaviour.kind is Kind.UNAUTHORIZED and "message" not in behaviour.options:
        said["message"] = f"Incorrect API key provided: {masked_key}."
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return ApiError(said.pop("status"), said.pop("message"), headers=headers, **said)


def _known_options(kind: Kind) -> set[str]:
    if kind in ERRORS:
        return ERROR_OPTIONS
    return OWN_OPTIONS.get(kind, set()) | CHAT_OPTIONS


def _refuse_unknown(names: set[str], what: str) -> None:
    if names:
        raise invalid(f"Unknown {what}: {', '.join(sorted(names))}.", min(names))


def _member(options: type[Option], value: object, param: str) -> Option:
    try:
        return options(value)
    except ValueError:
        known = ", ".join(str(option.value) for option in options)
        raise invalid(f"`{param}` must be one of: {known}.", param) from None
