"""How fast IT's pages answer in a large company: 100 departments, 5,000 people, a year of events. Part of `make bench`.

`EVENTS=10000000 python -m pytest -s tests/bench/test_console_lists.py` fills that many events (two a call, in a year),
the ledger of the last two months and a few thousand rows of everything else, and then asks for every page that
can be reached from the home page: each list with each of its filters, columns and pages, a search, a row of each, its
history, the charts. What is judged is processor time, of this process and of the database's behind it (Linux): the
clock on the wall also measures who else is on the machine.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
from django.core import signals
from django.db import close_old_connections, connection
from django.test import Client
from django.urls import Resolver404, resolve
from django.utils import timezone

from audit.roles import connect
from chatgrid.accounts.models import User
from departments.keys.models import Finding, KeyReference
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.limits.grant_models import Grant
from departments.limits.models import Limit
from departments.models import Department, Membership
from tests.bench.charts import fill, roll_up
from tests.company import Company, make_company

DEPARTMENTS, PEOPLE = 100, 5_000
EVENTS = int(os.environ.get("EVENTS", "20000"))
SECONDS = 0.5  # of processor time, of both processes together
ROUNDS = 3
LINK = re.compile(r'href="([^"]+)"')
SEARCH = "Person 49"
# two addresses that differ in these alone are two pages
TOLD_APART = ("o", "p", "q", "e")

LEDGER = """
    INSERT INTO limits_reservation (call_id, organization_id, department_id, person_id, purpose, model, day,
        admitted_at, lease_until, tokens_counted, tokens_prompt, tokens_reserved, tokens_written, tokens_used,
        tokens_input, cost_used, estimated, settled_at, stop_requested)
    SELECT id, organization_id, department_id, actor_id, 'chat', model_asked, at::date, at, at, 1000, 1000, 2000, 200,
        tokens_input + tokens_output, tokens_input, cost, false, at + interval '3 seconds', false
    FROM audit_event WHERE organization_id = %s AND event = 'call:answered' AND at > now() - interval '62 days'
"""
COUNTERS = """
    INSERT INTO limits_spent (scope, scope_id, day, organization_id, department_id, person_id, tokens, requests, cost)
    SELECT scope, scope_id, day, organization_id, department, person, sum(tokens_used), count(*), sum(cost_used)
    FROM limits_reservation r CROSS JOIN LATERAL (VALUES
        ('organization', r.organization_id, NULL::uuid, NULL::uuid),
        ('department', r.department_id, r.department_id, NULL),
        ('person', r.person_id, NULL, r.person_id),
        ('member', limits_member(r.department_id, r.person_id), r.department_id, r.person_id)
    ) AS s (scope, scope_id, department, person)
    WHERE r.organization_id = %s GROUP BY 1, 2, 3, 4, 5, 6
