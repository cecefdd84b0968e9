"""A control database of its own for tests that break the record, and the hands that break it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from django.core.management import call_command
from django.db import connections
from psycopg import sql

from audit.anchors import FileAnchor, carry
from audit.events import Event
from audit.findings import Report
from audit.seals import seal_once, seals_after
from audit.signing import Ed25519Signer, Seal
from audit.verification import Verifier
from audit.writer import Entry, record_with
from chatgrid.dev.services.bootstrap import APP, MAINTENANCE, OWNER, RETENTION, SEALER
from chatgrid.dev.services.postgres import SUPERUSER
from tests.stack import STACK


@dataclass
class Record:
    """One record: its database, who signs it, and its anchor."""

    database: str
    signer: Ed25519Signer
    anchor: FileAnchor

    def as_role(self, role: str) -> psycopg.Connection[Any]:
        return psycopg.connect(STACK.postgres.url(role, self.database), autocommit=True)

    def write(self, count: int = 1, **fields: Any) -> None:
        fields = {"event": Event.SIGNED_IN, "organization_id": uuid4(), "actor_name": "Mara"} | fields
        with self.as_role(APP) as connection:
            for _ in range(count):
                record_with(connection, Entry(**fields))

    def write_at(self, days_ago: int, count: int = 1, **fields: Any) -> None:
        """Events of the past, which only the owner of the database can write."""
        with self.as_role(OWNER) as connection:
            for _ in range(count):
                columns = {"event": "account:signed_in", "actor_name": "Mara", **fields}
                connection.execute(
                    sql.SQL(
                        "INSERT INTO audit_event (at, {}) VALUES (audit_now() - make_interval(days => {}), {})"
                    ).format(
                        sql.SQL(", ").join(map(sql.Identifier, columns)),
                        sql.Literal(days_ago),
                        sql.SQL(", ").join(map(sql.Literal, columns.values())),
                    )
                )

    def seal(self) -> list[Seal]:
        with self.as_role(SEALER) as connection:
            made = seal_once(connection, self.signer)
            carry(connection, [self.anchor], lambda after, limit: seals_after(connection, after, limit))
        return made

    def verify(self, **how: Any) -> Report:
        how = {"trusted": [self.signer.public_key], "anchors": [self.anchor]} | how
        with self.as_role(APP) as connection:
            return Verifier(connection, **how).verify()

    def tamper(self, *statements: str) -> None:
        """What somebody with full rights over the database can do: no trigger stands in their way."""
        with self.as_role(SUPERUSER) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement)

    def ask(self, query: str, role: str = SUPERUSER) -> Any:
        with self.as_role(role) as connection:
            row = connection.execute(query).fetchone()
        return row and row[0]

    def move_clock(self, days: int) -> None:
        """Let the database believe that it is `days` later than it is; negative: earlier."""
        with self.as_role(OWNER) as connection:
            connection.execute(
                "CREATE OR REPLACE FUNCTION audit_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
                f" 'SELECT clock_timestamp() + make_interval(days => {days})'"
            )
            connection.execute("ALTER TABLE audit_event ALTER COLUMN at SET DEFAULT audit_now()")


@contextmanager
def new_record(folder: Path) -> Iterator[Record]:
    """A record with nothing in it."""
    name = f"record_{secrets.token_hex(4)}"
    STACK.postgres.create_control_database(name)
    migrate(name)
    try:
        yield Record(name, Ed25519Signer(secrets.token_bytes(32)), FileAnchor(folder / "seals.jsonl"))
    finally:
        STACK.postgres.drop_database(name)


@contextmanager
def copy_of(record: Record, folder: Path) -> Iterator[Record]:
    """A record with the same contents, key and anchor, to be broken alone."""
    name = f"record_{secrets.token_hex(4)}"
    copy(record.database, name)
    if record.anchor.path.exists():
        shutil.copy(record.anchor.path, folder)
    try:
        yield Record(name, record.signer, FileAnchor(folder / record.anchor.path.name))
    finally:
        STACK.postgres.drop_database(name)


def migrate(name: str) -> None:
    """The record's tables, made by the owner as everywhere."""
    connections.settings["record_owner"] = {**connections.settings["owner"], "NAME": name}
    try:
        call_command("migrate", "audit", database="record_owner", verbosity=0)
    finally:
        connections["record_owner"].close()
        del connections["record_owner"]
        del connections.settings["record_owner"]


def copy(template: str, name: str) -> None:
    with psycopg.connect(STACK.postgres.url(SUPERUSER, MAINTENANCE), autocommit=True) as server:
        server.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*map(sql.Identifier, (name, template, OWNER)))
        )
        for role in (OWNER, APP, SEALER, RETENTION):
            server.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*map(sql.Identifier, (name, role))))
