"""PostgreSQL and Valkey for one test run: forgetful, in a temporary folder, shared by the workers of the run.

`running()` starts them once and leaves their folder in the environment; a process of the same run that enters it again
(a worker of pytest-xdist, a command under test) finds the folder there and joins, without starting or stopping
anything. So pytest's first process enters it in `pytest_configure`, before its workers are started.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chatgrid.dev.services.bootstrap import APP, MAINTENANCE, OWNER, PROVISIONER, RETENTION, SEALER
from chatgrid.dev.services.postgres import Postgres
from chatgrid.dev.services.valkey import Valkey

VARIABLE = "CHATGRID_TEST_SERVICES"


@dataclass(frozen=True)
class Stack:
    """The two services of a run."""

    postgres: Postgres
    valkey: Valkey

    def environment(self, database: str, cache: int = 0) -> dict[str, str]:
        """The addresses as settings read them, for control database `database` and Valkey's database `cache`."""
        return {**database_urls(self.postgres, database), "CHATGRID_REDIS_URL": self.valkey.url(cache)}


def database_urls(postgres: Postgres, database: str) -> dict[str, str]:
    """The five addresses of a cluster and its programs. The provisioner's names the one database that it may enter."""
    return {
        "CHATGRID_POSTGRES_PROGRAMS": str(postgres.programs),
        "CHATGRID_DATABASE_URL": postgres.url(APP, database),
        "CHATGRID_OWNER_DATABASE_URL": postgres.url(OWNER, database),
        "CHATGRID_PROVISIONER_URL": postgres.url(PROVISIONER, MAINTENANCE),
        "CHATGRID_SEALER_DATABASE_URL": postgres.url(SEALER, database),
        "CHATGRID_RETENTION_DATABASE_URL": postgres.url(RETENTION, database),
    }


def at(folder: Path, *, durable: bool = False) -> Stack:
    """The stack of `folder`, started or not. `durable` is for tests that break it: a commit must then stand."""
    return Stack(
        Postgres(folder / "postgres", durable=durable, leashed=True),
        Valkey(folder / "valkey", durable=durable, leashed=True),
    )


@contextmanager
def running() -> Iterator[Stack]:
    """The stack of this test run: joins the one that the environment names, else starts one and stops it at the end."""
    joined = os.environ.get(VARIABLE)
    if joined:
        yield at(Path(joined))
        return
    with tempfile.TemporaryDirectory(prefix="chatgrid-tests-") as name, ExitStack() as stopping:
        stack = at(Path(name))
        for service in (stack.postgres, stack.valkey):
            stopping.callback(service.stop)
            service.start()
        stack.postgres.bootstrap()
        stopping.callback(os.environ.pop, VARIABLE, None)
        os.environ[VARIABLE] = name
        yield stack
