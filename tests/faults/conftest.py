"""A ChatGrid of its own for tests that break things: own PostgreSQL, own Valkey, own simulator, own web process.

What is broken here is broken for nobody else. Everything is driven from outside, as people and operators would.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from chatgrid.dev.services.bootstrap import OWNER
from chatgrid.dev.services.ports import pick
from chatgrid.dev.services.stack import Stack, at

ROOT = Path(__file__).resolve().parents[2]
STREAM = {"Accept": "text/event-stream"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.path.name.startswith("test_site"):
            item.add_marker(pytest.mark.faults)


@dataclass
class Site:
    """One small ChatGrid. `person` are the cookies, token and paths of a member of HR."""

    stack: Stack
    environment: dict[str, str]
    database: str
    folder: Path
    person: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start `web` or `simulator` on its port and wait until it answers."""
        port = self.ports.setdefault(name, pick())
        app = {"web": "chatgrid.asgi:application", "simulator": "chatgrid.dev.openai_simulator.app:app"}[name]
        path = {"web": "/healthz", "simulator": "/__simulator/health"}[name]
        command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        wait_until(lambda: answers(f"http://127.0.0.1:{port}{path}"), f"{name} to answer")

    def kill(self, name: str) -> None:
        """kill -9."""
        if name.startswith("worker"):
            os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].kill()
        self.processes[name].wait()

    def url(self, name: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def client(self, who: str = "") -> httpx2.Client:
        """The browser of the member, or of the department's admin (`who` = "admin_")."""
        cookies = {"chatgrid_session": self.person[f"{who}session"], "chatgrid_csrf": self.person[f"{who}csrf"]}
        return httpx2.Client(base_url=self.url("web"), cookies=cookies, timeout=60, trust_env=False)

    def form(self, question: str) -> dict[str, str]:
        return {"question": question, "csrfmiddlewaretoken": self.person["csrf"]}

    def ask(self, question: str) -> httpx2.Response:
        with self.client() as client:
            return client.post(self.person["path"], data=self.form(question), headers=STREAM)

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the control database, read as its owner."""
        with psycopg.connect(self.stack.postgres.url(OWNER, self.database), autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def manage(self, script: str) -> str:
        """Run Python in a process that has Django, as a worker would."""
        command = [sys.executable, "-c", f"import django; django.setup()\n{script}"]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True)
        return done.stdout

    def start_worker(self, name: str = "worker") -> None:
        """A Celery worker in a process group of its own, so that kill -9 takes its children too."""
        self._start_celery(name, ["worker", "--concurrency", "1", "--hostname", f"{name}@%h"])

    def start_schedule(self) -> None:
        """What `make run` has for the clock: the sweep and its like come by themselves."""
        self._start_celery("beat", ["beat", "--schedule", str(self.folder / "beat-schedule")])

    def _start_celery(self, name: str, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "celery", "-A", "chatgrid", *arguments]
        environment = self.environment | {"CHATGRID_PAGE_POOL_SIZE": "0"}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self, name: str) -> None:
        self.processes[name].terminate()
        self.processes.pop(name).wait(timeout=30)

    def misbehave(self, kind: str, endpoint: str = "chat", **options: Any) -> None:
        order = {"kind": kind, "options": options, "endpoint": endpoint}
        httpx2.post(self.url("simulator", "/__simulator/behaviour"), json=order).raise_for_status()

    def behave(self) -> None:
        httpx2.delete(self.url("simulator", "/__simulator/behaviour")).raise_for_status()

    def asked(self) -> int:
        """How many chat requests ever reached the provider."""
        journal = httpx2.get(self.url("simulator", "/__simulator/journal")).raise_for_status().json()
        return sum(1 for request in journal["requests"] if request["path"].endswith("/chat/completions"))

    def events(self, *names: str) -> list[tuple[Any, ...]]:
        return self.rows("SELECT event, outcome, call_id FROM audit_event WHERE purpose = 'chat' ORDER BY at")


def answers(address: str) -> bool:
    try:
        return httpx2.get(address, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


@pytest.fixture(scope="package")
def running_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("faults")
    stack = at(folder / "services", durable=True)
    with ExitStack() as ending:
        for service in (stack.postgres, stack.valkey):
            ending.callback(service.stop)
            service.start()
        stack.postgres.bootstrap()
        database = f"faults_{secrets.token_hex(3)}"
        stack.postgres.create_control_database(database)
        simulator = pick()
        environment = (
            dict(os.environ)
            | stack.environment(database)
            | {
                "CHATGRID_DATA": str(folder / "data"),
                "CHATGRID_OPENAI_BASE_URL": f"http://127.0.0.1:{simulator}/v1",
                "CHATGRID_FLOOD_SHIELD": "1",
                "CHATGRID_SIMULATOR_FIRST_TOKEN_MS": "0",
                "CHATGRID_SIMULATOR_TOKENS_PER_SECOND": "0",
                "CHATGRID_SIMULATOR_JOURNAL": "1000000",  # whoever counts requests must find the first, too
                "DJANGO_SETTINGS_MODULE": "chatgrid.settings",
            }
        )
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
        site.start("simulator")
        site.start("web")
        yield site
        for process in site.processes.values():
            process.terminate()
        for process in site.processes.values():
            process.wait(timeout=20)


@pytest.fixture
def site(running_site: Site) -> Iterator[Site]:
    """The site, whole again after each test."""
    yield running_site
    running_site.stack.postgres.start()
    running_site.stack.valkey.start()
    for name in ("simulator", "web"):
        if running_site.processes[name].poll() is not None:
            running_site.start(name)
    running_site.behave()
    wait_until(lambda: answers(running_site.url("web", "/healthz")), "the site to recover")
    # every connection that the outage broke has to be met once before the next test counts sentences
    wait_until(lambda: all("event: done" in running_site.ask("Back again?").text for _ in range(8)), "it to be whole")
