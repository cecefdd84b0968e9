"""What of an event is sealed, byte by byte.

Rules:
- A leaf covers every column of an event, in the order of `FIELDS`, after a tag with the version: each field is its
  length in bytes (32 bits, big-endian, -1 for NULL) and its bytes, so no two events share an encoding.
- `FIELDS` of a version never change. A new column means a new version, which the seals made from then on name.
- The bytes of a field: `uuid` its 16; `time` microseconds since 2000-01-01 UTC and `int8`, `int4` the number, all
  big-endian and signed; `bool` one byte; `text` UTF-8; `decimal` and `json` UTF-8 of the text PostgreSQL shows.
- These are the bytes of PostgreSQL's binary COPY, so a row goes from the server to the hash without being taken apart.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import Connection, sql

from audit.merkle import leaf_hash

VERSION = 1
TAG = b"chatgrid.audit.leaf.v1\x00"
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

FIELDS: Mapping[str, str] = {
    "id": "uuid",
    "at": "time",
    "event": "text",
    "call_id": "uuid",
    "organization_id": "uuid",
    "organization_name": "text",
    "department_id": "uuid",
    "department_name": "text",
    "actor_id": "uuid",
    "actor_name": "text",
    "client_address": "text",
    "subject_kind": "text",
    "subject_id": "text",
    "purpose": "text",
    "model_asked": "text",
    "model_answered": "text",
    "query_hash": "text",
    "passages": "json",
    "tokens_input": "int8",
    "tokens_cached": "int8",
    "tokens_output": "int8",
    "tokens_reasoning": "int8",
    "tokens_estimated": "bool",
    "cost": "decimal",
    "outcome": "text",
    "first_token_ms": "int4",
    "total_ms": "int4",
    "provider_request_id": "text",
    "key_fingerprint": "text",
    "key_version": "text",
    "labels": "json",
    "details": "json",
}

_AS_TEXT = {"json", "decimal"}
COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_TRAILER = b"\xff\xff"
ABSENT = b"\xff\xff\xff\xff"
# where the first two fields lie in a row of COPY, after the number of columns and their lengths
ID, AT = slice(6, 22), slice(26, 34)


def columns(alias: str) -> sql.Composed:
    """The sealed columns of table alias `alias`, each in the form whose bytes are sealed."""
    return sql.SQL(", ").join(_column(alias, name, kind) for name, kind in FIELDS.items())


def _column(alias: str, name: str, kind: str) -> sql.Composed:
    cast = sql.SQL("::text") if kind in _AS_TEXT else sql.SQL("")
    return sql.Identifier(alias, name) + cast


def copy_rows(connection: Connection[Any], query: sql.Composed) -> Iterator[bytes]:
    """The rows of a query as PostgreSQL's binary COPY sends them: the number of columns (16 bits), then the fields."""
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query)) as copy,
    ):
        for data in copy:
            row = bytes(data)
            row = row.removeprefix(COPY_HEADER)
            if row and row != COPY_TRAILER:  # one message a row, says the protocol; the header rides on the first
                yield row


def leaf_of_row(row: bytes, tail: int = 0) -> bytes:
    """The leaf of a COPY row that begins with `columns`; the last `tail` bytes belong to other columns."""
    return leaf_hash(TAG + row[2 : len(row) - tail])


def leaf_of(event: Mapping[str, Any]) -> bytes:
    """The leaf of an event given as Python values; JSON fields as the text PostgreSQL shows."""
    return leaf_hash(TAG + b"".join(_field(kind, event[name]) for name, kind in FIELDS.items()))


def time_of(data: bytes) -> int:
    """Microseconds since 2000-01-01 UTC of a `time` field."""
    return int.from_bytes(data, "big", signed=True)


def microseconds(moment: datetime) -> int:
    """The same of a Python time, without a float on the way."""
    passed = moment - EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def _field(kind: str, value: Any) -> bytes:
    if value is None:
        return ABSENT
    data = _bytes(kind, value)
    return struct.pack(">i", len(data)) + data


def _bytes(kind: str, value: Any) -> bytes:
    match kind, value:
        case "uuid", UUID():
            return value.bytes
        case "time", datetime():
            return struct.pack(">q", microseconds(value))
        case "int8", int():
            return struct.pack(">q", value)
        case "int4", int():
            return struct.pack(">i", value)
        case "bool", bool():
            return b"\x01" if value else b"\x00"
        case "decimal", Decimal():
            return f"{value:.8f}".encode()
        case (("text" | "json" | "decimal"), str()):
            return value.encode()
    raise TypeError(f"a field of kind {kind} cannot hold a {type(value).__name__}")
