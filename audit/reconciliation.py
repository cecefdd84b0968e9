"""Compares the record with what the provider counted: usage that we did not log is a leaked key until proven otherwise.

Rules:
- Compared per project, key, model and UTC day, whatever the date of the model's version (`family`); a finding names the
  hours in which the provider counted more than we.
- The record is written before a call, the provider counts after it. So more requests there than here is a finding at
  once, while fewer there mean nothing before their day is complete (`COMPLETE_AFTER`: noon UTC of the next day).
- Calls at midnight may count for either day, so a difference that the neighbouring days make up for is no finding.
- Each difference has a reason (audit/differences.py). Those in `ALARMS` become an event and a finding; the others
  explain themselves.
- Usage in a project that is not ours is named and no alarm: a company may use OpenAI for other things.
- Nothing here speaks to a provider: usage comes in as values, and so do the keys that are ours.
- The money is audit/billing.py's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from psycopg import Connection

from audit.differences import ALARMS, Difference, Place, Reason
from audit.events import Event
from audit.writer import Entry, record_with

COMPLETE_AFTER = timedelta(hours=36)  # from the day's beginning

_OURS = """
    SELECT key_fingerprint, coalesce(nullif(model_answered, ''), model_asked),
        date_trunc('hour', at - make_interval(secs => coalesce(total_ms, 0) / 1000.0), 'UTC') AS hour,
        count(*), coalesce(sum(tokens_input), 0), coalesce(sum(tokens_output), 0),
        count(*) FILTER (WHERE tokens_estimated), coalesce(sum(cost), 0)
    FROM audit_event
    WHERE event = 'call:answered' AND organization_id = %(organization)s
        AND at >= %(since)s AND at < %(until)s + interval '1 hour'
        AND coalesce(tokens_input, 0) + coalesce(tokens_output, 0) > 0
    GROUP BY 1, 2, 3
"""


_VERSION = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")


class Counted(Protocol):
    """A row of the provider's usage, an hour or a day long. Matches departments.keys.admin_values.Usage."""

    @property
    def start(self) -> datetime: ...
    @property
    def project_id(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def requests(self) -> int: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...


@dataclass(frozen=True)
class Logged:
    """What we recorded for a key, a model and an hour. `estimated` requests have token counts of our own.

    `cost` is in US dollars.
    """

    start: datetime
    project_id: str
    key_id: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    estimated: int = 0
    cost: Decimal = Decimal(0)


@dataclass(frozen=True)
class KnownKey:
    """A key of ours, as the record and the provider know it. `retired_at` is set once it was deleted there."""

    fingerprint: str
    key_id: str
    project_id: str
    retired_at: datetime | None = None


@dataclass
class _Sum:
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: int = 0
    by_hour: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, row: Counted | Logged) -> None:
        self.requests += row.requests
        self.input_tokens += row.input_tokens
        self.output_tokens += row.output_tokens
        self.estimated += getattr(row, "estimated", 0)
        self.by_hour[row.start.astimezone(UTC).hour] += row.requests


def compare(
    logged: Iterable[Logged], counted: Iterable[Counted], keys: Sequence[KnownKey], now: datetime
) -> list[Difference]:
    """Every difference, alarms first. `logged` and `counted` must cover the same whole days."""
    ours, theirs = _sums(logged), _sums(counted)
    found = [
        difference
        for place in sorted({*ours, *theirs})
        if (difference := _difference(place, ours, theirs, keys, now)) is not None
    ]
    return sorted(found, key=lambda each: not each.is_alarm)


def logged_by_us(
    connection: Connection[Any], organization_id: UUID, keys: Sequence[KnownKey], since: date, until: date
) -> list[Logged]:
    """What the record holds for the days from `since` up to and without `until`."""
    known = {key.fingerprint: key for key in keys}
    bounds = {"organization": organization_id, "since": _midnight(since), "until": _midnight(until)}
    rows = []
    for fingerprint, model, hour, requests, sent, received, estimated, cost in connection.execute(_OURS, bounds):
        if not since <= hour.astimezone(UTC).date() < until:
            continue
        key = known.get(fingerprint, KnownKey(fingerprint, "", ""))
        counts = int(requests), int(sent), int(received), int(estimated)
        rows.append(Logged(hour, key.project_id, key.key_id, model, *counts, cost))
    return rows


def family(model: str) -> str:
    """A model's name without the date of its version, such as gpt-6-luna of gpt-6-luna-2026-08-01.

    A call that broke off before its answer began, or whose process died, knows the name that it asked for alone; the
    provider counts it under the version that the name stood for.
    """
    return _VERSION.sub("", model)


def is_complete(day: date, now: datetime) -> bool:
    """Whether the provider's counts of this day may be believed to be all."""
    return now >= _midnight(day) + COMPLETE_AFTER


