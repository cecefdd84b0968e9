"""What a limit would have refused: the calls of the last days are made once more, on paper, under that limit alone.

Rules:
- The limit may be unsaved: the form asks before it saves. The other limits stay out of it; what they refused is gone.
- A call that would have been refused spends nothing, so that those after it may still fit.
- An allowance for each person passes by whoever has a nearer limit of their own for it.
- A call counts with what it used. In truth the last answer before a ceiling is shortened to fit: such a call is counted
  here as refused.
- Days and months are those in which calls were admitted; the first day looked at is a whole one.
- A page waits for it: of very many calls only as many whole days are looked at as hold `MOST_CALLS`; `day` says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from typing import NamedTuple, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from departments.limits.models import CEILINGS, Limit, Reservation, Spent

MINUTE = timedelta(seconds=60)
MOST_CALLS = 250_000  # some 15 millionths of a second each
NO_QUESTIONS = ("search", "ingest", "moderation", "attack")

Amount: TypeAlias = int | Decimal


class Call(NamedTuple):
    """One call of the past. `ended_at` is None while it runs."""

    admitted_at: datetime
    ended_at: datetime | None
    day: date
    person_id: UUID
    department_id: UUID
    purpose: str
    tokens: int
    cost: Decimal

    @property
    def is_question(self) -> bool:
        return self.purpose not in NO_QUESTIONS


@dataclass(frozen=True)
class Forecast:
    """What the limit would have done since `since`.

    `calls` is how many it is for, `refused` how many of them would have been; `by_field` counts those by the field of
    the limit that was in the way, `people` by person (most first), `first` is the first of them.
    """

    since: datetime
    until: datetime
    calls: int
    refused: int
    by_field: dict[str, int]
    people: tuple[tuple[UUID, int], ...]
    first: datetime | None
    is_shortened: bool = False

    @property
    def day(self) -> date:
        """The first day looked at, in the organization's time zone."""
        return self.since.date()


def forecast(limit: Limit, *, days: int = 7, now: datetime | None = None) -> Forecast:
    """What `limit`, saved or not, would have refused in the last `days` whole days and today so far.

    Its `organization` has to be set, and whatever else it is for. Ceilings that are None are not looked at.
    """
    until = now or timezone.now()
    looked_at = _days(limit, _midnight(limit, until, days).date(), days)
    since = _midnight(limit, until, looked_at)
    checks = list(_checks(limit, since.date()))
    by_field, people, first, calls = Counter[str](), Counter[UUID](), None, 0
    for call in _calls(limit, since, until):
        calls += 1
        refusing = next((check.field for check in checks if not check.admits(call)), None)
        if refusing is None:
            for check in checks:
                check.take(call)
            continue
        by_field[refusing] += 1
        people[call.person_id] += 1
        first = first or call.admitted_at
    return Forecast(
        since, until, calls, by_field.total(), dict(by_field), tuple(people.most_common()), first, looked_at < days
    )


@dataclass
class Check:
    """One ceiling and what has been counted under it; `key` tells whose counter a call counts on, None: not for it."""

    field: str
    ceiling: Amount
    key: Callable[[Call], Hashable | None]

    def admits(self, call: Call) -> bool:
        key = self.key(call)
        return key is None or self.fits(key, call)

    def take(self, call: Call) -> None:
        key = self.key(call)
        if key is not None:
            self.add(key, call)

    def fits(self, key: Hashable, call: Call) -> bool:
        raise NotImplementedError

    def add(self, key: Hashable, call: Call) -> None:
        raise NotImplementedError


class Budget(Check):
    """Tokens or money of a day or a month. `before` is what was spent in the month before the first day looked at."""

    def __init__(
        self, field: str, ceiling: Amount, key: Callable[[Call], Hashable | None], before: dict[Hashable, Amount]
    ) -> None:
        super().__init__(field, ceiling, key)
        self._spent: defaultdict[Hashable, Amount] = defaultdict(int, before)

    def _counter(self, key: Hashable, call: Call) -> Hashable:
        return (key, call.day.replace(day=1) if self.field.endswith("month") else call.day)

    def _amount(self, call: Call) -> Amount:
        return call.cost if "money" in self.field else call.tokens

    def fits(self, key: Hashable, call: Call) -> bool:
        return self._spent[self._counter(key, call)] + self._amount(call) <= self.ceiling

    def add(self, key: Hashable, call: Call) -> None:
        self._spent[self._counter(key, call)] += self._amount(call)


class Rate(Check):
    """Questions in any 60 seconds."""

    def __init__(self, field: str, ceiling: Amount, key: Callable[[Call], Hashable | None]) -> None:
        super().__init__(field, ceiling, key)
        self._admitted: defaultdict[Hashable, deque[datetime]] = defaultdict(deque)

    def fits(self, key: Hashable, call: Call) -> bool:
        window = self._admitted[key]
        while window and window[0] <= call.admitted_at - MINUTE:
            window.popleft()
        return not call.is_question or len(window) < self.ceiling

    def add(self, key: Hashable, call: Call) -> None:
        if call.is_question:
            self._admitted[key].append(call.admitted_at)


