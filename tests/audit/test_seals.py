"""Events are sealed: all of them, once, in a chain that verifies."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from audit import seals
from audit.events import Event
from audit.findings import Kind
from audit.sealer import Sealer
from audit.seals import KeyRolled, roll_key, seal_once
from audit.signing import Ed25519Signer
from chatgrid.dev.services.bootstrap import APP, OWNER, SEALER
from tests.audit.places import Record, copy_of, new_record


@pytest.fixture(scope="module")
def module_record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """Only looked at; `record` is a copy that a test may change."""
    with new_record(tmp_path_factory.mktemp("record")) as record:
        record.seal()
        yield record


@pytest.fixture(scope="module")
def filled(module_record: Record, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """A row in every table; for tests whose every change is refused."""
    with copy_of(module_record, tmp_path_factory.mktemp("filled")) as record:
        record.write()
        with record.as_role(SEALER) as connection:
            roll_key(connection, record.signer, secrets.token_bytes(32))
        yield record


@pytest.fixture
def record(module_record: Record, tmp_path: Path) -> Iterator[Record]:
    with copy_of(module_record, tmp_path) as copied:
        yield copied


def test_every_event_is_sealed_and_the_record_verifies(record: Record) -> None:
    record.write(5)
    (seal,) = record.seal()
    report = record.verify()
    assert (seal.n, seal.count) == (2, 5)
    assert report.findings == []
    assert (report.seals, report.events) == (2, 5)


def test_an_empty_minute_has_a_seal_too(record: Record) -> None:
    (seal,) = record.seal()
    assert seal.count == 0
    assert record.verify().findings == []


def test_many_events_make_several_seals_in_one_pass(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "BATCH", 10)
    record.write(25)
    assert [seal.count for seal in record.seal()] == [10, 10, 5]
    assert record.verify().findings == []


def test_one_seal_holds_events_of_one_month(record: Record) -> None:
    record.write_at(40)
    record.write()
    assert [seal.count for seal in record.seal()] == [1, 1]
    assert record.verify().faults == []


def test_a_late_commit_is_sealed_and_reported(record: Record) -> None:
    with record.as_role(OWNER) as connection:
        connection.execute(
            "INSERT INTO audit_event (event, at) VALUES ('account:signed_in', clock_timestamp() - interval '2 hours')"
        )
    record.seal()
    report = record.verify()
    assert report.faults == []
    assert [(each.kind, each.seal) for each in report.findings] == [(Kind.LATE, 2)]
    assert "while seals were made" in report.findings[0].words


def test_a_late_commit_beyond_the_window_waits_for_the_sweep(record: Record) -> None:
    with record.as_role(OWNER) as connection:
        connection.execute(
            "INSERT INTO audit_event (event, at) VALUES ('account:signed_in', clock_timestamp() - interval '2 hours')"
        )
    with record.as_role(SEALER) as connection:
        assert [seal.count for seal in seal_once(connection, record.signer, sweep=False)] == [0]
        assert [seal.count for seal in seal_once(connection, record.signer, sweep=True)] == [1]


def test_a_new_key_is_announced_by_the_old_one(record: Record) -> None:
    old, new = record.signer, Ed25519Signer(secrets.token_bytes(32))
    with record.as_role(SEALER) as connection:
        roll_key(connection, old, new.public_key)
    record.signer = new
    record.write()
    record.seal()
    report = record.verify(trusted=[old.public_key])
    assert report.findings == []
    assert record.ask(f"SELECT count(*) FROM audit_event WHERE event = '{Event.SEAL_KEY_CHANGED}'") == 1


def test_the_old_key_may_not_sign_again_once_the_new_one_has(record: Record) -> None:
    old, new = record.signer, Ed25519Signer(secrets.token_bytes(32))
    with record.as_role(SEALER) as connection:
        roll_key(connection, old, new.public_key)
        seal_once(connection, new)
        last = seal_once(connection, old)[-1]
    first = record.verify(anchors=[], trusted=[old.public_key]).first_fault
    assert first is not None
    assert (first.kind, first.seal) == (Kind.KEY, last.n)


def test_a_sealer_at_work_reads_its_key_again_before_an_old_one_would_sign(record: Record) -> None:
    keys = [record.signer, Ed25519Signer(secrets.token_bytes(32))]
    sealer = Sealer(lambda: record.as_role(SEALER), lambda: keys[0], [])
    with record.as_role(SEALER) as connection:
        sealer.seal(connection)
        old = keys.pop(0)
        roll_key(connection, old, keys[0].public_key)
        seal_once(connection, keys[0])  # by another process, before this one has heard of it
        record.write()
        assert [seal.public_key for seal in sealer.seal(connection)] == [keys[0].public_key]
        with pytest.raises(KeyRolled):
            seal_once(connection, old, any_key=False)
    assert record.verify(anchors=[], trusted=[old.public_key]).findings == []


def test_a_record_that_a_stranger_has_signed_is_still_sealed(record: Record) -> None:
    """Else whoever can write one row would stop the seals; the verifier names it."""
    with record.as_role(SEALER) as connection:
        seal_once(connection, Ed25519Signer(secrets.token_bytes(32)))
        record.write()
        (seal,) = Sealer(lambda: connection, lambda: record.signer, []).seal(connection)
    assert (seal.count, seal.public_key) == (1, record.signer.public_key)
    first = record.verify(anchors=[]).first_fault
    assert first is not None
    assert (first.kind, first.seal) == (Kind.KEY, seal.n - 1)


def test_word_of_a_new_key_is_heard_among_others(record: Record) -> None:
    with record.as_role(SEALER) as connection, record.as_role(SEALER) as other:
        connection.execute("LISTEN audit_critical")
        for payload in ("", "key", ""):
            other.execute("SELECT pg_notify('audit_critical', %s)", [payload])
        connection.execute("SELECT 1")  # all three are here now
        assert Sealer(lambda: connection, lambda: record.signer, [])._wait(connection, threading.Event())


def test_a_key_that_the_old_one_never_announced_is_found(record: Record) -> None:
    stranger = Ed25519Signer(secrets.token_bytes(32))
    announcement = (record.signer.public_key.hex(), stranger.public_key.hex(), stranger.sign(b"word").hex())
    record.tamper(
        "INSERT INTO audit_seal_key (old, new, signature) VALUES ('\\x{}', '\\x{}', '\\x{}')".format(*announcement)
    )
    with record.as_role(SEALER) as connection:
        seal_once(connection, stranger)
    first = record.verify(anchors=[]).first_fault
    assert first is not None
    assert (first.kind, first.seal) == (Kind.KEY, 2)


def test_a_critical_event_wakes_the_sealer_when_it_commits_and_an_ordinary_one_does_not(record: Record) -> None:
    with record.as_role(SEALER) as sealer:
        sealer.execute("LISTEN audit_critical")
        record.write(event=Event.SIGNED_IN)
        assert list(sealer.notifies(timeout=0.2, stop_after=1)) == []
        record.write(event=Event.ADMIN_CHANGED)
        assert len(list(sealer.notifies(timeout=30, stop_after=1))) == 1


@pytest.mark.parametrize("role", [APP, SEALER, OWNER])
@pytest.mark.parametrize("table", ["audit_event", "audit_leaf", "audit_seal", "audit_seal_key"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET at = at", "DELETE FROM {}", "TRUNCATE {}"])
def test_no_role_changes_the_record(filled: Record, role: str, table: str, statement: str) -> None:
    with filled.as_role(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.format(table))


@pytest.mark.parametrize("table", ["audit_leaf", "audit_seal", "audit_seal_key", "audit_anchor_state"])
def test_the_application_cannot_write_seals(filled: Record, table: str) -> None:
    with filled.as_role(APP) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(f"INSERT INTO {table} SELECT * FROM {table}")


@pytest.mark.parametrize(
    "statement", ["DROP TABLE audit_leaf", "ALTER TABLE audit_event DETACH PARTITION audit_event_default"]
)
@pytest.mark.parametrize("role", [APP, SEALER])
def test_only_the_owner_changes_tables(filled: Record, role: str, statement: str) -> None:
    with filled.as_role(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)
