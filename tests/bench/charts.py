"""Millions of events, and how long an auditor waits: `python -m tests.bench.charts --events 10000000`.

A throw-away ChatGrid is filled with a year of one company's calls, two events each, of `PEOPLE` people in `DEPARTMENTS`
departments; then the auditor's pages are asked for as a browser would ask, through the whole view. Seals here are
stand-ins without a signature, because the charts read what was sealed and not how; everything else is the product.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from chatgrid.dev.services.stack import running

DAYS = 365
PEOPLE, DEPARTMENTS = 5_000, 30
MODELS = ("gpt-6-luna", "gpt-6-sol", "text-embedding-3-small", "gpt-6-terra")
STEP = 250_000
SEAL = 20_000
ROUNDS = 5
CONTROL = "chatgrid_charts"

# two events a call, spread evenly over the year; the fourth model is asked once in fifty thousand calls
FILL = f"""
    WITH numbered AS (
        SELECT n, now() - make_interval(secs => %(seconds)s * (1 - n::float8 / %(events)s)) AS at,
            %(people)s::uuid[] AS people, %(departments)s::uuid[] AS departments, (hashint8(n / 2) & 1048575) AS chance
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    ), written AS (
        INSERT INTO audit_event (at, event, call_id, organization_id, organization_name, department_id,
            department_name, actor_id, actor_name, client_address, purpose, model_asked, model_answered, query_hash,
            passages, tokens_input, tokens_cached, tokens_output, cost, outcome, first_token_ms, total_ms,
            provider_request_id, key_fingerprint, key_version, details)
        SELECT at, CASE n %% 2 WHEN 0 THEN 'call:requested' WHEN 1 THEN
                CASE chance %% 40 WHEN 0 THEN 'call:refused' ELSE 'call:answered' END END,
            md5((n / 2)::text)::uuid, %(organization)s, 'Bench', departments[1 + chance %% cardinality(departments)],
            'A department', people[1 + (chance * 7) %% {PEOPLE}], 'Somebody', '192.0.2.7', 'chat',
            (%(models)s::text[])[CASE WHEN (n / 2) %% 50000 = 7 THEN 4 ELSE 1 + chance %% 3 END],
            'gpt-6-luna-2026-08', encode(sha256(n::text::bytea), 'hex'), '["doc-1/4", "doc-2/7"]',
            CASE n %% 2 WHEN 1 THEN 800 + chance %% 400 END, CASE n %% 2 WHEN 1 THEN 100 END,
            CASE n %% 2 WHEN 1 THEN 200 END, CASE n %% 2 WHEN 1 THEN 0.00123456 END,
            CASE n %% 2 WHEN 1 THEN 'answered' ELSE '' END, 400, 2400, 'req_' || n, 'a1b2c3d4e5f60718', 'v-7',
            '{{"reason": "", "attempts": 1}}'
        FROM numbered RETURNING id, at
    )
    INSERT INTO audit_leaf (seq, seal, event_id, at, hash)
    SELECT seq, 1 + (seq - 1) / {SEAL}, id, at, sha256(id::text::bytea)
    FROM (SELECT %(first)s - 1 + row_number() OVER (ORDER BY at) AS seq, id, at FROM written) w
"""
SEALS = """
    INSERT INTO audit_seal (n, at, first_seq, last_seq, root, previous, public_key, signature)
    SELECT seal, now(), min(seq), max(seq), sha256('root'), sha256('previous'), sha256('key'),
        sha256('one') || sha256('two') FROM audit_leaf GROUP BY seal ORDER BY seal
