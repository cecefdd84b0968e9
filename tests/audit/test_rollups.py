"""The sums behind the charts are what the record adds up to: whoever writes, seals, sums and dies meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors

from audit import rollups
from audit.events import Event, Outcome
from audit.rollups import By, Order, Scope
from audit.writer import Entry, record_with
from chatgrid.dev.services.bootstrap import APP, OWNER, RETENTION, SEALER
from chatgrid.dev.services.postgres import SUPERUSER
from tests.audit.places import Record, new_record

ORGANIZATION, OTHER = uuid4(), uuid4()
DEPARTMENTS = [uuid4() for _ in range(3)]
PEOPLE = [uuid4() for _ in range(5)]
MODELS = ["gpt-6-luna", "gpt-6-sol", "text-embedding-3-small"]
TODAY = "(audit_now() AT TIME ZONE 'UTC')::date"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    with new_record(tmp_path_factory.mktemp("rollups")) as record:
        yield record


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with new_record(tmp_path) as made:
        yield made


def call(chance: Random, **fields: Any) -> Entry:
    answered = chance.random() > 0.15
    shared: dict[str, Any] = {
        "organization_id": ORGANIZATION,
        "department_id": chance.choice([*DEPARTMENTS, None]),
        "actor_id": chance.choice(PEOPLE),
        "model_asked": chance.choice(MODELS),
    }
    if not answered:
        return Entry(event=Event.CALL_REFUSED, outcome=Outcome.REFUSED, **{**shared, **fields})
    return Entry(
        event=Event.CALL_ANSWERED,
        tokens_input=chance.randint(1, 900),
        tokens_cached=chance.choice([None, chance.randint(0, 100)]),
        tokens_output=chance.choice([None, chance.randint(0, 400)]),
        tokens_reasoning=chance.choice([None, 12]),
        tokens_estimated=chance.random() < 0.2,
        cost=chance.choice([None, Decimal(chance.randint(1, 10**6)) / 10**8]),
        **{**shared, **fields},
    )


def write(record: Record, count: int, seed: int = 1, **fields: Any) -> None:
    chance = Random(seed)
    with record.as_role(APP) as app:
        for _ in range(count):
            record_with(app, call(chance, **fields))


def advance(record: Record, **how: Any) -> int:
    with record.as_role(APP) as app, app.cursor() as cursor:
        return rollups.advance(cursor, **how)


def differences(record: Record) -> list[tuple[Any, ...]]:
    with record.as_role(APP) as app, app.cursor() as cursor:
        return rollups.differences(cursor)


def asked(record: Record, by: By, **how: Any) -> list[rollups.Sum]:
    order = {name: how.pop(name) for name in ("order", "most") if name in how}
    today = record.ask(f"SELECT {TODAY}")
    scope = Scope(**{"organization_id": ORGANIZATION, "since": today, "until": today, **how})
    with record.as_role(APP) as app, app.cursor() as cursor:
        return rollups.sums(cursor, scope, by, **order)


def counted(record: Record, column: str, organization: UUID = ORGANIZATION) -> dict[Any, int]:
    """Answered calls in the record itself, by a column."""
    query = (
        f"SELECT {column}, count(*) FROM audit_event WHERE event = 'call:answered' AND organization_id = %s GROUP BY 1"
    )
    with record.as_role(APP) as app:
        return dict(app.execute(query, [organization]).fetchall())


def test_the_sums_are_what_the_record_adds_up_to(record: Record) -> None:
    write(record, 300)
    write(record, 40, seed=2, organization_id=OTHER)
    record.write(20, event=Event.SIGNED_IN)
    record.seal()
    assert advance(record) == 1
    assert differences(record) == []
    for by, column in ((By.DEPARTMENT, "department_id"), (By.MODEL, "model_asked"), (By.PERSON, "actor_id")):
        assert {each.key: each.calls for each in asked(record, by) if each.calls} == counted(record, column)
    [day] = asked(record, By.DAY)
    row = record.ask(
        "SELECT row_to_json(r) FROM (SELECT count(*) FILTER (WHERE event = 'call:refused') AS refused,"
        " count(*) FILTER (WHERE tokens_estimated) AS estimated, sum(tokens_input) AS input,"
        " sum(tokens_cached) AS cached, sum(tokens_output) AS output, sum(tokens_reasoning) AS reasoning,"
        f" sum(cost)::text AS cost FROM audit_event WHERE organization_id = '{ORGANIZATION}') r"
    )
    assert row == {
        "refused": day.refused,
        "estimated": day.estimated,
        "input": day.tokens_input,
        "cached": day.tokens_cached,
        "output": day.tokens_output,
        "reasoning": day.tokens_reasoning,
        "cost": str(day.cost),
    }


def test_what_is_not_sealed_is_not_in_the_sums_and_comes_with_its_seal(record: Record) -> None:
    write(record, 10)
    assert advance(record) == 0
    assert asked(record, By.DAY) == []
    record.seal()
    assert advance(record) == 1
    assert sum(each.calls + each.refused for each in asked(record, By.DAY)) == 10


def test_asking_twice_counts_once(record: Record) -> None:
    write(record, 50)
    record.seal()
    assert advance(record) == 1
    before = asked(record, By.PERSON)
    assert advance(record) == 0
    assert asked(record, By.PERSON) == before
    assert differences(record) == []


def test_they_are_the_same_however_many_seals_are_taken_at_once(record: Record) -> None:
    for seed in range(6):
        write(record, 20, seed)
        record.seal()
    assert advance(record, most=1) == 6
    assert differences(record) == []
    by_one = asked(record, By.DEPARTMENT)
    with record.as_role(APP) as app, app.cursor() as cursor:
        assert rollups.rebuild(cursor) == 6
    assert asked(record, By.DEPARTMENT) == by_one
    assert differences(record) == []


def test_a_sum_that_is_not_right_is_found_and_made_right_again(record: Record) -> None:
    write(record, 30)
    record.seal()
    advance(record)
    record.tamper("UPDATE audit_rollup SET cost = cost + 1 WHERE ctid IN (SELECT ctid FROM audit_rollup LIMIT 1)")
    assert {row[0] for row in differences(record)} == {"is", "should be"}
    with record.as_role(APP) as app, app.cursor() as cursor:
        rollups.rebuild(cursor)
    assert differences(record) == []


@pytest.mark.parametrize("table", ["audit_rollup", "audit_rollup_person", "audit_rollup_detail", "audit_rollup_state"])
def test_the_application_reads_the_sums_and_writes_none(empty: Record, table: str) -> None:
    changes = [f"DELETE FROM {table}", f"TRUNCATE {table}", f"INSERT INTO {table} SELECT * FROM {table}"]
    with empty.as_role(APP) as app:
        app.execute(f"SELECT * FROM {table}")
        for change in [*changes, "SELECT audit_rollup_add(1, 1, now(), now())", "SELECT audit_rollup_forget()"]:
            with pytest.raises(errors.InsufficientPrivilege):
                app.execute(change)


def test_writers_sealer_and_several_workers_at_once_lose_and_double_nothing(record: Record) -> None:
    stop = threading.Event()

    def again(work: Any) -> int:
        times = 0
        while not stop.is_set():
            work()
            times += 1
        return times

    with ThreadPoolExecutor(8) as pool:
        beside = [pool.submit(again, record.seal), *(pool.submit(again, lambda: advance(record)) for _ in range(3))]
        list(pool.map(lambda seed: write(record, 250, seed), range(4)))
        stop.set()
        assert all(each.result() for each in beside)
    record.seal()
    advance(record)
    assert sum(each.calls + each.refused for each in asked(record, By.DAY)) == 1000
    assert differences(record) == []


def test_a_worker_that_dies_in_the_middle_leaves_the_seal_for_the_next(record: Record) -> None:
    """Ended by the server between the sums and the commit, as a crash of either side would."""
    write(record, 40)
    record.seal()
    for _ in range(3):
        dying = record.as_role(APP)
        dying.execute("BEGIN")
        dying.execute("SELECT audit_roll_up(1000000)")
        record.ask(f"SELECT pg_terminate_backend({dying.info.backend_pid})")
        wait_for_end_of_backend(record, dying.info.backend_pid)
        dying.close()
    assert asked(record, By.DAY) == []
    assert advance(record) == 1
    assert differences(record) == []
    assert sum(each.calls + each.refused for each in asked(record, By.DAY)) == 40


def wait_for_end_of_backend(record: Record, pid: int) -> None:
    deadline = time.monotonic() + 30
    while record.ask(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}", SUPERUSER):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_rebuild_shows_the_old_sums_until_it_is_done(record: Record) -> None:
    write(record, 40)
    record.seal()
    advance(record)
    before = asked(record, By.MODEL)
    with record.as_role(APP) as app, app.transaction(), app.cursor() as cursor:
        rollups.rebuild(cursor)
        assert asked(record, By.MODEL) == before
    assert asked(record, By.MODEL) == before


def test_a_late_event_is_counted_on_the_day_it_happened(record: Record) -> None:
    write(record, 5)
    record.seal()
    advance(record)
    record.write_at(20, 3, event="call:answered", organization_id=ORGANIZATION, model_asked="gpt-6-luna")
    record.seal()
    advance(record)
    today = record.ask(f"SELECT {TODAY}")
    days = asked(record, By.DAY, since=today - timedelta(days=30))
    assert (days[0].key, days[0].calls) == (today - timedelta(days=20), 3)
    assert differences(record) == []


def test_the_sums_of_a_dropped_month_go_with_it(record: Record, tmp_path: Path) -> None:
    from django.core.files.storage import FileSystemStorage

    from audit.retention import end_months

    record.move_clock(-500)
    with record.as_role(OWNER) as owner:
        owner.execute("SELECT audit_make_partition(audit_now()::date), audit_make_leaf_partition(audit_now()::date)")
    record.write_at(0, 4, event="call:answered", organization_id=ORGANIZATION, model_asked="gpt-6-luna")
    record.seal()
    record.move_clock(0)
    write(record, 6)
    record.seal()
    advance(record)
    today = record.ask(f"SELECT {TODAY}")
    assert len(asked(record, By.DAY, since=today - timedelta(days=600))) == 2
    storage = FileSystemStorage(location=tmp_path / "archive")
    for _ in range(3):
        with record.as_role(RETENTION) as role:
            end_months(role, storage)
        record.seal()
    advance(record)
    assert [each.key for each in asked(record, By.DAY, since=today - timedelta(days=600))] == [today]
    assert asked(record, By.PERSON, since=today - timedelta(days=600), until=today - timedelta(days=300)) == []
    assert differences(record) == []
    with record.as_role(APP) as app, app.cursor() as cursor:
        rollups.rebuild(cursor)
    assert differences(record) == []


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """Two hundred days of calls of five people."""
    with new_record(tmp_path_factory.mktemp("months")) as record:
        with record.as_role(OWNER) as owner:
            for ago in range(8):
                owner.execute(
                    "SELECT audit_make_partition(day), audit_make_leaf_partition(day) FROM"
                    " (SELECT (now() - make_interval(months => %s))::date AS day) d",
                    [ago],
                )
            for day in range(200):
                owner.execute(
                    "INSERT INTO audit_event (at, event, organization_id, department_id, actor_id, model_asked,"
                    " tokens_input, cost) SELECT now() - make_interval(days => %s), 'call:answered', %s, %s, %s, %s,"
                    " 10, 0.5 FROM generate_series(1, %s)",
                    [day, ORGANIZATION, DEPARTMENTS[day % 3], PEOPLE[day % 5], MODELS[day % 2], 1 + day % 4],
                )
        record.seal()
        advance(record)
        yield record


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 30), (5, 40), (3, 100), (0, 199), (40, 150), (31, 62)])
@pytest.mark.parametrize("narrowed", [{}, {"department_id": DEPARTMENTS[1]}, {"model": MODELS[0]}])
def test_by_person_whole_months_and_single_days_add_up_to_the_same(
    months: Record, first: int, last: int, narrowed: dict[str, Any]
) -> None:
    today = months.ask("SELECT (now() AT TIME ZONE 'UTC')::date")
    days = {"since": today - timedelta(days=last), "until": today - timedelta(days=first), **narrowed}
    query = (
        "SELECT actor_id, count(*) FROM audit_event WHERE (at AT TIME ZONE 'UTC')::date BETWEEN %(since)s AND %(until)s"
        + (" AND department_id = %(department_id)s" if "department_id" in narrowed else "")
        + (" AND model_asked = %(model)s" if "model" in narrowed else "")
        + " GROUP BY 1"
    )
    with months.as_role(APP) as app:
        expected = dict(app.execute(query, days).fetchall())
    assert {each.key: each.calls for each in asked(months, By.PERSON, **days)} == expected
    assert sum(each.calls for each in asked(months, By.DAY, **days)) == sum(expected.values())
    for person in PEOPLE[:2]:
        of_one = asked(months, By.DAY, actor_id=person, **days)
        assert sum(each.calls for each in of_one) == expected.get(person, 0)


def test_the_largest_come_first_by_what_is_asked_for_and_no_more_than_wanted(months: Record) -> None:
    today = months.ask("SELECT (now() AT TIME ZONE 'UTC')::date")
    since = today - timedelta(days=199)
    for order, value in ((Order.CALLS, "calls"), (Order.TOKENS, "tokens"), (Order.COST, "cost")):
        found = asked(months, By.PERSON, since=since, order=order, most=3)
        values = [getattr(each, value) for each in found]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)


def test_another_organization_s_calls_are_in_no_sum(months: Record) -> None:
    assert asked(months, By.DAY, organization_id=OTHER, since=date(2000, 1, 1)) == []
    assert asked(months, By.PERSON, organization_id=OTHER, since=date(2000, 1, 1)) == []


def test_every_day_between_two_days_is_in_exactly_one_span() -> None:
    chance = Random(3)
    for _ in range(500):
        since = date(2026, 1, 1) + timedelta(days=chance.randrange(800))
        until = since + timedelta(days=chance.randrange(400))
        days: list[date] = []
        for grain, first, last in rollups.spans(since, until):
            if grain == "month":
                assert first.day == last.day == 1
                last = (last.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
            days += [first + timedelta(days=number) for number in range((last - first).days + 1)]
        assert sorted(days) == [since + timedelta(days=number) for number in range((until - since).days + 1)]


def plan_of(record: Record, scope: Scope, by: By) -> str:
    class Explaining:
        def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
            self.cursor = cursor
            self.plan = ""

        def execute(self, query: Any, params: Any = None) -> None:
            self.plan = "\n".join(row[0] for row in self.cursor.execute(f"EXPLAIN {query}").fetchall())

        def fetchone(self) -> Any:
            return None

        def fetchall(self) -> Any:
            return []

    with record.as_role(APP) as app, app.cursor() as cursor:
        explaining = Explaining(cursor)
        rollups.sums(explaining, scope, by)
    return explaining.plan


@pytest.mark.parametrize("by", By)
def test_a_chart_reads_sums_and_never_events(months: Record, by: By) -> None:
    today = months.ask("SELECT (now() AT TIME ZONE 'UTC')::date")
    scope = Scope(organization_id=ORGANIZATION, since=today - timedelta(days=199), until=today)
    for narrowed in (scope, Scope(**{**vars(scope), "actor_id": PEOPLE[0]})):
        plan = plan_of(months, narrowed, by)
        assert "audit_rollup" in plan
        assert "audit_event" not in plan
        assert "audit_leaf" not in plan


def test_a_year_of_people_is_read_by_its_months(months: Record) -> None:
    """However many days there are: only those beside whole months are read one by one."""
    today = months.ask("SELECT (now() AT TIME ZONE 'UTC')::date")
    spans = rollups.spans(today - timedelta(days=364), today)
    days = sum((last - first).days + 1 for grain, first, last in spans if grain == "day")
    assert days <= 60
    assert any(grain == "month" for grain, _, _ in spans)


def test_the_command_takes_compares_and_rebuilds(capsys: pytest.CaptureFixture[str]) -> None:
    from django.core.management import call_command

    call_command("seal_audit")
    call_command("roll_up", "--check")
    assert "every sum equals the record" in capsys.readouterr().out
    call_command("roll_up", "--rebuild", "--check")
    assert "every sum equals the record" in capsys.readouterr().out


def test_the_sealer_s_role_is_not_needed(record: Record) -> None:
    write(record, 3)
    record.seal()
    with record.as_role(SEALER) as sealer, pytest.raises(errors.InsufficientPrivilege):
        sealer.execute("SELECT audit_roll_up(10)")
    assert advance(record) == 1
