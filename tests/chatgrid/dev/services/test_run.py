"""`make run` from the outside: a real supervisor with real PostgreSQL, Valkey and web server in a checkout of its own.

The checkout has our supervisor and, in place of the product, a page, a worker and commands of a few lines, which write
down what they were given. Nothing of the supervisor is replaced.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from chatgrid.dev import run as supervisor_module
from chatgrid.dev.services import ports
from chatgrid.dev.services.processes import start_time

MANAGE = """
import json, os, pathlib, sys
command = sys.argv[1]
pathlib.Path(os.environ["CHATGRID_DATA"], f"seen-{command}.json").write_text(json.dumps(dict(os.environ)))
if command == os.environ.get("FAIL"):
    sys.exit("No such table: person")
if command == "seed_demo":
    print("alice@example.com | employee")
if command == "run_sealer":
    import time
    time.sleep(120)
"""

ASGI = """
import json, os, pathlib
pathlib.Path(os.environ["CHATGRID_DATA"], "seen-web.json").write_text(json.dumps(dict(os.environ)))
async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    status = 200 if scope["path"] == "/healthz" else 404
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})
"""

SLEEPER = """
import os, pathlib, signal, sys, time
name = "beat" if "beat" in sys.argv else "worker"
def leave(*_):
    with pathlib.Path(os.environ["CHATGRID_DATA"], "left").open("a") as file:
        print(name, file=file)
    sys.exit()
signal.signal(signal.SIGTERM, leave)
time.sleep(120)
"""

SIMULATOR = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1]))) as server:
    time.sleep(120)
"""

CHILDREN = {"postgres", "valkey", "simulator", "sealer", "worker", "beat", "web"}


