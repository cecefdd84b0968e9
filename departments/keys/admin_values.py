"""What the Admin API tells us, as plain values: frozen, with aware datetimes in UTC, and keys as `Secret` only."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from departments.keys.secret import Secret

_TAIL = re.compile(r"[A-Za-z0-9_-]{4}\Z")


@dataclass(frozen=True)
class Project:
    """A project at OpenAI; an archived one is closed for ever."""

    id: str
    name: str
    active: bool
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True)
class ServiceAccount:
    id: str
    name: str
    role: str  # owner | member | none
    created_at: datetime


@dataclass(frozen=True)
class NewKey:
    """A key that was just made: the only time its value is told."""

    id: str
    name: str
    value: Secret
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True)
class ApiKey:
    """A key as it is listed. Nothing of its value can be read here; `matches` compares."""

    id: str
    name: str
    owner_kind: str  # service_account | user | ""
    owner_id: str
    owner_active: bool
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    _tail: str = field(default="", repr=False)

    def matches(self, secret: Secret) -> bool:
        """Whether the secret ends as this key does. Four characters: enough to tell the keys of one project apart."""
        return self.shows_its_end and secret.reveal().endswith(self._tail)

    @property
    def shows_its_end(self) -> bool:
        """Whether the list tells how the key ends, so that `matches` means something."""
        return bool(self._tail)


@dataclass(frozen=True)
class AdminKey:
    """An admin key as it is listed; `matches` compares."""

    id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    _tail: str = field(default="", repr=False)

    def matches(self, secret: Secret) -> bool:
        """Whether the secret ends as this key does."""
        return bool(self._tail) and secret.reveal().endswith(self._tail)


@dataclass(frozen=True)
class ModelPermissions:
    mode: str  # allow_list | deny_list
    models: frozenset[str]


@dataclass(frozen=True)
class SpendLimit:
    """A month's hard limit. `cents` are US cents; `enforcing` is whether calls are being refused now."""

    cents: int
    enforcing: bool


@dataclass(frozen=True)
class SpendAlert:
    id: str
    cents: int
    recipients: tuple[str, ...]
    subject_prefix: str


@dataclass(frozen=True)
class RateLimit:
    """What a project may ask of one model in a minute."""

    id: str
    model: str
    requests_per_minute: int
    tokens_per_minute: int


@dataclass(frozen=True)
class Usage:
    """What one key used of one model between `start` and `end` (exclusive). Input tokens include cached ones."""

    start: datetime
    end: datetime
    kind: str  # completions | embeddings
    project_id: str
    key_id: str
    model: str
    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Cost:
    """What a key is billed for one day; a line item reads such as "gpt-6-luna, input_tokens"."""

    start: datetime
    end: datetime
    project_id: str
    key_id: str
    line_item: str
    amount: Decimal
    currency: str


@dataclass(frozen=True)
class LogEvent:
    """A line of OpenAI's own audit log. `actor_id` is a key's id or a person's e-mail address at OpenAI."""

    id: str
    at: datetime
    type: str
    project_id: str
    actor_kind: str  # api_key | session | ""
    actor_id: str
    address: str
    subject_id: str


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def moment_or_none(seconds: int | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


def project_of(answer: Any) -> Project:
    return Project(
        id=text_of(answer.id),
        name=answer.name or "",
        active=answer.status != "archived",
        created_at=moment(answer.created_at),
        archived_at=moment_or_none(answer.archived_at),
    )


def account_of(answer: Any) -> ServiceAccount:
    return ServiceAccount(text_of(answer.id), answer.name, answer.role, moment(answer.created_at))


def new_key_of(answer: Any) -> NewKey:
    return NewKey(
        id=text_of(answer.id),
        name=answer.name or "",
        value=Secret(text_of(answer.value)),
        created_at=moment(answer.created_at),
        expires_at=moment_or_none(answer.expires_at),
    )


def key_of(answer: Any) -> ApiKey:
    owner = answer.owner.service_account or answer.owner.user
    tail = _TAIL.search(answer.redacted_value or "")
    return ApiKey(
        id=text_of(answer.id),
        name=answer.name or "",
        owner_kind=answer.owner.type or "",
        owner_id=owner.id if owner else "",
        owner_active=answer.owner_project_access != "inactive",
        created_at=moment(answer.created_at),
        last_used_at=moment_or_none(answer.last_used_at),
        expires_at=moment_or_none(answer.expires_at),
        _tail=tail[0] if tail else "",
    )


def admin_key_of(answer: Any) -> AdminKey:
    tail = _TAIL.search(answer.redacted_value or "")
    return AdminKey(
        id=text_of(answer.id),
        name=answer.name or "",
        created_at=moment(answer.created_at),
        last_used_at=moment_or_none(answer.last_used_at),
        expires_at=moment_or_none(answer.expires_at),
        _tail=tail[0] if tail else "",
    )


def alert_of(answer: Any) -> SpendAlert:
    channel = answer.notification_channel
    return SpendAlert(
        text_of(answer.id), int(answer.threshold_amount), tuple(channel.recipients), channel.subject_prefix or ""
    )


def rate_limit_of(answer: Any) -> RateLimit:
    return RateLimit(
        text_of(answer.id), answer.model, int(answer.max_requests_per_1_minute), int(answer.max_tokens_per_1_minute)
    )


def usage_of(bucket: Any, row: Any, kind: str) -> Usage:
    return Usage(
        start=moment(bucket.start_time),
        end=moment(bucket.end_time),
        kind=kind,
        project_id=row.project_id or "",
        key_id=row.api_key_id or "",
        model=row.model or "",
        requests=row.num_model_requests,
        input_tokens=row.input_tokens,
        cached_tokens=getattr(row, "input_cached_tokens", None) or 0,
        output_tokens=getattr(row, "output_tokens", None) or 0,
    )


def cost_of(bucket: Any, row: Any) -> Cost:
    return Cost(
        start=moment(bucket.start_time),
        end=moment(bucket.end_time),
        project_id=row.project_id or "",
        key_id=row.api_key_id or "",
        line_item=row.line_item or "",
        amount=Decimal(str(row.amount.value)),
        currency=(row.amount.currency or "").upper(),
    )


def log_event_of(answer: Any) -> LogEvent:
    """The subject is under the event type's own name, such as `api_key.created` with an `id` in it.

    OpenAI adds types as it likes: one that holds something else there has no subject.
    """
    details = (answer.to_dict() or {}).get(answer.type)
    kind, actor_id, address = _actor_of(answer.actor)
    return LogEvent(
        id=text_of(answer.id),
        at=moment(answer.effective_at),
        type=answer.type or "",
        project_id=(answer.project.id or "") if answer.project else "",
        actor_kind=kind,
        actor_id=actor_id,
        address=address,
        subject_id=str(details.get("id") or "") if isinstance(details, dict) else "",
    )


def _actor_of(actor: Any) -> tuple[str, str, str]:
    """Kind, id and network address of who did it."""
    if actor and actor.session:
        person = actor.session.user
        return "session", (person.email or person.id or "") if person else "", actor.session.ip_address or ""
    if actor and actor.api_key:
        return "api_key", actor.api_key.id or "", ""
    return "", "", ""


def text_of(value: Any) -> str:
    """A field without which the answer is none. ValueError where it is missing."""
    if not isinstance(value, str) or not value:
        raise ValueError("a field is missing")
    return value
