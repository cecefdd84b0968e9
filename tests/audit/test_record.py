"""The record can be added to and read. Nothing else, by nobody."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest
from django.apps import apps
from psycopg import errors

from audit.database import connection
from audit.events import Event
from audit.grants import apply_grants
from audit.models import AuditEvent, AuditText
from audit.tasks import make_partitions
from audit.writer import Entry, KeptText, arecord, read_request, record, record_on
from chatgrid.dev.services.bootstrap import APP
from chatgrid.dev.services.bootstrap import OWNER as OWNER_ROLE
from tests.audit.places import migrate, new_record

APPLICATION, OWNER = "CHATGRID_DATABASE_URL", "CHATGRID_OWNER_DATABASE_URL"


def connected(role: str) -> psycopg.Connection[Any]:
    return psycopg.connect(os.environ[role], autocommit=True)


@pytest.fixture(scope="module")
def event_id() -> str:
    text = KeptText.of("What was asked?")
    entry = Entry(event=Event.CALL_REQUESTED, actor_name="Alice", query_hash=text.digest)
    record(entry, text)
    return str(entry.id)


def tables() -> list[str]:
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_event'::regclass"
    with connected(OWNER) as owner:
        return ["audit_event", *(row[0] for row in owner.execute(query).fetchall())]


CHANGES = ["UPDATE {} SET actor_name = 'Nobody'", "DELETE FROM {}", "TRUNCATE {}"]


@pytest.mark.parametrize("change", [*CHANGES, "DROP TABLE {}", "ALTER TABLE {} DISABLE TRIGGER ALL"])
def test_the_application_cannot_change_what_was_recorded(event_id: str, change: str) -> None:
    assert len(tables()) >= 6
    with connected(APPLICATION) as application:
        for table in tables():
            with pytest.raises(errors.InsufficientPrivilege):
                application.execute(change.format(table))
        row = application.execute("SELECT actor_name FROM audit_event WHERE id = %s", [event_id]).fetchone()
    assert row == ("Alice",)


@pytest.mark.parametrize("change", CHANGES)
def test_neither_can_the_owner_of_the_tables(event_id: str, change: str) -> None:
    with connected(OWNER) as owner:
        for table in tables():
            filled = owner.execute(f"SELECT count(*) FROM {table}").fetchone()
            if filled == (0,) and not change.startswith("TRUNCATE"):
                continue  # nothing there to change
            with pytest.raises(errors.InsufficientPrivilege, match="append-only"):
                owner.execute(change.format(table))


@pytest.mark.parametrize(
    "door",
    [
        "SET session_replication_role = replica",
        "SET ROLE chatgrid_owner",
        "CREATE OR REPLACE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "DROP TRIGGER audit_event_rows ON audit_event",
        "ALTER TABLE audit_event DETACH PARTITION audit_event_default",
        "CREATE TABLE shadow (id int)",
        "COPY audit_event TO PROGRAM 'true'",
        "UPDATE audit_text SET text = ''",
        "TRUNCATE audit_text",
    ],
)
def test_the_application_finds_no_other_door(event_id: str, door: str) -> None:
    with connected(APPLICATION) as application, pytest.raises(errors.InsufficientPrivilege):
        application.execute(door)


def test_nobody_writes_the_past(event_id: str) -> None:
    with connected(APPLICATION) as application:
        application.execute("INSERT INTO audit_event (event) VALUES ('account:signed_in')")
        with pytest.raises(errors.InsufficientPrivilege):
            application.execute("INSERT INTO audit_event (event, at) VALUES ('account:signed_in', '2020-01-01')")
        for partition in tables()[1:]:
            with pytest.raises(errors.InsufficientPrivilege):
                application.execute(f"INSERT INTO {partition} (event) VALUES ('account:signed_in')")


def test_the_text_of_a_question_can_be_erased_while_its_event_stands(event_id: str) -> None:
    assert AuditText.objects.filter(event_id=event_id).delete()[0] == 1
    assert AuditEvent.objects.filter(id=event_id).exists()


def test_migrating_again_grants_nothing_more(event_id: str) -> None:
    apply_grants(apps.get_app_config("audit"), using="owner")
    with connected(APPLICATION) as application, pytest.raises(errors.InsufficientPrivilege):
        application.execute("DELETE FROM audit_event")
    record(Entry(event=Event.SIGNED_IN))


# --- partitions ------------------------------------------------------------------------------------------------------


def test_partitions_can_be_made_again_and_by_many_at_once(event_id: str) -> None:
    def make(_: int) -> str:
        with connected(APPLICATION) as application:
            row = application.execute("SELECT audit_make_partition('2031-05-17')").fetchone()
            return str(row and row[0])

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(make, range(8))) == {"audit_event_2031_05"}
    make_partitions()
    before = tables()
    make_partitions()
    assert tables() == before


def test_a_partition_made_later_is_as_closed_as_the_first(event_id: str) -> None:
    with connected(APPLICATION) as application:
        application.execute("SELECT audit_make_partition('2031-06-01')")
        for change in (*CHANGES, "DROP TABLE {}", "SELECT * FROM {}"):
            with pytest.raises(errors.InsufficientPrivilege):
                application.execute(change.format("audit_event_2031_06"))


def test_a_month_that_nobody_made_ahead_takes_its_rows_out_of_the_default_partition(tmp_path: Path) -> None:
    """The worker stood still for months, or a laptop was off: what was written meanwhile is sealed and stays."""
    with new_record(tmp_path) as held:
        for days_ago in (200, 100):
            held.write_at(days_ago, 3)
        held.write()
        held.seal()
        held.write_at(100)  # waits for its seal while its month is made
        assert held.ask("SELECT count(*) FROM audit_event_default") == 7
        with held.as_role(APP) as application:
            late = [day for (day,) in application.execute("SELECT audit_late_months()").fetchall()]
            assert len(late) == 2
            for day in late:
                application.execute("SELECT audit_make_partition(%s), audit_make_leaf_partition(%s)", [day, day])
            assert application.execute("SELECT audit_late_months()").fetchall() == []
        assert held.ask(f"SELECT count(*) FROM audit_event_{late[1]:%Y_%m}") == 4
        assert held.ask(f"SELECT count(*) FROM audit_leaf_{late[0]:%Y_%m}") == 3
        held.seal()
        assert held.verify().faults == []
        held.write_at(400)  # and what comes into the default partition from now on is as safe as before
        with held.as_role(OWNER_ROLE) as owner:
            for table in ("audit_event_default", f"audit_event_{late[0]:%Y_%m}", "audit_event"):
                for change in CHANGES:
                    with pytest.raises(errors.InsufficientPrivilege, match="append-only"):
                        owner.execute(change.format(table))


def test_every_month_has_every_index_also_one_that_is_made_later(event_id: str) -> None:
    query = (
        "SELECT p.relname, count(*) FROM pg_inherits m JOIN pg_class p ON p.oid = m.inhrelid"
        " JOIN pg_index i ON i.indrelid = p.oid AND i.indisvalid WHERE m.inhparent = 'audit_event'::regclass GROUP BY 1"
    )
    with connected(OWNER) as owner:
        owner.execute("SELECT audit_make_partition('2031-05-01')")
        months = dict(owner.execute(query).fetchall())
        whole = owner.execute(
            "SELECT count(*) FILTER (WHERE indisvalid), count(*) FROM pg_index WHERE indrelid = 'audit_event'::regclass"
        ).fetchone()
    assert whole == (8, 8)
    assert set(months.values()) == {8}, months
    assert "audit_event_2031_05" in months


def test_an_index_that_was_broken_off_is_made_again(tmp_path: Path) -> None:
    """`migrate` was killed while it made one beside the writers: what is left is an index that nobody may use."""
    with new_record(tmp_path) as held:
        held.tamper(
            "DROP INDEX audit_event_by_model",
            "CREATE INDEX audit_event_default_by_model ON audit_event_default (organization_id)",
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'audit_event_default_by_model'::regclass",
            "DELETE FROM django_migrations WHERE name IN ('0009_by_model', '0010_late_months')",
            "ALTER INDEX audit_event_default_by_model OWNER TO chatgrid_owner",
        )
        migrate(held.database)
        assert held.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 'audit_event_by_model'::regclass")


def test_a_month_begins_and_ends_in_utc(event_id: str) -> None:
    with connected(OWNER) as owner:
        for moment, table in (
            ("2031-05-31 23:59:59.999999+00", "audit_event_2031_05"),
            ("2031-06-01 00:00:00+00", "audit_event_2031_06"),
            ("2031-06-01 01:30:00+02", "audit_event_2031_05"),
        ):
            owner.execute("SELECT audit_make_partition('2031-05-01'), audit_make_partition('2031-06-01')")
            query = "INSERT INTO audit_event (event, at) VALUES ('test', %s) RETURNING tableoid::regclass::text"
            assert owner.execute(query, [moment]).fetchone() == (table,)


def test_making_a_partition_does_not_wait_behind_a_long_reading(event_id: str) -> None:
    """An export holds the table; whoever waited behind it for the lock would hold up every call."""
    with psycopg.connect(os.environ[OWNER]) as export, connected(APPLICATION) as application:
        export.execute("SELECT count(*) FROM audit_event")
        with pytest.raises(errors.LockNotAvailable):
            application.execute("SELECT audit_make_partition('2032-01-01')")
        record(Entry(event=Event.SIGNED_IN))


# --- nothing is lost -------------------------------------------------------------------------------------------------

UNSTORABLE = "nul \x00, half a character \ud83d, escape \x1b[2J, line\u2028end"


async def test_no_event_is_lost_for_what_is_in_it() -> None:
    details = {
        "text": UNSTORABLE,
        UNSTORABLE: [UNSTORABLE, {"deep": (UNSTORABLE,)}],
        "figures": [1, 2.5, float("nan"), float("inf"), Decimal("1.10"), None, True, 10**400, -(10**9_000)],
        "moment": datetime(2026, 11, 23, tzinfo=UTC),
        "id": uuid4(),
    }
    entry = Entry(
        event=Event.CALL_REQUESTED,
        call_id=uuid4(),
        actor_name=UNSTORABLE,
        model_asked=UNSTORABLE,
        passages=[UNSTORABLE],
        labels=[UNSTORABLE],
        details=details,
        outcome=UNSTORABLE[:20],
    )
    text = KeptText.of(UNSTORABLE)
    record(entry)
    async with connection() as held, held.transaction():
        again = Entry(**{**entry.__dict__, "id": uuid4(), "query_hash": text.digest})
        await record_on(held, again, text)
        assert await read_request(held, entry.call_id) is not None  # type: ignore[arg-type]
    written = AuditEvent.objects.get(id=again.id)
    assert written.actor_name == written.labels[0] == written.details["text"]
    assert "nul \ufffd" in written.actor_name
    assert orjson.loads(json.dumps(written.details))["figures"][-2] == hex(10**400)
    kept = AuditText.objects.get(event_id=again.id)
    assert kept.text == text.text
    assert KeptText(bytes(kept.salt), kept.text).digest == text.digest


async def test_two_equal_questions_have_different_hashes() -> None:
    assert KeptText.of("Who earns most?").digest != KeptText.of("Who earns most?").digest


async def test_many_events_at_once_are_all_there() -> None:
    call = uuid4()
    await asyncio.gather(*(arecord(Entry(event=Event.SIGNED_IN, call_id=call)) for _ in range(200)))
    assert AuditEvent.objects.filter(call_id=call).count() == 200


async def test_what_was_written_is_read_back_as_it_was() -> None:
    entry = Entry(
        event=Event.CALL_REQUESTED, call_id=uuid4(), organization_id=uuid4(), cost=Decimal("0.00000001"), tokens_input=5
    )
    await arecord(entry)
    async with connection() as held:
        back = await read_request(held, entry.call_id)  # type: ignore[arg-type]
    assert back is not None
    assert (back.id, back.cost, back.tokens_input, back.event) == (entry.id, entry.cost, 5, Event.CALL_REQUESTED)
