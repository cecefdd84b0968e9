"""The one way into the record.

`record` writes from synchronous code in Django's current transaction; `record_on` writes on an asynchronous connection
in that connection's transaction; `arecord` takes a connection of its own. All three take an `Entry` and raise where
it cannot be written: whoever wanted to act must not act.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.db import connection as django_connection
from psycopg import Connection as SynchronousConnection
from psycopg import sql
from psycopg.types.json import Jsonb

from audit.database import Connection, connection
from audit.events import CRITICAL, Event, Outcome


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event before it is written: the columns of `audit_event`, plus the text that is kept apart.

    `id` is chosen here, so that the event's id can travel to the provider before the row is read back.
    """

    event: Event
    id: UUID = field(default_factory=uuid4)
    call_id: UUID | None = None
    organization_id: UUID | None = None
    organization_name: str = ""
    department_id: UUID | None = None
    department_name: str = ""
    actor_id: UUID | None = None
    actor_name: str = ""
    client_address: str = ""
    subject_kind: str = ""
    subject_id: str = ""
    purpose: str = ""
    model_asked: str = ""
    model_answered: str = ""
    query_hash: str = ""
    passages: Sequence[str] = ()
    tokens_input: int | None = None
    tokens_cached: int | None = None
    tokens_output: int | None = None
    tokens_reasoning: int | None = None
    tokens_estimated: bool = False
    cost: Decimal | None = None
    outcome: Outcome | str = ""
    first_token_ms: int | None = None
    total_ms: int | None = None
    provider_request_id: str = ""
    key_fingerprint: str = ""
    key_version: str = ""
    labels: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class KeptText:
    """A question's text with its salt, to be written beside its event; `digest` goes into the event."""

    salt: bytes
    text: str

    @classmethod
    def of(cls, text: str) -> KeptText:
        return cls(secrets.token_bytes(16), _storable(text))

    @property
    def digest(self) -> str:
        """SHA-256 over salt and UTF-8 text, hex."""
        return hashlib.sha256(self.salt + self.text.encode()).hexdigest()


LARGEST = 1_000  # bits of a number: what no double holds, hardly any reader of JSON takes

# every column but `at`, which is the database's clock and nobody's to choose
COLUMNS = tuple(column.name for column in fields(Entry))
_JSON = {"passages", "labels", "details"}
TYPES = {
    **dict.fromkeys(("id", "call_id", "organization_id", "department_id", "actor_id"), "uuid"),
    **dict.fromkeys(("tokens_input", "tokens_cached", "tokens_output", "tokens_reasoning"), "bigint"),
    **dict.fromkeys(("first_token_ms", "total_ms"), "integer"),
    **dict.fromkeys(_JSON, "jsonb"),
    "tokens_estimated": "boolean",
    "cost": "numeric",
}
"""What a parameter has to be told where it is no value of its own column; text is not named."""

_INSERT_EVENT = (
    sql.SQL("INSERT INTO audit_event ({columns}) VALUES ({values})")
    .format(
        columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
        values=sql.SQL(", ").join(sql.Placeholder() * len(COLUMNS)),
    )
    .as_string()
)
_READ_REQUEST = (
    sql.SQL("SELECT {columns} FROM audit_event WHERE call_id = %s AND event = %s")
    .format(columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)))
    .as_string()
)
_INSERT_TEXT = "INSERT INTO audit_text (event_id, salt, text) VALUES (%s, %s, %s)"
# heard when the transaction commits, never before: the sealer finds what it is woken for
_WAKE_SEALER = "NOTIFY audit_critical"


def record(entry: Entry, text: KeptText | None = None) -> None:
    """Write one event from synchronous code."""
    with django_connection.cursor() as cursor:
        cursor.execute(_INSERT_EVENT, _values(entry))
        if text is not None:
            cursor.execute(_INSERT_TEXT, [entry.id, text.salt, text.text])
        if entry.event in CRITICAL:
            cursor.execute(_WAKE_SEALER)


def record_with(held: SynchronousConnection[Any], entry: Entry) -> None:
    """Write one event on a connection of another role: the sealer's, the retention's."""
    held.execute(_INSERT_EVENT, _values(entry))
    if entry.event in CRITICAL:
        held.execute(_WAKE_SEALER)


async def record_on(held: Connection, entry: Entry, text: KeptText | None = None) -> None:
    """Write one event in the transaction of `held`."""
    await held.execute(_INSERT_EVENT, _values(entry))
    if text is not None:
        await held.execute(_INSERT_TEXT, [entry.id, text.salt, text.text])
    if entry.event in CRITICAL:
        await held.execute(_WAKE_SEALER)


async def arecord(entry: Entry) -> None:
    """Write one event on a connection of its own."""
    async with connection() as held:
        await record_on(held, entry)


async def read_request(held: Connection, call_id: UUID) -> Entry | None:
    """The request event of a call, as it was written."""
    cursor = await held.execute(_READ_REQUEST, [call_id, Event.CALL_REQUESTED])
    row = await cursor.fetchone()
    return None if row is None else Entry(**dict(zip(COLUMNS, row, strict=True)))


def insert_from(source: str, chosen: Mapping[str, str]) -> str:
    """SQL that writes one event for each row of `source`, as a part of a larger statement: the event and what it is
    about then share one round trip.

    `chosen` gives an expression instead of a plain parameter for some columns; `parameters_from` gives the parameters.
    """
    values = [chosen.get(name, f"%s::{TYPES.get(name, 'text')}") for name in COLUMNS]
    return f"INSERT INTO audit_event ({', '.join(COLUMNS)}) SELECT {', '.join(values)} FROM {source}"  # noqa: S608


def parameters_from(entry: Entry, chosen: Mapping[str, Sequence[Any]]) -> list[Any]:
    """The parameters of `insert_from`, in order; `chosen` names those of the expressions."""
    plain = {name: [value] for name, value in zip(COLUMNS, _values(entry), strict=True)}
    return [value for name in COLUMNS for value in chosen.get(name, plain[name])]


def _values(entry: Entry) -> list[Any]:
    return [_adapt(name, getattr(entry, name)) for name in COLUMNS]


def _adapt(name: str, value: Any) -> Any:
    if name in _JSON:
        return Jsonb(_storable_json(value))
    # an enum member is written as its plain text
    return _storable(str(value)) if isinstance(value, str) else value


def _storable_json(value: Any) -> Any:
    """The same for values inside JSON; what JSON does not know is written as its text."""
    if isinstance(value, Mapping):
        return {_storable(str(name)): _storable_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_storable_json(each) for each in value]
    if isinstance(value, int) and value.bit_length() > LARGEST:
        return hex(value)
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _storable(str(value))


def _storable(text: str) -> str:
    """PostgreSQL refuses NUL and UTF-8 refuses lone surrogates; an event is never lost for either."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
