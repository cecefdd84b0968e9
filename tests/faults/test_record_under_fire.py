"""kill -9 of the web process, the worker, the sealer and the database, at random moments under load, again and again.

A ChatGrid of its own, with the processes of a deployment: web, a worker with its clock, the sealer, PostgreSQL that
writes to its disk. People ask and upload all the while. Afterwards nothing of it may show in the record:

- every request that reached the provider has its request event, written before it;
- every request event has exactly one event of its end;
- what the provider counted is what the record counts. A process may die between the commit of a request and its
  sending: such a call is in the record alone, and the record calls it lost;
- every event is sealed, and the record verifies with the anchor outside.

Each is killed `ROUNDS` times; CHATGRID_FIRE_SECONDS=600 makes it burn for ten minutes, CHATGRID_FIRE_SEED repeats the
kills of an earlier run.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import psycopg
import pytest

from chatgrid.dev.services.ports import pick
from chatgrid.dev.services.postgres import Postgres
from chatgrid.dev.services.stack import Stack
from chatgrid.dev.services.valkey import Valkey
from tests.faults.conftest import ROOT, STREAM, Site, answers, wait_until

pytestmark = pytest.mark.faults

SECONDS = float(os.environ.get("CHATGRID_FIRE_SECONDS", "0"))
ROUNDS = 3
SEED = int(os.environ.get("CHATGRID_FIRE_SEED", str(secrets.randbelow(10**6))))
ASKING, VICTIMS = 6, ("web", "worker", "sealer", "postgres")
OF_OTHERS = {"CHATGRID_OWNER_DATABASE_URL", "CHATGRID_SEALER_DATABASE_URL", "CHATGRID_RETENTION_DATABASE_URL"}
SETTLE = "from departments.calls.tasks import settle_lost_calls; settle_lost_calls()"
UNSEALED = """
    SELECT count(*) FROM audit_event e
    WHERE NOT EXISTS (SELECT FROM audit_leaf l WHERE l.event_id = e.id AND l.at = e.at)
"""


class Fire:
    """A site whose processes are killed while people use it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.kills: Counter[str] = Counter()
        self._dice = random.Random(SEED)

    def start(self, name: str) -> None:
        if name == "postgres":
            self.site.stack.postgres.start()
        elif name in {"web", "simulator"}:
            self.site.start(name)
        else:
            self._start_command(name)

    def _start_command(self, name: str) -> None:
        command, kept = {
            "worker": (["-m", "celery", "-A", "chatgrid", "worker", "-B", "--concurrency", "1"], OF_OTHERS),
            "sealer": (["manage.py", "run_sealer"], OF_OTHERS - {"CHATGRID_SEALER_DATABASE_URL"}),
        }[name]
        environment = {each: value for each, value in self.site.environment.items() if each not in kept}
        with (self.site.folder / f"{name}.log").open("ab") as log:
            self.site.processes[name] = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=environment | {"CHATGRID_PAGE_POOL_SIZE": "0"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """kill -9; of the worker its children too, as a machine that loses its power."""
        if name == "postgres":
            process = self.site.stack.postgres._child._process
            assert process is not None
            process.send_signal(signal.SIGKILL)
        elif name == "web":
            self.site.kill("web")
        else:
            process = self.site.processes[name]
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.kills[name] += 1

    def burn(self, seconds: float) -> None:
        """Kill one after the other, each at a random moment, and let each come back at a random moment."""
        deadline, rounds = time.monotonic() + seconds, 0
        while rounds < ROUNDS or time.monotonic() < deadline:
            rounds += 1
            for victim in self._dice.sample(VICTIMS, len(VICTIMS)):
                time.sleep(self._dice.uniform(0.2, 2.0))
                self.kill(victim)
                time.sleep(self._dice.uniform(0.0, 0.5))
                self.start(victim)

    def journal(self) -> dict[str, Any]:
        answer: dict[str, Any] = httpx2.get(self.site.url("simulator", "/__simulator/journal")).json()
        return answer


def people(site: Site, stop: threading.Event, number: int) -> None:
    """Somebody who asks, and asks again; what fails meanwhile is what this test is about."""
    with site.client() as client:
        client.timeout = httpx2.Timeout(10)
        while not stop.is_set():
            try:
                client.post(site.person["path"], data=site.form(f"What is rule {number}?"), headers=STREAM)
            except httpx2.TransportError:
                stop.wait(0.2)


def uploads(site: Site, stop: threading.Event, number: int) -> None:
    """An admin who uploads small files; the worker's embeddings are calls like others."""
    with site.client("admin_") as client:
        client.timeout = httpx2.Timeout(10)
        while not stop.wait(0.5):
            number += 1
            content = f"# Rule {number}\n\nA private car is refunded {number} cents a kilometre."
            try:
                client.post(
                    site.person["documents"],
                    data={"csrfmiddlewaretoken": site.person["admin_csrf"]},
                    files={"documents": (f"rule-{number}.md", content.encode())},
                    headers={"Accept": "application/json"},
                )
            except httpx2.TransportError:
                stop.wait(0.2)


def hurry_sealer(site: Site, stop: threading.Event, number: int) -> None:
    """Critical events, as it were: seals are made all the time instead of once a minute."""
    while not stop.wait(0.7):
        try:
            site.rows("NOTIFY audit_critical")
        except psycopg.Error:
            pass  # whatever a killed database makes of a connection; the next turn tries again


@pytest.fixture
def fire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fire]:
    folder = tmp_path_factory.mktemp("fire")
    # not the forgetful one of other tests: what it committed must be there after kill -9
    stack = Stack(Postgres(folder / "postgres", leashed=True), Valkey(folder / "valkey", durable=False, leashed=True))
    with ExitStack() as ending:
        for service in (stack.postgres, stack.valkey):
            ending.callback(service.stop)
            service.start()
        stack.postgres.bootstrap()
        database = f"fire_{secrets.token_hex(3)}"
        stack.postgres.create_control_database(database)
        fire = Fire(_site(stack, database, folder))
        ending.callback(_end, fire.site)
        for name in ("simulator", "worker", "sealer", "web"):
            fire.start(name)
        yield fire