"""


@contextmanager
def product() -> Iterator[None]:
    """ChatGrid with an empty control database and no provider, for as long as the block lasts."""
    with running() as stack, tempfile.TemporaryDirectory(prefix="chatgrid-bench-") as data:
        stack.postgres.create_control_database(CONTROL)
        os.environ |= stack.environment(CONTROL) | {
            "CHATGRID_ENVIRONMENT": "test",
            "CHATGRID_SECRET_KEY": secrets.token_urlsafe(50),
            "CHATGRID_DATA": data,
            "CHATGRID_ALLOWED_HOSTS": "testserver",
            "CHATGRID_LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": "chatgrid.settings",
        }
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", database="owner", verbosity=0)
        yield


def say(words: str) -> None:
    print(words, flush=True)


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def fill(events: int, organization: UUID, people: list[UUID], departments: list[UUID]) -> None:
    """A year of sealed events, as the owner of the database, who alone can write the past."""
    from audit.roles import connect

    with connect("owner") as owner:
        for ago in range(14):
            owner.execute(
                "SELECT audit_make_partition(day), audit_make_leaf_partition(day) FROM"
                " (SELECT (now() - make_interval(months => %s))::date AS day) d",
                [ago],
            )
        values = {
            "events": events,
            "seconds": DAYS * 86_400,
            "organization": organization,
            "people": people,
            "departments": departments,
            "models": list(MODELS),
        }
        for first in range(1, events + 1, STEP):
            owner.execute(FILL, {**values, "first": first, "last": min(events, first + STEP - 1)})
        owner.execute(SEALS)
        owner.execute("VACUUM (ANALYZE) audit_event, audit_leaf, audit_seal")


def roll_up() -> None:
    from audit import rollups
    from audit.roles import connect

    with connect("default") as connection, connection.cursor() as cursor:
        rollups.advance(cursor)
    with connect("owner") as owner:
        owner.execute("VACUUM (ANALYZE) audit_rollup, audit_rollup_person, audit_rollup_detail")


def check() -> int:
    from audit import rollups
    from audit.roles import connect

    with connect("default") as connection, connection.cursor() as cursor:
        return len(rollups.differences(cursor))


def company() -> tuple[Any, list[UUID], list[UUID]]:
    """An auditor, and the ids of the people and departments of their company."""
    from chatgrid.accounts.models import User
    from departments.models import Department
    from tests.company import make_company

    made = make_company()
    names = [f"Department {number}" for number in range(DEPARTMENTS)]
    departments = Department.objects.bulk_create(
        Department(organization=made.organization, slug=f"d{number}", name=name) for number, name in enumerate(names)
    )
    people = User.objects.bulk_create(
        User(email=f"p{number}@{made.organization.slug}.example", name=f"P {number}", organization=made.organization)
        for number in range(PEOPLE)
    )
    return made, [each.pk for each in people], [each.pk for each in departments]


def pages(people: list[UUID], departments: list[UUID]) -> dict[str, str]:
    """What an auditor asks for, by what it is called in docs/performance.md."""
    today, record = datetime.now(UTC).date(), "/admin/audit/auditevent/"
    year = f"since={today - timedelta(days=DAYS - 1)}"
    return {
        "charts of 30 days": f"{record}charts/",
        "charts of 90 days": f"{record}charts/?since={today - timedelta(days=89)}",
        "charts of a year": f"{record}charts/?{year}",
        "charts of a year, one model": f"{record}charts/?{year}&model={MODELS[1]}",
        "charts of a year, one department": f"{record}charts/?{year}&department={departments[0]}",
        "charts of a year, one person": f"{record}charts/?{year}&person={people[0]}",
        "list, newest": record,
        "list, one person": f"{record}?person={people[0]}",
        "list, one department": f"{record}?department={departments[0]}",
        "list, refused calls": f"{record}?event=call:refused",
        "list, ten months back": f"{record}?until={today - timedelta(days=300)}",
        "list, a model asked once in 50,000 calls": f"{record}?model={MODELS[3]}",
        "seals": f"{record}seals/",
    }


def ask(auditor: Any, address: str) -> str:
    """Time and processor time of a page through the whole view, the median of `ROUNDS` after a first one."""
    from django.core import signals
    from django.db import close_old_connections, connection
    from django.test import Client

    client = Client()
    client.force_login(auditor)
    signals.request_started.disconnect(close_old_connections)  # the same server process all along: its time is read
    signals.request_finished.disconnect(close_old_connections)
    assert client.get(address).status_code == 200
    busy = _busy(connection)
    waits = [timed(lambda: client.get(address)) for _ in range(ROUNDS)]
    spent = (_busy(connection) - busy) / ROUNDS
    return f"{statistics.median(waits) * 1000:6.0f} ms, of processor time {spent * 1000:4.0f} ms in the database"


def _busy(connection: Any) -> float:
    """Seconds of processor time of the database's process behind this connection (Linux)."""
    stat = Path(f"/proc/{connection.connection.info.backend_pid}/stat").read_text(encoding="ascii")
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    events = parser.parse_args().events
    with product():
        made, people, departments = company()
        seconds = timed(lambda: fill(events, made.organization.pk, people, departments))
        say(f"{events:,} events written and sealed in {seconds:.0f} s")
        seconds = timed(roll_up)
        say(f"taken into the sums in {seconds:.1f} s: {events / seconds:,.0f} events a second")
        for name, address in pages(people, departments).items():
            say(f"{name:44} {ask(made.ada, address)}")
        say(f"sums that differ from the record: {check()}")


if __name__ == "__main__":
    main()