def reason_of_place(place: Place, keys: Sequence[KnownKey]) -> Reason | None:
    """Why usage there cannot be ours, by its project and key alone; None where it can."""
    project_id, key_id, *_ = place
    if project_id not in {key.project_id for key in keys}:
        return Reason.FOREIGN_PROJECT
    return None if key_id in {key.key_id for key in keys} else Reason.FOREIGN_KEY


def raise_alarms(
    connection: Connection[Any], differences: Iterable[Difference], organization_id: UUID, organization_name: str
) -> list[Difference]:
    """Write an event for each alarm that has none of this size yet; those that are new."""
    fresh = []
    for difference in differences:
        if not difference.is_alarm or _is_known(connection, organization_id, difference):
            continue
        entry = Entry(
            event=Event.USAGE_UNEXPLAINED,
            organization_id=organization_id,
            organization_name=organization_name,
            subject_kind="provider_key",
            subject_id=difference.key_id,
            model_asked=difference.model,
            details=difference.as_json(),
        )
        record_with(connection, entry)
        fresh.append(difference)
    return fresh


def _difference(
    place: Place, ours: Mapping[Place, _Sum], theirs: Mapping[Place, _Sum], keys: Sequence[KnownKey], now: datetime
) -> Difference | None:
    mine, counted = ours.get(place, _Sum()), theirs.get(place, _Sum())
    requests = counted.requests - mine.requests
    tokens = (counted.input_tokens - mine.input_tokens, counted.output_tokens - mine.output_tokens)
    if not requests and not any(tokens):
        return None
    reason = _reason(place, requests, ours, theirs, keys, now)
    hours = _hours_of_more(place, ours, theirs) if reason in ALARMS else ()
    return Difference(reason, *place, requests, *tokens, tuple(hours))


def _reason(
    place: Place,
    requests: int,
    ours: Mapping[Place, _Sum],
    theirs: Mapping[Place, _Sum],
    keys: Sequence[KnownKey],
    now: datetime,
) -> Reason:
    if requests > 0:
        return _reason_for_more(place, requests, ours, theirs, keys)
    if not is_complete(place[3], now):
        return Reason.LATE
    if requests < 0:
        beside = _beside(place, ours, theirs)
        return Reason.MIDNIGHT if beside >= -requests else Reason.NOT_COUNTED
    return Reason.ESTIMATED if ours[place].estimated else Reason.TOKENS


def _reason_for_more(
    place: Place, requests: int, ours: Mapping[Place, _Sum], theirs: Mapping[Place, _Sum], keys: Sequence[KnownKey]
) -> Reason:
    foreign = reason_of_place(place, keys)
    if foreign is not None:
        return foreign
    key = next(key for key in keys if key.key_id == place[1])
    more = [timedelta(hours=hour) for hour in _hours_of_more(place, ours, theirs)]
    at_midnight = {timedelta(0), timedelta(hours=23)}
    if at_midnight.issuperset(more) and -_beside(place, ours, theirs) >= requests:
        return Reason.MIDNIGHT
    if key.retired_at is not None and _midnight(place[3]) + max(more) > key.retired_at:
        return Reason.DELETED_KEY
    return Reason.LEAKED_KEY


def _hours_of_more(place: Place, ours: Mapping[Place, _Sum], theirs: Mapping[Place, _Sum]) -> list[int]:
    mine, counted = ours.get(place, _Sum()), theirs.get(place, _Sum())
    return sorted(hour for hour, number in counted.by_hour.items() if number > mine.by_hour.get(hour, 0))


def _beside(place: Place, ours: Mapping[Place, _Sum], theirs: Mapping[Place, _Sum]) -> int:
    """By how much the provider counted more on the days before and after, for the same key and model."""
    *same, day = place
    days = [day - timedelta(days=1), day + timedelta(days=1)]
    places: list[Any] = [(*same, other) for other in days]
    return sum(theirs.get(each, _Sum()).requests - ours.get(each, _Sum()).requests for each in places)


def _sums(rows: Iterable[Counted | Logged]) -> dict[Place, _Sum]:
    sums: dict[Place, _Sum] = defaultdict(_Sum)
    for row in rows:
        day = row.start.astimezone(UTC).date()
        sums[row.project_id, row.key_id, family(row.model), day].add(row)
    return dict(sums)


def _is_known(connection: Connection[Any], organization_id: UUID, difference: Difference) -> bool:
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM audit_event WHERE event = %s AND organization_id = %s AND subject_id = %s"
        " AND model_asked = %s AND details->>'project_id' = %s AND details->>'day' = %s"
        " AND (details->>'requests')::bigint >= %s)",
        [
            Event.USAGE_UNEXPLAINED,
            organization_id,
            difference.key_id,
            difference.model,
            difference.project_id,
            difference.day.isoformat(),
            difference.requests,
        ],
    ).fetchone()
    return bool(row and row[0])


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