class AtOnce(Check):
    """Answers being written at the same time."""

    def __init__(self, field: str, ceiling: Amount, key: Callable[[Call], Hashable | None]) -> None:
        super().__init__(field, ceiling, key)
        self._ends: defaultdict[Hashable, list[datetime]] = defaultdict(list)

    def fits(self, key: Hashable, call: Call) -> bool:
        running = self._ends[key]
        while running and running[0] <= call.admitted_at:
            heappop(running)
        return not call.is_question or len(running) < self.ceiling

    def add(self, key: Hashable, call: Call) -> None:
        if call.is_question:
            heappush(self._ends[key], call.ended_at or timezone.now())


def _checks(limit: Limit, first_day: date) -> Iterator[Check]:
    for name in CEILINGS:
        for field, key in ((name, lambda call: ""), (f"person_{name}", _each(limit, f"person_{name}", name))):
            ceiling = getattr(limit, field)
            if ceiling is None:
                continue
            if name == "requests_per_minute":
                yield Rate(field, ceiling, key)
            elif name == "answers_at_once":
                yield AtOnce(field, ceiling, key)
            else:
                before = _before(limit, field, first_day) if name.endswith("month") else {}
                yield Budget(field, ceiling, key, before)


def _each(limit: Limit, field: str, name: str) -> Callable[[Call], Hashable | None]:
    """A counter for each person, but none for those who have something nearer for this ceiling."""
    if getattr(limit, field) is None:
        return lambda call: None
    rows = Limit.objects.filter(organization_id=limit.organization_id, model="")
    own = rows.exclude(person=None).exclude(**{name: None}).values_list("person_id", "department_id")
    nearer: set[tuple[UUID | None, UUID | None]] = set(own)
    if limit.department_id is None:
        allowed = rows.exclude(department=None).filter(person=None).exclude(**{field: None})
        nearer |= {(None, department) for department in allowed.values_list("department_id", flat=True)}

    def key(call: Call) -> Hashable | None:
        places = ((call.person_id, None), (call.person_id, call.department_id), (None, call.department_id))
        return None if any(place in nearer for place in places) else call.person_id

    return key


def _before(limit: Limit, field: str, first_day: date) -> dict[Hashable, Amount]:
    """What was spent from the first of the month to the day before the first one looked at, by counter."""
    month = first_day.replace(day=1)
    each = field.startswith("person_")
    spent = _spent(limit, each).filter(day__gte=month, day__lt=first_day)
    sums = spent.values("person_id").annotate(sum=Sum("cost" if "money" in field else "tokens")).order_by()
    return {(row["person_id"] if each else "", month): row["sum"] for row in sums}


def _spent(limit: Limit, each: bool) -> QuerySet[Spent]:
    """The counters on which this limit's calls are booked, of everybody together or of each person."""
    spent = Spent.objects.filter(scope=_scope_of(limit, each), organization_id=limit.organization_id)
    if limit.department_id:
        spent = spent.filter(department_id=limit.department_id)
    return spent.filter(person_id=limit.person_id) if limit.person_id else spent


def _scope_of(limit: Limit, each: bool) -> Spent.Scope:
    if limit.department_id:
        return Spent.Scope.MEMBER if each or limit.person_id else Spent.Scope.DEPARTMENT
    return Spent.Scope.PERSON if each or limit.person_id else Spent.Scope.ORGANIZATION


def _days(limit: Limit, first_day: date, most: int) -> int:
    """How many days before today hold no more than `MOST_CALLS` together with it."""
    rows = _spent(limit, each=False).filter(day__gte=first_day).values("day").annotate(calls=Sum("requests"))
    calls, days = 0, 0
    newest_first = dict(rows.order_by("-day").values_list("day", "calls"))
    for days in range(most + 1):
        calls += newest_first.get(first_day + timedelta(days=most - days), 0)
        if calls > MOST_CALLS:
            return max(0, days - 1)
    return days


def _calls(limit: Limit, since: datetime, until: datetime) -> Iterator[Call]:
    used = Coalesce(F("tokens_used"), F("tokens_reserved"))
    cost = Coalesce(F("cost_used"), F("cost_reserved"), Decimal(0))
    rows: QuerySet[Reservation, tuple[object, ...]] = (
        Reservation.objects.filter(_for(limit), admitted_at__gte=since, admitted_at__lt=until)
        .order_by("admitted_at")
        .values_list("admitted_at", "settled_at", "day", "person_id", "department_id", "purpose", used, cost)
    )
    for row in rows.iterator(chunk_size=5_000):
        yield Call._make(row)  # in the order of its fields


def _for(limit: Limit) -> Q:
    mine = Q(organization_id=limit.organization_id)
    if limit.department_id:
        mine &= Q(department_id=limit.department_id)
    if limit.person_id:
        mine &= Q(person_id=limit.person_id)
    return mine & Q(model=limit.model) if limit.model else mine


def _midnight(limit: Limit, until: datetime, days: int) -> datetime:
    zone = ZoneInfo(limit.organization.time_zone)
    return datetime.combine(until.astimezone(zone).date() - timedelta(days=days), time.min, zone)
