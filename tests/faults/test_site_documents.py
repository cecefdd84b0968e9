"""An ingest under fire: workers and the store's server are killed at random while many files are uploaded and read.

At the end every file that was taken is live or has its reason, none is there twice, none is lost. CI kills during 40
files, at last all workers at once, and ends the leases of the dead; CHATGRID_KILL_FILES=500 does it for 500 and waits.
"""

from __future__ import annotations

import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2
import psutil
import psycopg
import pytest

from chatgrid.dev.services.postgres import servers_in
from tests.faults.conftest import Site, wait_until

pytestmark = pytest.mark.faults

IN_FULL = "CHATGRID_KILL_FILES" in os.environ
FILES = int(os.environ.get("CHATGRID_KILL_FILES", "40"))
WORKERS = ("worker-1", "worker-2")
KINDS = ("worker", "worker", "server")
EVERY = 20  # one file in so many is torn and must fail with its reason
PATIENCE = 300 + 3 * FILES  # seconds until the last file has ended: leases of killed workers take a minute


def content(number: int) -> tuple[str, bytes]:
    if number % EVERY == 0:
        return f"torn-{number}.pdf", b"%%PDF-1.7 number %d and then nothing" % number
    parts = "\n\n".join(f"## Part {part}\n\nRule {number}.{part} is about garden {number}." for part in range(6))
    return f"rules-{number}.md", f"# Rules {number}\n\n{parts}".encode()


def upload_all(site: Site) -> list[str]:
    """As the page does it: four at a time, and again after a refusal that says so."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda number: upload(site, *content(number)), range(FILES)))


def upload(site: Site, name: str, data: bytes) -> str:
    deadline, last = time.monotonic() + 180, ""
    while time.monotonic() < deadline:
        try:
            with site.client("admin_") as client:
                answer = client.post(
                    site.person["documents"],
                    data={"csrfmiddlewaretoken": site.person["admin_csrf"]},
                    files={"documents": (name, data)},
                    headers={"Accept": "application/json"},
                )
            if answer.status_code == 200:
                return name
            last = f"{answer.status_code} {answer.text[:300]}"
        except httpx2.TransportError as error:
            last = repr(error)
        time.sleep(0.5)  # the person presses "Try again"
    raise AssertionError(f"{name} was not taken in 180 s: {last}")


@dataclass
class Fire:
    """Kills a worker or the database server every few seconds, and starts it again as a supervisor would.

    It runs in the test's own thread: a server that is on a leash ends with the thread that started it.
    """

    site: Site
    dice: random.Random
    done: list[str] = field(default_factory=list)

    def burn(self, kills: int) -> None:
        while len(self.done) < kills:
            time.sleep(self.dice.uniform(1.0, 3.0))
            # the first two make sure of one of each kind
            kind = ("worker", "server")[len(self.done)] if len(self.done) < 2 else self.dice.choice(KINDS)
            (self.kill_server if kind == "server" else self.kill_worker)()
            self.done.append(kind)

    def kill_worker(self) -> None:
        name = self.dice.choice(WORKERS)
        self.site.kill(name)
        self.site.start_worker(name)

    def kill_server(self) -> None:
        postgres = self.site.stack.postgres
        for process in servers_in(postgres.data):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass  # the parent took it along
        time.sleep(self.dice.uniform(0.2, 2.0))
        postgres.start()


def in_store(site: Site, statement: str) -> list[tuple[Any, ...]]:
    """Rows of HR's store, as the server's superuser."""
    ((name,),) = site.rows("SELECT store_name FROM departments_department WHERE slug = 'hr'")
    with site.stack.postgres._connect(name) as connection:
        return connection.execute(statement).fetchall()


def working(site: Site) -> int:
    try:
        ((number,),) = in_store(
            site, "SELECT count(*) FROM version WHERE state IN ('received', 'extracting', 'embedding')"
        )
    except psycopg.OperationalError:
        return -1
    return int(number)


def kill_all_workers(site: Site) -> None:
    """At once. Before others come, the leases of the dead are over, and so is the wait for what was in their hands."""
    for worker in WORKERS:
        site.kill(worker)
    in_store(
        site,
        "UPDATE version SET queue_again_at = clock_timestamp(),"
        " lease_until = CASE WHEN lease_until IS NOT NULL THEN clock_timestamp() END"
        " WHERE state IN ('received', 'extracting', 'embedding') RETURNING 1",
    )
    for worker in WORKERS:
        site.start_worker(worker)


@pytest.mark.timeout(PATIENCE + 600)
def test_whatever_is_killed_every_file_ends_once_and_with_its_reason(site: Site) -> None:
    seed = int(os.environ.get("CHATGRID_KILL_SEED", random.randrange(10**6)))
    before = {name for (name,) in in_store(site, "SELECT filename FROM version")}
    for worker in WORKERS:
        site.start_worker(worker)
    site.start_schedule()
    fire, started = Fire(site, random.Random(seed)), time.monotonic()
    try:
        with ThreadPoolExecutor(1) as beside:
            uploads = beside.submit(upload_all, site)
            fire.burn(max(6, FILES // 12))
            taken = uploads.result()
        uploaded = time.monotonic()
        if not IN_FULL:
            kill_all_workers(site)
        wait_until(lambda: working(site) == 0, f"every file to end (seed {seed})", PATIENCE)
        sys.stdout.write(
            f"{FILES} files taken in {uploaded - started:.0f} s and ended after {time.monotonic() - started:.0f} s;"
            f" {fire.done.count('worker')} workers and {fire.done.count('server')} servers were killed (seed {seed})\n"
        )
        assert_whole(site, set(taken) | before, seed)
    finally:
        for name in (*WORKERS, "beat"):
            site.stop(name)


def assert_whole(site: Site, expected: set[str], seed: int) -> None:
    rows = in_store(site, "SELECT filename, state, sentence, passages, id::text, document_id::text FROM version")
    names = [name for name, *_ in rows]
    assert sorted(names) == sorted(set(names)), f"twice (seed {seed})"
    assert set(names) == expected, f"lost or invented (seed {seed})"
    for name, state, sentence, passages, _, _ in rows:
        assert state in {"live", "failed"}, (name, state, seed)
        assert (state == "live") == (passages > 0) == (not sentence), (name, state, sentence, seed)
        if name.startswith("torn-"):
            assert state == "failed", name
        elif state == "failed":
            # the one reason a good file may have: it was being read at each of three kills
            assert "ended the reader three times" in sentence, (name, sentence, seed)
    # what is searched is exactly what the live versions hold, each passage once
    ((held, distinct, searched),) = in_store(
        site,
        "SELECT count(*), count(DISTINCT (version_id, ordinal)), count(*) FILTER (WHERE searchable AND"
        " embedding IS NOT NULL AND weights IS NOT NULL) FROM passage",
    )
    assert held == distinct == searched == sum(row[3] for row in rows)
    assert in_store(site, "SELECT passages FROM corpus") == [(held,)]
    assert in_store(site, "SELECT count(*) FROM draft") == [(0,)]
    # the record knows every end: perhaps twice after a crash between the two, never not at all
    ends = site.rows("SELECT details->>'version_id', event FROM audit_event WHERE subject_kind = 'document'")
    known = {(version, event) for version, event in ends}
    for name, state, _, _, version, _ in rows:
        assert (version, f"document:{state}") in known, (name, state, seed)
        assert (version, "document:uploaded") in known, (name, seed)