"""


pytestmark = pytest.mark.timeout(7_200)


@pytest.fixture(scope="module")
def large() -> Company:
    company = make_company()
    organization, slug, now = company.organization, company.organization.slug, timezone.now()
    departments = Department.objects.bulk_create(
        Department(organization=organization, slug=f"d{number}", name=f"Department {number}")
        for number in range(DEPARTMENTS)
    )
    people = User.objects.bulk_create(
        User(organization=organization, email=f"p{number}@{slug}.example", name=f"Person {number}")
        for number in range(PEOPLE)
    )
    placed = [(person, departments[number % DEPARTMENTS]) for number, person in enumerate(people)]
    Membership.objects.bulk_create(Membership(user=person, department=department) for person, department in placed)
    Limit.objects.create(
        organization=organization, person_tokens_per_day=50_000, tokens_per_month=10**9, reason="bench"
    )
    Limit.objects.bulk_create(
        Limit(organization=organization, person=person, tokens_per_day=1_000, reason="bench") for person in people
    )
    Grant.objects.bulk_create(
        Grant(
            organization=organization,
            department=department,
            person=person,
            amount=500,
            starts_at=now - timedelta(days=number % 300),
            ends_at=now - timedelta(days=number % 300 - 7),
            granted_by=company.alice.pk,
            granted_by_name="Alice",
            reason="bench",
        )
        for number, (person, department) in enumerate(placed * 4)
    )
    KeyAccess.objects.bulk_create(
        KeyAccess(organization=organization, person=person, department=department, how="vault")
        for person, department in placed
    )
    KeyReference.objects.bulk_create(
        KeyReference(department=department, secret_name=str(department.pk), version="1", fingerprint="f" * 16)
        for department in departments
    )
    for department in departments:
        _history_of(company, department)
    _events(company, [person.pk for person in people], [department.pk for department in departments])
    return company


def _history_of(company: Company, department: Department) -> None:
    """What two years of drift checks and exchanges of keys leave."""
    now = timezone.now()
    Finding.objects.bulk_create(
        Finding(
            department=department, kind=f"tools-{number}", sentence="On", seen_at=now, closed_at=now if number else None
        )
        for number in range(20)
    )
    Rotation.objects.bulk_create(
        Rotation(
            organization=company.organization,
            department=department,
            trigger="age",
            started_at=now - timedelta(days=90 * number),
            step_since=now,
            closed_at=now - timedelta(days=90 * number),
            secret_name=f"{department.pk}",
        )
        for number in range(8)
    )


def _events(company: Company, people: list[Any], departments: list[Any]) -> None:
    started = time.perf_counter()
    fill(EVENTS, company.organization.pk, people, departments)
    roll_up()
    with connect("owner") as owner:
        owner.execute(LEDGER, [company.organization.pk])
        owner.execute(COUNTERS, [company.organization.pk])
        owner.execute("VACUUM (ANALYZE)")
    say(f"{EVENTS:,} events filled in {time.perf_counter() - started:.0f} s")


def say(words: str) -> None:
    sys.stderr.write(f"\n  console: {words}")


def test_every_page_of_the_console_answers_well_within_a_second(large: Company) -> None:
    # the same connection all along: the processor time of the server's process behind it is read
    signals.request_started.disconnect(close_old_connections)
    signals.request_finished.disconnect(close_old_connections)
    slow = {}
    for address, ours, theirs in _walk(large.ivan):
        say(f"{ours * 1000:5.0f} ms here, {theirs * 1000:5.0f} ms in the database: {address}")
        if ours + theirs > SECONDS:
            slow[address] = (ours, theirs)
    assert not slow


def _walk(person: User) -> Iterator[tuple[str, float, float]]:
    """Each page that can be reached, one of each kind, with its processor time here and in the database in seconds."""
    client = Client()
    client.force_login(person)
    waiting, seen = ["/admin/"], {_kind("/admin/")}
    while waiting:
        address = waiting.pop(0)
        answer = client.get(address)
        if answer.status_code != 200 or not answer.get("Content-Type", "").startswith("text/html"):
            continue
        yield address, *_cost(client, address)
        found = [urljoin(address, unescape(link)) for link in LINK.findall(answer.content.decode())]
        if 'name="q"' in answer.content.decode() and "?" not in address:
            found.append(f"{address}?q={SEARCH}")
        if "?" in address:
            continue  # one filter at a time
        for link in found:
            if _is_ours(link) and (kind := _kind(link)) not in seen:
                seen.add(kind)
                waiting.append(link)


def _is_ours(link: str) -> bool:
    parts = urlsplit(link)
    return not parts.netloc and parts.path.startswith("/admin/") and "csv" not in parts.path


def _kind(link: str) -> tuple[str, tuple[Any, ...]]:
    """Two links of one kind lead to pages of one kind: another row, another value of the same filter."""
    parts = urlsplit(link)
    given = parse_qsl(parts.query, keep_blank_values=True)
    query = tuple(sorted((name, value if name in TOLD_APART else "") for name, value in given))
    try:
        return resolve(parts.path).view_name, query
    except Resolver404:
        return parts.path, query


def _cost(client: Client, address: str) -> tuple[float, float]:
    """Medians of `ROUNDS`, after the one that compiled the templates."""
    ours, busy = time.process_time(), _busy()
    for _ in range(ROUNDS):
        client.get(address)
    return (time.process_time() - ours) / ROUNDS, (_busy() - busy) / ROUNDS


def _busy() -> float:
    """Seconds of processor time of the database's process behind this connection."""
    stat = Path(f"/proc/{connection.connection.info.backend_pid}/stat").read_text(encoding="ascii")
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