def _site(stack: Stack, database: str, folder: Any) -> Site:
    simulator = pick()
    environment = dict(os.environ) | stack.environment(database)
    environment |= {
        "CHATGRID_DATA": str(folder / "data"),
        "CHATGRID_OPENAI_BASE_URL": f"http://127.0.0.1:{simulator}/v1",
        "CHATGRID_SIMULATOR_FIRST_TOKEN_MS": "50",
        "CHATGRID_SIMULATOR_TOKENS_PER_SECOND": "150",
        "CHATGRID_SIMULATOR_JOURNAL": "1000000",
        "DJANGO_SETTINGS_MODULE": "chatgrid.settings",
    }
    site = Site(stack, environment, database, folder, ports={"simulator": simulator})
    prepared = subprocess.run(
        [sys.executable, "-m", "tests.bench.prepare"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    site.person = json.loads(prepared.stdout)
    return site


def _end(site: Site) -> None:
    for name, process in site.processes.items():
        if name in {"worker", "sealer"} and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


def _under_load(fire: Fire, work: Callable[[], None]) -> None:
    stop = threading.Event()
    users = [threading.Thread(target=people, args=(fire.site, stop, number)) for number in range(ASKING)]
    users += [threading.Thread(target=each, args=(fire.site, stop, 0)) for each in (uploads, hurry_sealer)]
    for user in users:
        user.start()
    try:
        work()
    finally:
        stop.set()
        for user in users:
            user.join()


def _come_to_rest(site: Site) -> None:
    """Leases of the dead end, as they would after 45 seconds; then everything that is written gets its seal."""
    wait_until(lambda: answers(site.url("web", "/healthz")), "the web process to recover")
    wait_until(lambda: _is_settled(site), "every call to be settled", seconds=120)
    site.rows("NOTIFY audit_critical")
    wait_until(lambda: site.rows(UNSEALED) == [(0,)], "every event to be sealed", seconds=120)


def _is_settled(site: Site) -> bool:
    # only of those whose process is dead: the living renew theirs every five seconds
    site.rows("UPDATE limits_reservation SET lease_until = now() WHERE lease_until < now() + interval '38 seconds'")
    site.manage(SETTLE)
    return site.rows("SELECT count(*) FROM limits_reservation WHERE settled_at IS NULL") == [(0,)]


def _calls(site: Site) -> dict[str, dict[str, Any]]:
    """Each call of the record: how often it was requested and ended, how, and with how many attempts."""
    rows = site.rows(
        "SELECT call_id::text, count(*) FILTER (WHERE event = 'call:requested'),"
        " count(*) FILTER (WHERE event = 'call:answered'), max(outcome),"
        " max((details->>'attempts')::int), min(at) FILTER (WHERE event = 'call:requested')"
        " FROM audit_event WHERE event IN ('call:requested', 'call:answered') GROUP BY call_id"
    )
    names = ("requested", "ended", "outcome", "attempts", "at")
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}


def test_the_first_person_after_an_outage_of_the_database_meets_no_dead_connection(site: Site) -> None:
    for _ in range(3):
        assert "event: done" in site.ask("Before?").text  # connections that were used a moment ago
        with site.client() as client:
            assert client.get("/", follow_redirects=True).status_code == 200
        process = site.stack.postgres._child._process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        site.stack.postgres.start()
        assert "event: done" in site.ask("And after?").text
        with site.client() as client:
            assert client.get("/", follow_redirects=True).status_code == 200


@pytest.mark.timeout(300 + 3 * SECONDS)
def test_the_record_stays_whole_while_everything_is_killed(fire: Fire) -> None:
    site = fire.site
    _under_load(fire, lambda: fire.burn(SECONDS))
    _come_to_rest(site)
    requests = fire.journal()["requests"]
    asked = Counter(request["client_request_id"] for request in requests)
    calls = _calls(site)
    told = f"seed {SEED}, kills {dict(fire.kills)}, {len(calls)} calls, {len(requests)} requests"
    sys.stderr.write(f"\n  {told}")
    assert min(fire.kills[name] for name in VICTIMS) >= ROUNDS, told
    assert len(calls) > 20, told
    # each with its request event, and each event of a request with one of its end
    assert not set(asked) - set(calls), told
    assert [call for call in calls.values() if (call["requested"], call["ended"]) != (1, 1)] == [], told
    late = [each for each in requests if each["at"] < calls[each["client_request_id"]]["at"].timestamp()]
    assert late == [], told
    # the counts: attempts of a call whose process lived, and one at most of a call whose process died
    living = {name: call for name, call in calls.items() if call["outcome"] != "lost"}
    assert {name: call["attempts"] for name, call in living.items() if call["attempts"]} == {
        name: number for name, number in asked.items() if name in living
    }, told
    never_sent = set(calls) - set(asked)
    assert all(calls[name]["outcome"] == "lost" or calls[name]["attempts"] == 0 for name in never_sent), told
    assert len(requests) == sum(call["attempts"] for call in living.values()) + sum(
        asked[name] for name in calls if name not in living
    )
    verified = _verify(site)
    assert verified.returncode == 0, f"{told}\n{verified.stdout}\n{verified.stderr}"


def _verify(site: Site) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "verify_audit", "--all-anchors"],
        cwd=ROOT,
        env=site.environment,
        capture_output=True,
        text=True,
    )
