"""Sums over the record: calls, tokens and cost by day, department, model and person, as the auditor's charts show them.

Rules:
- A sum is made from sealed events alone and a seal is taken once, in its order, with the state in the same transaction:
  a crash leaves the seal for the next time, two workers take turns. What was sealed late is taken with its own seal.
- Days are UTC. A call counts when it has ended; refused ones are counted apart, tokens and cost as its event says.
- `rebuild` makes all of it again from the record, `differences` compares both; neither needs a role of its own, because
  no caller can choose what a sum becomes (audit/sql/rollups.sql).
- A month that retention has dropped takes its sums along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from psycopg import sql

EVENTS_AT_ONCE = 200_000  # a few seconds of work between two commits
MEASURES = (
    "calls",
    "refused",
    "estimated",
    "tokens_input",
    "tokens_cached",
    "tokens_output",
    "tokens_reasoning",
    "cost",
)


KEYS = {
    "audit_rollup": ("day", "department_id", "model"),
    "audit_rollup_person": ("day", "actor_id"),
    "audit_rollup_detail": ("day", "department_id", "model", "actor_id"),
}


class Cursor(Protocol):
    """Django's cursors and psycopg's alike, outside a transaction unless it says otherwise."""

    def execute(self, query: Any, params: Any = ..., /) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> Any: ...


class By(StrEnum):
    """What a sum is told apart by: the name of its column."""

    DAY = "day"
    DEPARTMENT = "department_id"
    MODEL = "model"
    PERSON = "actor_id"


class Order(StrEnum):
    """What the largest comes first by."""

    CALLS = "calls"
    TOKENS = "tokens_input + tokens_output"
    COST = "cost"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which calls. Both days are included; an empty field does not narrow."""

    organization_id: UUID
    since: date
    until: date
    department_id: UUID | None = None
    actor_id: UUID | None = None
    model: str = ""


@dataclass(frozen=True)
class Sum:
    """What the calls of one day, department, model or person add up to. `cost` is in US dollars."""

    key: Any
    calls: int
    refused: int
    estimated: int
    tokens_input: int
    tokens_cached: int
    tokens_output: int
    tokens_reasoning: int
    cost: Decimal

    @property
    def tokens(self) -> int:
        """Cached tokens are part of the input, reasoning is part of the output."""
        return self.tokens_input + self.tokens_output


@dataclass(frozen=True)
class State:
    """The sums hold every seal up to this number; `at` is when the last of them was taken."""

    seal: int
    at: datetime


def advance(cursor: Cursor, most: int = EVENTS_AT_ONCE) -> int:
    """Take every seal that is not in the sums yet; how many. Each `most` events are a statement and a commit."""
    seals = 0
    while taken := _one(cursor, "SELECT audit_roll_up(%s)", [most]):
        seals += taken
    return seals


def rebuild(cursor: Cursor, most: int = EVENTS_AT_ONCE) -> int:
    """Make every sum again from the record, as one statement: charts show the old ones until it is done."""
    return int(_one(cursor, "SELECT audit_rollup_again(%s)", [most]))


def differences(cursor: Cursor, first: date | None = None, last: date | None = None) -> list[tuple[Any, ...]]:
    """Sums that are not what the record adds up to, once as they are and once as they should be; empty: all equal.

    From one day to another, whole months, or all. One statement, and so one snapshot of the database, however much is
    written meanwhile. A row is ("is" or "should be", kind, grain, organization, day, …).
    """
    cursor.execute(_DIFFERENCES, {"first": first or "-infinity", "last": last or "infinity"})
    return list(cursor.fetchall())


def stretches(cursor: Cursor) -> list[tuple[date | None, date | None]]:
    """First and last day of each month that the record has partitions for, and what comes before and after them."""
    cursor.execute(_MONTHS)
    found = [day for (day,) in cursor.fetchall()]
    begins = [None, *found, _month_from(found[-1] + timedelta(days=1))] if found else [None]
    ends = [day - timedelta(days=1) for day in begins if day]
    return list(zip(begins, [*ends, None], strict=True))


def state(cursor: Cursor) -> State:
    cursor.execute("SELECT seal, at FROM audit_rollup_state")
    return State(*cursor.fetchone())


def sums(cursor: Cursor, scope: Scope, by: By, *, order: Order = Order.TOKENS, most: int | None = None) -> list[Sum]:
    """One sum a day in their order, or one a department, model or person, the largest first."""
    is_day = by is By.DAY
    query = sql.SQL("SELECT {key}, {sums} FROM ({rows}) r GROUP BY 1 ORDER BY {order} LIMIT {most}").format(
        key=sql.Identifier(by.value),
        sums=sql.SQL(", ").join(sql.SQL("sum({0}) AS {0}").format(sql.Identifier(name)) for name in MEASURES),
        rows=sql.SQL(" UNION ALL ").join(_rows(scope, by)),
        order=sql.SQL("1") if is_day else sql.SQL("sum({}) DESC, 1").format(sql.SQL(order.value)),
        most=sql.Literal(most),
    )
    cursor.execute(query.as_string())
    return [_sum(*row) for row in cursor.fetchall()]


def _sum(key: Any, *numbers: Any) -> Sum:
    # a sum of bigint is a numeric, which arrives as a Decimal
    *counts, cost = numbers
    return Sum(key, **dict(zip(MEASURES[:-1], map(int, counts), strict=True)), cost=cost)


def models(cursor: Cursor, organization_id: UUID, since: date) -> list[str]:
    """The names of the models that were asked since this day."""
    cursor.execute(
        "SELECT DISTINCT model FROM audit_rollup WHERE organization_id = %s AND day >= %s AND model <> '' ORDER BY 1",
        [organization_id, since],
    )
    return [name for (name,) in cursor.fetchall()]


