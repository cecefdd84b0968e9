"""What the record costs, as ratios measured in one run. `make bench` prints the figures of docs/performance.md."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest

from audit.events import Event
from audit.export import Exporter, Format, export
from audit.export_filters import Filters
from audit.leaves import FIELDS
from audit.seals import seal_once
from audit.verification import Verifier
from audit.writer import Entry, record_with
from chatgrid.dev.services.bootstrap import APP, OWNER, SEALER
from tests.audit.places import Record, new_record
from tests.bench.exports import FILL

EVENTS = 100_000
WRITERS, EACH = 8, 400
ORGANIZATION = uuid4()


def say(words: str) -> None:
    sys.stderr.write(f"\n  record: {words}")


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    with new_record(tmp_path_factory.mktemp("record")) as made:
        yield made


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """A record of its own with `EVENTS` sealed events of one organization."""
    with new_record(tmp_path_factory.mktemp("filled")) as record:
        with record.as_role(OWNER) as connection:
            connection.execute(FILL, [ORGANIZATION, EVENTS])
            connection.execute("ANALYZE audit_event")
        with record.as_role(SEALER) as connection:
            seconds = timed(lambda: seal_once(connection, record.signer))
        with record.as_role(OWNER) as connection:
            connection.execute("ANALYZE audit_leaf")
        say(f"sealing {EVENTS:,} events in one pass: {seconds:.2f} s ({EVENTS / seconds:,.0f} a second)")
        assert seconds < 10
        yield record


def insert_many(record: Record, table: str) -> float:
    """Rows a second that eight writers commit one by one."""

    def write(_: int) -> None:
        # a call as it is: every index has something to hold
        entry = Entry(
            event=Event.CALL_ANSWERED,
            organization_id=ORGANIZATION,
            department_id=uuid4(),
            actor_id=uuid4(),
            actor_name="Mara",
            purpose="chat",
            model_asked="gpt-6-luna",
            tokens_input=800,
            details={"attempts": 1},
        )
        with record.as_role(APP) as connection:
            if table != "audit_event":
                connection.execute(f"SET search_path = {table}, public")
            for _ in range(EACH):
                record_with(connection, Entry(**{**vars(entry), "id": uuid4(), "call_id": uuid4()}))

    with ThreadPoolExecutor(WRITERS) as writers:
        seconds = timed(lambda: list(writers.map(write, range(WRITERS))))
    return WRITERS * EACH / seconds


def test_inserting_events_against_plain_inserts(record: Record) -> None:
    with record.as_role(OWNER) as connection:
        # the same columns without partitions, triggers and indexes, found first by the writer's own statement
        connection.execute("CREATE SCHEMA plain")
        connection.execute("CREATE TABLE plain.audit_event (LIKE audit_event INCLUDING DEFAULTS)")
        connection.execute(f"GRANT USAGE ON SCHEMA plain TO {APP}; GRANT INSERT ON plain.audit_event TO {APP}")
    insert_many(record, "plain")
    rounds = [(insert_many(record, "audit_event"), insert_many(record, "plain")) for _ in range(3)]
    ours, plain = max(rate for rate, _ in rounds), max(rate for _, rate in rounds)
    say(f"inserting with {WRITERS} writers: {ours:,.0f} a second, {ours / plain:.0%} of plain inserts ({plain:,.0f})")
    assert ours / plain >= 0.6


def test_sealing_holds_no_writer_up(record: Record) -> None:
    with record.as_role(OWNER) as connection:
        connection.execute(FILL, [ORGANIZATION, EVENTS])
    with record.as_role(SEALER) as sealer, record.as_role(APP) as writer, ThreadPoolExecutor(1) as beside:
        sealing = beside.submit(seal_once, sealer, record.signer)
        slowest = 0.0
        while not sealing.done():
            slowest = max(slowest, timed(lambda: record_with(writer, Entry(event=Event.SIGNED_IN))))
    say(f"the slowest insert while {EVENTS:,} events were sealed: {slowest * 1000:.0f} ms")
    assert slowest < 1.0


def test_verifying(filled: Record) -> None:
    with filled.as_role(APP) as connection:
        started = time.perf_counter()
        report = Verifier(connection, trusted=[filled.signer.public_key]).verify()
        seconds = time.perf_counter() - started
    assert report.faults == []
    say(f"verifying: {report.events / seconds:,.0f} events a second")
    assert report.events / seconds > 25_000


def plain_copy(connection: psycopg.Connection[object]) -> None:
    query = f"COPY (SELECT {', '.join(FIELDS)} FROM audit_event) TO STDOUT (FORMAT csv)"
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for _ in copy:
            pass


@pytest.mark.parametrize("form", Format)
def test_exporting(filled: Record, form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.export.RECEIPT_SECONDS", 0.0)

    def run(organization: UUID = ORGANIZATION) -> None:
        with filled.as_role(APP) as rows, filled.as_role(APP) as beside:
            for _, chunks in export(rows, beside, Filters(organization_id=organization), form, Exporter()):
                for _ in chunks:
                    pass

    with filled.as_role(APP) as connection:
        plain_copy(connection)
        copying = min(timed(lambda: plain_copy(connection)) for _ in range(3))
    exporting = min(timed(run) for _ in range(3))
    say(f"exporting {form}: {EVENTS / exporting:,.0f} events a second, {copying / exporting:.0%} of a plain COPY")
    if form is Format.CSV:
        assert copying / exporting >= 0.5


def test_an_export_needs_the_same_memory_whatever_its_size(filled: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.export.RECEIPT_SECONDS", 0.0)

    def peak(until: int) -> int:
        moment = filled.ask(
            f"SELECT e.at FROM audit_event e JOIN audit_leaf l ON l.event_id = e.id WHERE l.seq = {until}"
        )
        filters = Filters(organization_id=ORGANIZATION, until=moment)
        tracemalloc.start()
        with filled.as_role(APP) as rows, filled.as_role(APP) as beside:
            for _, chunks in export(rows, beside, filters, Format.CSV, Exporter()):
                for _ in chunks:
                    pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    few, many = peak(EVENTS // 2), peak(EVENTS)
    say(f"memory of an export: {few / 1e6:.1f} MB for half of the events, {many / 1e6:.1f} MB for all")
    assert many < few * 1.25 + 1e6
