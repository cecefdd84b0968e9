"""The stack of a test run: started once, joined by the workers of the run, gone at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis

from chatgrid.dev.services import stack
from chatgrid.dev.services.processes import note_of, wait_until_gone

WORKER = """
from chatgrid.dev.services.stack import running
with running() as joined:
    joined.postgres.create_control_database("chatgrid_gw7")
    print(joined.environment("chatgrid_gw7", 7)["CHATGRID_OWNER_DATABASE_URL"])
"""

STARTER = """
import time
from chatgrid.dev.services.stack import running
with running() as started:
    for service in (started.postgres, started.valkey):
        print((service.folder / f"{service.name}.json").read_text(), flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(stack.VARIABLE, raising=False)


def test_a_worker_joins_the_stack_of_its_run_and_leaves_it_running() -> None:
    with stack.running() as started:
        done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=True)
        with psycopg.connect(done.stdout.strip()) as connection:
            assert connection.execute("SELECT current_database()::text").fetchone() == ("chatgrid_gw7",)
        assert started.postgres.alive()


def test_its_environment_names_the_five_roles_and_a_cache() -> None:
    with stack.running() as started:
        started.postgres.create_control_database("chatgrid_gw0")
        environment = started.environment("chatgrid_gw0", 3)
        roles = {}
        assert (Path(environment["CHATGRID_POSTGRES_PROGRAMS"]) / "pg_dump").is_file()
        for name in (name for name in environment if name.endswith("_URL") and name != "CHATGRID_REDIS_URL"):
            with psycopg.connect(environment[name]) as connection:
                roles[name] = connection.execute("SELECT current_user::text").fetchone()
        with redis.Redis.from_url(environment["CHATGRID_REDIS_URL"]) as cache:
            assert cache.ping()
    assert roles == {
        "CHATGRID_DATABASE_URL": ("chatgrid_app",),
        "CHATGRID_OWNER_DATABASE_URL": ("chatgrid_owner",),
        "CHATGRID_PROVISIONER_URL": ("chatgrid_provisioner",),
        "CHATGRID_SEALER_DATABASE_URL": ("chatgrid_sealer",),
        "CHATGRID_RETENTION_DATABASE_URL": ("chatgrid_retention",),
    }


def test_nothing_is_left_of_it_at_the_end() -> None:
    with stack.running() as started:
        folder = Path(os.environ[stack.VARIABLE])
        assert folder.is_dir()
    assert not started.postgres.alive()
    assert not started.valkey.alive()
    assert not folder.exists()
    assert stack.VARIABLE not in os.environ


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its starter died")
def test_a_killed_test_run_leaves_no_server_behind() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True) as starter:
        lines = [starter.stdout.readline(), starter.stdout.readline()]
        notes = [note_of(int(line.split('"pid": ')[1].split(",")[0]), signal.SIGTERM, 1) for line in lines]
        starter.kill()
    for note in notes:
        assert note["started"] is not None
        wait_until_gone(note, 20)
        assert note_of(note["pid"], signal.SIGTERM, 1)["started"] is None
