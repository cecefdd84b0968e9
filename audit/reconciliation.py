"""Compares the record with what the provider counted: usage that we did not log is a leaked key until proven otherwise.

Rules:
- Compared per project, key, model and UTC day; a finding names the hours in which the provider counted more than we.
- The record is written before a call, the provider counts after it. So more requests there than here is a finding at
  once, while fewer there mean nothing before their day is complete (`COMPLETE_AFTER`: noon UTC of the next day).
- Calls at midnight may count for either day, so a difference that the neighbouring days make up for is no finding.
- Each difference has a reason. Those in `ALARMS` become an event and a finding; the others explain themselves.
- Nothing here speaks to a provider: usage comes in as values, and so do the keys that are ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from psycopg import Connection

from audit.events import Event
from audit.writer import Entry, record_with

COMPLETE_AFTER = timedelta(hours=36)  # from the day's beginning

_OURS = """
    SELECT key_fingerprint, coalesce(nullif(model_answered, ''), model_asked),
        date_trunc('hour', at - make_interval(secs => coalesce(total_ms, 0) / 1000.0), 'UTC') AS hour,
        count(*), coalesce(sum(tokens_input), 0), coalesce(sum(tokens_output), 0),
        count(*) FILTER (WHERE tokens_estimated)
    FROM audit_event
    WHERE event = 'call:answered' AND organization_id = %(organization)s
        AND at >= %(since)s AND at < %(until)s + interval '1 hour'
        AND coalesce(tokens_input, 0) + coalesce(tokens_output, 0) > 0
    GROUP BY 1, 2, 3