class Checkout:
    """A checkout in a temporary folder, and the supervisors that a test starts in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / ".chatgrid"
        self.started: list[subprocess.Popen[str]] = []

    def run(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            [sys.executable, "-m", "chatgrid.dev.run", *arguments],
            cwd=self.folder,
            env={**bare_environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(started)
        return started

    def manage(self, command: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "chatgrid.dev.command", command]
        return subprocess.run(
            arguments, cwd=self.folder, env=bare_environment(), capture_output=True, text=True, check=False
        )

    def pids(self) -> dict[str, int]:
        return {path.stem: json.loads(path.read_text())["pid"] for path in (self.data / "run").glob("*.json")}

    def seen(self, who: str) -> dict[str, str]:
        return json.loads((self.data / f"seen-{who}.json").read_text())


def bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CHATGRID_")}


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    ours = Path(supervisor_module.__file__).parent
    package = tmp_path / "chatgrid"
    shutil.copytree(ours / "services", package / "dev" / "services")
    for name in ("run.py", "steps.py", "command.py"):
        shutil.copy(ours / name, package / "dev" / name)
    for path, text in {
        package / "__init__.py": "",
        package / "dev" / "__init__.py": "",
        package / "dev" / "openai_simulator.py": SIMULATOR,
        package / "asgi.py": ASGI,
        tmp_path / "celery.py": SLEEPER,
        tmp_path / "manage.py": MANAGE,
    }.items():
        path.write_text(text)
    checkout = Checkout(tmp_path)
    yield checkout
    for started in checkout.started:
        started.terminate()
        started.communicate(timeout=60)
    assert not [pid for pid in checkout.pids().values() if start_time(pid)]


def read_until(started: subprocess.Popen[str], text: str) -> str:
    """What the terminal shows, up to the line with `text`."""
    lines = []
    for line in started.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    pytest.fail(f"it ended without {text!r}:\n{''.join(lines)}")


def stop(started: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> str:
    started.send_signal(number)
    rest, _ = started.communicate(timeout=60)
    assert started.returncode == 0, rest
    return rest


def status(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_command_brings_everything_up_and_ctrl_c_takes_everything_down(checkout: Checkout) -> None:
    port = ports.pick()
    started = checkout.run("--port", str(port))
    shown = read_until(started, "alice@example.com")
    assert f"http://localhost:{port}/" in shown
    assert status(port) == 200
    pids = checkout.pids()
    assert pids.keys() == CHILDREN
    assert all(os.getsid(pid) == pid for pid in pids.values())
    assert (checkout.data / "environment.json").stat().st_mode & 0o777 == 0o600
    assert checkout.manage("verify_audit").returncode == 0
    for name in ("CHATGRID_OWNER_DATABASE_URL", "CHATGRID_SECRET_KEY", "CHATGRID_OPENAI_BASE_URL"):
        assert checkout.seen("verify_audit")[name] == checkout.seen("seed_demo")[name]
    assert "What was written is kept" in stop(started)
    assert "start `make run` in another terminal first" in checkout.manage("verify_audit").stderr
    assert not [pid for pid in pids.values() if start_time(pid)]
    assert checkout.pids() == {}
    assert (checkout.data / "left").read_text().split() == ["beat", "worker"]


def test_children_get_addresses_and_none_of_the_leftovers(checkout: Checkout) -> None:
    started = checkout.run(
        "--prepare-only", OPENAI_API_KEY="left over", DJANGO_SETTINGS_MODULE="other.settings", PGHOST="elsewhere"
    )
    started.communicate(timeout=60)
    seen = checkout.seen("migrate")
    assert started.returncode == 0
    assert not {"OPENAI_API_KEY", "DJANGO_SETTINGS_MODULE", "PGHOST"} & seen.keys()
    assert seen["CHATGRID_ENVIRONMENT"] == "development"
    assert seen["CHATGRID_OPENAI_BASE_URL"].startswith("http://127.0.0.1:")
    assert "chatgrid_provisioner" in seen["CHATGRID_PROVISIONER_URL"]
    assert len(seen["CHATGRID_SECRET_KEY"]) >= 43
    assert (checkout.data / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_the_process_that_faces_people_does_not_hold_the_owners_password(checkout: Checkout) -> None:
    started = checkout.run("--port", str(ports.pick()))
    read_until(started, "alice@example.com")
    web = checkout.seen("web")
    assert "chatgrid_app" in web["CHATGRID_DATABASE_URL"]
    assert "chatgrid_owner" in checkout.seen("migrate")["CHATGRID_OWNER_DATABASE_URL"]
    for role in ("chatgrid_owner", "chatgrid_sealer", "chatgrid_retention"):
        assert role not in json.dumps(web)


def test_what_the_operator_set_wins_and_is_not_started(checkout: Checkout) -> None:
    given = {
        "CHATGRID_DATABASE_URL": "postgresql://app:pw@db.internal/chatgrid",
        "CHATGRID_OWNER_DATABASE_URL": "postgresql://owner:pw@db.internal/chatgrid",
        "CHATGRID_PROVISIONER_URL": "postgresql://provisioner:pw@db.internal/postgres",
        "CHATGRID_REDIS_URL": "redis://cache.internal/0",
        "CHATGRID_OPENAI_BASE_URL": "https://gateway.internal/v1",
        "CHATGRID_SECRET_KEY": "of the operator",
    }
    started = checkout.run("--prepare-only", **given)
    started.communicate(timeout=60)
    seen = checkout.seen("seed_demo")
    assert {name: seen[name] for name in given} == given
    assert "CHATGRID_SIMULATED" not in seen
    assert not (checkout.data / "postgres").exists()
    assert not (checkout.data / "valkey").exists()


def test_half_of_a_server_of_ones_own_is_refused(checkout: Checkout) -> None:
    started = checkout.run(CHATGRID_DATABASE_URL="postgresql://app:pw@db.internal/chatgrid")
    shown, _ = started.communicate(timeout=60)
    assert started.returncode == 1
    assert "set CHATGRID_OWNER_DATABASE_URL and CHATGRID_PROVISIONER_URL too" in shown


def test_a_child_that_is_killed_comes_back(checkout: Checkout) -> None:
    port = ports.pick()
    started = checkout.run("--port", str(port))
    read_until(started, "alice@example.com")
    before = checkout.pids()
    for name in ("web", "valkey"):
        os.kill(before[name], signal.SIGKILL)
    read_until(started, "ended by itself")
    wait_for(lambda: checkout.pids().get("web", before["web"]) != before["web"] and not ports.is_free(port))
    wait_for(lambda: checkout.pids().get("valkey", before["valkey"]) != before["valkey"])
    assert status(port) == 200
    assert checkout.pids()["worker"] == before["worker"]


def test_after_kill_9_of_the_supervisor_the_next_run_clears_up_and_finds_the_data(checkout: Checkout) -> None:
    first = checkout.run("--port", str(ports.pick()))
    read_until(first, "alice@example.com")
    owner = checkout.seen("migrate")["CHATGRID_OWNER_DATABASE_URL"]
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    orphans = checkout.pids()
    first.kill()
    first.wait(10)
    assert all(start_time(pid) for pid in orphans.values())
    second = checkout.run("--port", str(ports.pick()))
    assert "ended web, which an earlier run had left behind" in read_until(second, "alice@example.com")
    assert not [pid for pid in orphans.values() if start_time(pid)]
    with psycopg.connect(checkout.seen("migrate")["CHATGRID_OWNER_DATABASE_URL"]) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_second_supervisor_is_refused_and_the_first_goes_on(checkout: Checkout) -> None:
    port = ports.pick()
    first = checkout.run("--port", str(port))
    read_until(first, "alice@example.com")
    second = checkout.run("--port", str(ports.pick()))
    shown, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"ChatGrid already runs on {checkout.data} (process {first.pid})" in shown
    assert status(port) == 200


def test_a_port_asked_for_that_is_taken_is_refused(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started = checkout.run("--port", str(port))
        shown, _ = started.communicate(timeout=60)
    assert started.returncode == 1
    assert f"Port {port} is taken" in shown
    assert f"make run PORT={port + 1}" in shown
    assert not (checkout.data / "postgres").exists()


def test_a_taken_default_port_gives_way_to_the_next(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        default = taken.getsockname()[1]
        monkeypatch.setattr(supervisor_module, "DEFAULT_PORT", default)
        assert supervisor_module.choose_port(None) > default
    assert f"port {default} is taken" in capsys.readouterr().out


def test_a_command_that_fails_is_one_sentence_and_leaves_nothing_running(checkout: Checkout) -> None:
    started = checkout.run(FAIL="migrate")
    shown, _ = started.communicate(timeout=60)
    assert started.returncode == 1
    assert "`manage.py migrate --database owner --skip-checks` failed (No such table: person)" in shown
    assert "Traceback" not in shown
    assert checkout.pids() == {}


def test_ctrl_c_while_it_starts_stops_what_was_started(checkout: Checkout) -> None:
    (checkout.folder / "manage.py").write_text("import time\ntime.sleep(60)")
    started = checkout.run()
    read_until(started, "simulator is ready")
    pids = checkout.pids()
    stop(started, signal.SIGTERM)
    assert pids.keys() == {"postgres", "valkey", "simulator"}
    assert not [pid for pid in pids.values() if start_time(pid)]
