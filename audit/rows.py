"""Sealed events as JSON lines, as exports and archives hold them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import Connection, sql

from audit.leaves import FIELDS, copy_rows

ISO = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
JOINED = sql.SQL("audit_leaf l JOIN audit_event e ON e.id = l.event_id AND e.at = l.at")


def sealed_event(connection: Connection[Any], condition: sql.Composable) -> Iterator[bytes]:
    """Sealed events as JSON lines without their newline, by number; `condition` speaks of `e` and `l`.

    Each line begins with the event's number and its seal: {"seq":12,"seal":3,"id":"…
    """
    inner = sql.SQL("SELECT l.seq, l.seal, {} FROM {} WHERE {} ORDER BY l.seq").format(
        sql.SQL(", ").join(map(_column, FIELDS)), JOINED, condition
    )
    for row in copy_rows(connection, sql.SQL("SELECT to_json(r)::text FROM ({}) r").format(inner)):
        yield row[6:]


def _column(name: str) -> sql.Composed:
    column = sql.Identifier("e", name)
    shown = sql.SQL(ISO).format(column) if name == "at" else sql.Composed([column])
    return sql.SQL("{} AS {}").format(shown, sql.Identifier(name))