"""


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
    """What we recorded for a key, a model and an hour. `estimated` requests have token counts of our own."""

    start: datetime
    project_id: str
    key_id: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    estimated: int = 0


@dataclass(frozen=True)
class KnownKey:
    """A key of ours, as the record and the provider know it. `retired_at` is set once it was deleted there."""

    fingerprint: str
    key_id: str
    project_id: str
    retired_at: datetime | None = None


class Reason(StrEnum):
    """Why two counts differ, as the console says it."""

    LEAKED_KEY = "calls with this key that ChatGrid did not make"
    DELETED_KEY = "calls with a key that was deleted"
    FOREIGN_KEY = "calls with a key that is not ChatGrid's"
    FOREIGN_PROJECT = "calls in a project that is not ChatGrid's"
    LATE = "the provider has not counted everything yet"
    ESTIMATED = "token counts of broken-off answers are our own estimate"
    MIDNIGHT = "calls at midnight that were counted for the day beside"
    TOKENS = "the same calls with other token counts"
    NOT_COUNTED = "calls that the provider never counted"


ALARMS = frozenset({Reason.LEAKED_KEY, Reason.DELETED_KEY, Reason.FOREIGN_KEY, Reason.FOREIGN_PROJECT})


@dataclass(frozen=True)
class Difference:
    """One key, model and day on which the counts differ. Positive numbers: the provider counted more."""

    reason: Reason
    project_id: str
    key_id: str
    model: str
    day: date
    requests: int
    input_tokens: int
    output_tokens: int
    hours: tuple[int, ...] = ()

    @property
    def is_alarm(self) -> bool:
        return self.reason in ALARMS

    def __str__(self) -> str:
        hours = f" between {self.hours[0]:02}:00 and {self.hours[-1] + 1:02}:00 UTC" if self.hours else ""
        tokens = self.input_tokens + self.output_tokens
        return f"{self.day}{hours}: {self.reason}: {self.requests} requests, {tokens:,} tokens of {self.model}"


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


_Place = tuple[str, str, str, date]
"""Project, key, model, day."""


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
    for fingerprint, model, hour, *numbers in connection.execute(_OURS, bounds):
        if not since <= hour.astimezone(UTC).date() < until:
            continue
        key = known.get(fingerprint, KnownKey(fingerprint, "", ""))
        rows.append(Logged(hour, key.project_id, key.key_id, model, *map(int, numbers)))
    return rows


def raise_alarms(
    connection: Connection[Any], differences: Iterable[Difference], organization_id: UUID, organization_name: str
) -> list[Difference]:
    """Write an event for each alarm that has none of this size yet; those that are new."""
    fresh = []
    for difference in differences:
        if not difference.is_alarm or _is_known(connection, difference):
            continue
        details = {
            "reason": difference.reason.name.lower(),
            "project_id": difference.project_id,
            "model": difference.model,
            "day": difference.day.isoformat(),
            "hours": list(difference.hours),
            "requests": difference.requests,
            "input_tokens": difference.input_tokens,
            "output_tokens": difference.output_tokens,
        }
        entry = Entry(
            event=Event.USAGE_UNEXPLAINED,
            organization_id=organization_id,
            organization_name=organization_name,
            subject_kind="provider_key",
            subject_id=difference.key_id,
            model_asked=difference.model,
            details=details,
        )
        record_with(connection, entry)
        fresh.append(difference)
    return fresh


def _difference(
    place: _Place, ours: Mapping[_Place, _Sum], theirs: Mapping[_Place, _Sum], keys: Sequence[KnownKey], now: datetime
) -> Difference | None:
    mine, counted = ours.get(place, _Sum()), theirs.get(place, _Sum())
    requests = counted.requests - mine.requests
    tokens = (counted.input_tokens - mine.input_tokens, counted.output_tokens - mine.output_tokens)
    if not requests and not any(tokens):
        return None
    reason = _reason(place, requests, ours, theirs, keys, now)
    more = (hour for hour, number in sorted(counted.by_hour.items()) if number > mine.by_hour.get(hour, 0))
    return Difference(reason, *place, requests, *tokens, tuple(more) if reason in ALARMS else ())


def _reason(
    place: _Place,
    requests: int,
    ours: Mapping[_Place, _Sum],
    theirs: Mapping[_Place, _Sum],
    keys: Sequence[KnownKey],
    now: datetime,
) -> Reason:
    if requests > 0:
        return _reason_for_more(place, requests, ours, theirs, keys)
    if now < _midnight(place[3]) + COMPLETE_AFTER:
        return Reason.LATE
    if requests < 0:
        beside = _beside(place, ours, theirs)
        return Reason.MIDNIGHT if beside >= -requests else Reason.NOT_COUNTED
    return Reason.ESTIMATED if ours[place].estimated else Reason.TOKENS


def _reason_for_more(
    place: _Place, requests: int, ours: Mapping[_Place, _Sum], theirs: Mapping[_Place, _Sum], keys: Sequence[KnownKey]
) -> Reason:
    project_id, key_id, _, day = place
    if project_id not in {key.project_id for key in keys}:
        return Reason.FOREIGN_PROJECT
    key = next((key for key in keys if key.key_id == key_id), None)
    if key is None:
        return Reason.FOREIGN_KEY
    if _only_at_midnight(place, ours, theirs) and -_beside(place, ours, theirs) >= requests:
        return Reason.MIDNIGHT
    if key.retired_at is not None and key.retired_at.astimezone(UTC).date() <= day:
        return Reason.DELETED_KEY
    return Reason.LEAKED_KEY


def _only_at_midnight(place: _Place, ours: Mapping[_Place, _Sum], theirs: Mapping[_Place, _Sum]) -> bool:
    mine, counted = ours.get(place, _Sum()), theirs[place]
    return {hour for hour, number in counted.by_hour.items() if number > mine.by_hour.get(hour, 0)} <= {0, 23}


def _beside(place: _Place, ours: Mapping[_Place, _Sum], theirs: Mapping[_Place, _Sum]) -> int:
    """By how much the provider counted more on the days before and after, for the same key and model."""
    *same, day = place
    days = [day - timedelta(days=1), day + timedelta(days=1)]
    places: list[Any] = [(*same, other) for other in days]
    return sum(theirs.get(each, _Sum()).requests - ours.get(each, _Sum()).requests for each in places)


def _sums(rows: Iterable[Counted | Logged]) -> dict[_Place, _Sum]:
    sums: dict[_Place, _Sum] = defaultdict(_Sum)
    for row in rows:
        day = row.start.astimezone(UTC).date()
        sums[row.project_id, row.key_id, row.model, day].add(row)
    return dict(sums)


def _is_known(connection: Connection[Any], difference: Difference) -> bool:
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM audit_event WHERE event = %s AND subject_id = %s AND model_asked = %s"
        " AND details->>'day' = %s AND (details->>'requests')::bigint >= %s)",
        [
            Event.USAGE_UNEXPLAINED,
            difference.key_id,
            difference.model,
            difference.day.isoformat(),
            difference.requests,
        ],
    ).fetchone()
    return bool(row and row[0])


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
