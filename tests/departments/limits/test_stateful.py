"""Reserve, settle, expire, change of limit and midnight in any order: the ledger says what a plain reference says.

The reference knows no SQL: a list of calls and one page of rules. Both are told the same moments.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from departments.limits import budget
from departments.limits.models import Limit, Reservation, Spent
from tests.company import Company, make_company
from tests.departments.limits.reserving import Clock, clock_at, request

START = datetime(2026, 10, 24, 21, 50, tzinfo=UTC)  # ten minutes before a day of 25 hours, a week before a new month
BERLIN = ZoneInfo("Europe/Berlin")
LEASE = timedelta(seconds=budget.LEASE_SECONDS)
CEILINGS = ("tokens_per_day", "tokens_per_month", "requests_per_minute", "answers_at_once")
SCOPES = ("organization", "department", "person", "member")


@dataclass
class Known:
    """A call as the reference knows it."""

    asked: budget.Request
    at: datetime
    cap: int
    lease: datetime
    written: int = 0
    used: int | None = None

    def holds(self, now: datetime) -> int:
        if self.used is not None:
            return self.used
        return self.asked.prompt + (self.cap if self.lease > now else self.written)

    def is_of(self, scope: str, asked: budget.Request) -> bool:
        here, theirs = (
            self.asked.department_id == asked.department_id,
            self.asked.person_id == asked.person_id,
        )
        return {"organization": True, "department": here, "person": theirs, "member": here and theirs}[scope]

    @property
    def is_question(self) -> bool:
        return self.asked.purpose == "chat"


@dataclass
class Reference:
    """The rules of departments/limits/sql/step.sql, once more and slowly."""

    limits: dict[tuple[str, UUID | None, UUID | None], dict[str, int]] = field(default_factory=dict)
    calls: list[Known] = field(default_factory=list)

    def ceilings(self, asked: budget.Request, name: str) -> Iterator[tuple[str, int | None]]:
        def of(department: UUID | None, person: UUID | None, field_name: str) -> int | None:
            return self.limits.get(("", department, person), {}).get(field_name)

        here, theirs = asked.department_id, asked.person_id
        own, there = of(None, theirs, name), of(here, theirs, name)
        allowance = of(here, None, f"person_{name}")
        yield "organization", of(None, None, name)
        yield "department", of(here, None, name)
        nothing_nearer = there is None and allowance is None
        yield "person", own if own is not None or not nothing_nearer else of(None, None, f"person_{name}")
        yield "member", there if there is not None or own is not None else allowance

    def used(self, scope: str, asked: budget.Request, name: str, now: datetime) -> int:
        mine = [call for call in self.calls if call.is_of(scope, asked)]
        if name == "requests_per_minute":
            return sum(call.is_question and call.at > now - timedelta(seconds=60) for call in mine)
        if name == "answers_at_once":
            return sum(call.is_question and call.used is None and call.lease > now for call in mine)
        today = now.astimezone(BERLIN).date()
        days = [call for call in mine if _in_period(call.at.astimezone(BERLIN).date(), today, name)]
        return sum(call.holds(now) for call in days)

    def admit(self, asked: budget.Request, now: datetime) -> int | None:
        """The answer's cap, or None."""
        cap = asked.wanted
        for name in CEILINGS:
            for scope, ceiling in self.ceilings(asked, name):
                if ceiling is None:
                    continue
                left = ceiling - self.used(scope, asked, name, now)
                if name in {"requests_per_minute", "answers_at_once"}:
                    if asked.purpose == "chat" and left <= 0:
                        return None
                elif left - asked.prompt < min(asked.smallest, asked.wanted):
                    return None
                else:
                    cap = min(cap, left - asked.prompt)
        return cap


def _in_period(day: Any, today: Any, name: str) -> bool:
    if name == "tokens_per_day":
        return bool(day == today)
    return bool((day.year, day.month) == (today.year, today.month))