def _rows(scope: Scope, by: By) -> Iterator[sql.Composed]:
    """The stored rows to add up: as coarse as the question allows, and by month where whole months are in it."""
    table = _table(scope, by)
    if table == "audit_rollup":
        yield _select(table, scope, [sql.SQL("day BETWEEN {} AND {}"), scope.since, scope.until])
        return
    pieces = [("day", scope.since, scope.until)] if by is By.DAY else spans(scope.since, scope.until)
    for grain, first, last in pieces:
        yield _select(table, scope, [sql.SQL("grain = {} AND day BETWEEN {} AND {}"), grain, first, last])


def _table(scope: Scope, by: By) -> str:
    if scope.actor_id is None and by is not By.PERSON:
        return "audit_rollup"
    narrowed = scope.department_id is not None or scope.model
    return "audit_rollup_detail" if narrowed or by in {By.DEPARTMENT, By.MODEL} else "audit_rollup_person"


def spans(since: date, until: date) -> list[tuple[str, date, date]]:
    """The days from `since` to `until` as ("day" or "month", first, last): whole months as such, the rest as days.

    A month is named by its first day: both ends of a span of months are such days.
    """
    first, after = _month_from(since), until + timedelta(days=1)
    last = (after.replace(day=1) - timedelta(days=1)).replace(day=1)
    if first > last:
        return [("day", since, until)] if since <= until else []
    end = _month_from(last + timedelta(days=1))
    found = [("day", since, first - timedelta(days=1)), ("month", first, last), ("day", end, until)]
    return [(grain, begins, ends) for grain, begins, ends in found if begins <= ends]


def _month_from(day: date) -> date:
    """The first of a month on this day or the next one after it."""
    return day if day.day == 1 else (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _select(table: str, scope: Scope, within: Sequence[Any]) -> sql.Composed:
    template, *values = within
    wanted = [_equals("organization_id", scope.organization_id), template.format(*map(sql.Literal, values))]
    if scope.department_id:
        wanted.append(_equals("department_id", scope.department_id))
    if scope.actor_id:
        wanted.append(_equals("actor_id", scope.actor_id))
    if scope.model:
        wanted.append(_equals("model", scope.model))
    # a column that the table does not have is not asked for: the tables are as narrow as their question
    columns = sql.SQL(", ").join(map(sql.Identifier, (*KEYS[table], *MEASURES)))
    return sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, sql.Identifier(table), sql.SQL(" AND ").join(wanted))


def _equals(name: str, value: Any) -> sql.Composed:
    return sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value))


def _one(cursor: Cursor, query: str, values: Sequence[Any]) -> Any:
    cursor.execute(query, values)
    row = cursor.fetchone()
    return row and row[0]


_MONTHS = """
    SELECT generate_series(min(month), max(month), interval '1 month')::date FROM (
        SELECT to_date(substring(relname FROM 12), 'YYYY_MM') AS month FROM pg_inherits
        JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'audit_leaf'::regclass AND relname ~ '^audit_leaf_[0-9]{4}_[0-9]{2}$'
    ) partitions ORDER BY 1
"""
_SUMMED = ", ".join(f"sum({name}) AS {name}" for name in MEASURES)
_HELD = ", ".join(MEASURES)
_DIFFERENCES = f"""
    WITH truth AS MATERIALIZED (
        SELECT t.* FROM (
            SELECT max(s.last_seq) AS last_number FROM audit_rollup_state r JOIN audit_seal s ON s.n <= r.seal
        ) reached, LATERAL audit_rollup_sums(1, reached.last_number, %(first)s::date::timestamp AT TIME ZONE 'UTC',
            (%(last)s::date + 1)::timestamp AT TIME ZONE 'UTC' - interval '1 microsecond') t
    ),
    grained AS (
        SELECT grain, date_trunc(grain, day)::date AS since, truth.*
        FROM truth CROSS JOIN (VALUES ('day'), ('month')) AS grains (grain)
    ),
    expected AS (
        SELECT 'all' AS kind, '' AS grain, organization_id, day, department_id, NULL::uuid AS actor_id, model, {_SUMMED}
        FROM truth GROUP BY 1, 2, 3, 4, 5, 6, 7
        UNION ALL
        SELECT 'person', grain, organization_id, grained.since, NULL::uuid, actor_id, '', {_SUMMED}
        FROM grained GROUP BY 1, 2, 3, 4, 5, 6, 7
        UNION ALL
        SELECT 'detail', grain, organization_id, grained.since, department_id, actor_id, model, {_SUMMED}
        FROM grained GROUP BY 1, 2, 3, 4, 5, 6, 7
    ),
    held AS (
        SELECT 'all', '', organization_id, day, department_id, NULL::uuid, model, {_HELD} FROM audit_rollup
        WHERE day BETWEEN %(first)s AND %(last)s
        UNION ALL
        SELECT 'person', grain, organization_id, day, NULL::uuid, actor_id, '', {_HELD} FROM audit_rollup_person
        WHERE day BETWEEN %(first)s AND %(last)s
        UNION ALL
        SELECT 'detail', grain, organization_id, day, department_id, actor_id, model, {_HELD} FROM audit_rollup_detail
        WHERE day BETWEEN %(first)s AND %(last)s
    )
    (SELECT 'is', * FROM (SELECT * FROM held EXCEPT ALL SELECT * FROM expected) a)
    UNION ALL
    (SELECT 'should be', * FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM held) b)
"""  # noqa: S608 names of columns from this file
