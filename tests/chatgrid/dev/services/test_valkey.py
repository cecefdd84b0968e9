"""The embedded Valkey: a password is needed and is not seen, what it holds survives."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest
import redis

from chatgrid.dev.services import ServiceError
from chatgrid.dev.services.valkey import Valkey


def open_database(server: Valkey, database: int = 0) -> redis.Redis:
    return redis.Redis.from_url(server.url(database), decode_responses=True)


def listener(server: Valkey) -> psutil.Process:
    """The process that listens on this server's port; the test run has a Valkey of its own beside it."""
    children = [each for each in psutil.Process().children() if each.name().startswith("valkey")]
    [found] = [each for each in children if server.port in {held.laddr.port for held in each.net_connections()}]
    return found


def test_it_answers_with_its_password_and_refuses_without(valkey: Valkey) -> None:
    with open_database(valkey) as client:
        assert client.ping()
    without = f"redis://127.0.0.1:{valkey.port}/0"
    with redis.Redis.from_url(without) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_the_list_of_processes_does_not_show_the_password(valkey: Valkey) -> None:
    password = valkey.url().split(":")[2].split("@")[0]
    process = listener(valkey)
    assert password not in " ".join([*process.cmdline(), *process.environ().values()])


def test_databases_are_apart(valkey: Valkey) -> None:
    with open_database(valkey, 1) as one, open_database(valkey, 2) as two:
        one.set("key", "one")
        assert two.get("key") is None
        assert one.get("key") == "one"


def test_it_never_evicts(valkey: Valkey) -> None:
    with open_database(valkey) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_keys_and_port_survive_a_stop(valkey: Valkey) -> None:
    with open_database(valkey) as client:
        client.set("kept", "yes")
    port = valkey.port
    valkey.stop()
    valkey.start()
    with open_database(valkey) as client:
        assert client.get("kept") == "yes"
    assert valkey.port == port


def test_starting_what_runs_leaves_it_alone(valkey: Valkey) -> None:
    before = listener(valkey).pid
    valkey.start()
    assert listener(valkey).pid == before


def test_keys_survive_kill_9(valkey: Valkey) -> None:
    with open_database(valkey) as client:
        client.set("kept", "yes")
        time.sleep(1.2)  # written down every second
    os.kill(listener(valkey).pid, signal.SIGKILL)
    valkey.start()
    with open_database(valkey) as client:
        assert client.get("kept") == "yes"


def test_a_fixed_port_that_is_taken_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"Port {port} is taken"):
            Valkey(tmp_path / "valkey", port=port).start()