class Ledger(RuleBasedStateMachine):
    """The real functions on a real database, beside the reference."""

    company: Company
    clock: Clock

    @initialize()
    def begin(self) -> None:
        self.company = make_company()
        self.now = START
        self.reference = Reference()
        self._clock = clock_at(START.isoformat())
        self.clock = self._clock.__enter__()

    def teardown(self) -> None:
        if hasattr(self, "_clock"):
            self._clock.__exit__(None, None, None)

    @rule(
        who=st.sampled_from(("bob", "carol")),
        where=st.sampled_from(("hr", "finance")),
        prompt=st.integers(1, 120),
        wanted=st.integers(0, 200),
        purpose=st.sampled_from(("chat", "chat", "chat", "search")),
    )
    def reserve(self, who: str, where: str, prompt: int, wanted: int, purpose: str) -> None:
        asked = request(
            self.company,
            person_id=getattr(self.company, who).pk,
            department_id=getattr(self.company, where).pk,
            prompt=prompt,
            wanted=wanted,
            purpose=purpose,
        )
        expected = self.reference.admit(asked, self.now)
        granted, resets_at = self.clock.admit(asked)
        assert granted == (expected is not None)
        if expected is None:
            assert resets_at is not None
            assert resets_at > self.now
            return
        row = Reservation.objects.get(call_id=asked.call_id)
        assert row.tokens_reserved - row.tokens_prompt == expected
        self.reference.calls.append(Known(asked, self.now, expected, self.now + LEASE))

    def _running(self) -> list[Known]:
        return [call for call in self.reference.calls if call.used is None]

    @precondition(lambda self: self._running())
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self._running()))
        used = data.draw(st.integers(0, call.asked.prompt + call.cap))
        assert self.clock.settle(call.asked, used)
        call.used = used
        assert not self.clock.settle(call.asked, used + 1), "the first settlement stands"

    @precondition(lambda self: self._running())
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self._running()))
        written = data.draw(st.integers(call.written, call.cap))
        renewed = self.clock.renew(call.asked, written)
        assert renewed == (call.lease > self.now)
        if renewed:
            call.lease, call.written = self.now + LEASE, written

    @rule(seconds=st.sampled_from((1, 20, 44, 45, 46, 59, 60, 61, 600)))
    def wait(self, seconds: int) -> None:
        self._set(self.now + timedelta(seconds=seconds))

    @rule(days=st.sampled_from((0, 0, 0, 1, 6)))
    def wait_for_midnight(self, days: int) -> None:
        tomorrow = self.now.astimezone(BERLIN).date() + timedelta(days=1 + days)
        self._set(datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=BERLIN).astimezone(UTC))

    def _set(self, moment: datetime) -> None:
        self.now = moment
        self.clock.set(moment.isoformat())

    @rule(
        scope=st.sampled_from(SCOPES),
        name=st.sampled_from(CEILINGS),
        each=st.booleans(),
        ceiling=st.one_of(st.none(), st.integers(0, 6), st.integers(100, 900)),
    )
    def change_a_limit(self, scope: str, name: str, each: bool, ceiling: int | None) -> None:
        department = self.company.hr if scope in {"department", "member"} else None
        person = self.company.bob if scope in {"person", "member"} else None
        field_name = f"person_{name}" if each and person is None else name
        Limit.objects.update_or_create(
            organization=self.company.organization,
            department=department,
            person=person,
            defaults={field_name: ceiling, "reason": "test"},
        )
        key = ("", department.pk if department else None, person.pk if person else None)
        row = self.reference.limits.setdefault(key, {})
        row.pop(field_name, None)
        if ceiling is not None:
            row[field_name] = ceiling

    @invariant()
    def the_counters_are_the_sums_of_what_was_settled(self) -> None:
        if not hasattr(self, "reference"):
            return
        expected: dict[tuple[str, str], int] = {}
        for call in self.reference.calls:
            if call.used is not None:
                key = ("organization", str(call.at.astimezone(BERLIN).date()))
                expected[key] = expected.get(key, 0) + call.used
        rows = Spent.objects.filter(organization_id=self.company.organization.pk, scope="organization")
        assert {(row.scope, str(row.day)): row.tokens for row in rows} == expected


Ledger.TestCase.settings = settings(
    max_examples=int(os.environ.get("CHATGRID_TEST_EXAMPLES", "12")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLedger = Ledger.TestCase
