"""One step of `make run`: a command that is waited for, a service that becomes ready, and what a person asks meanwhile.

A step ends within a moment of Ctrl-C, and what it printed lies in the data folder's logs.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from chatgrid.dev.services import ServiceError, ports
from chatgrid.dev.services.files import last_line, rotate_log
from chatgrid.dev.services.processes import KILL_SECONDS, Command

CHECKOUT = Path(__file__).resolve().parents[2]
READY_SECONDS = 90.0
ASKS = {"migrate", "collectstatic"}  # commands that would ask the terminal


@dataclass(frozen=True)
class Place:
    """The data folder and what lies where in it."""

    folder: Path

    @property
    def notes(self) -> Path:
        return self.folder / "run"

    @property
    def environment(self) -> Path:
        """The settings of what runs, for `make manage`; there while it runs."""
        return self.folder / "environment.json"

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"


def place_in(environment: Mapping[str, str]) -> Place:
    """CHATGRID_DATA, or the folder in the checkout."""
    return Place(Path(environment.get("CHATGRID_DATA", CHECKOUT / ".chatgrid")).expanduser().resolve())


class Stopped(Exception):
    """Somebody pressed Ctrl-C while things were being started."""


@dataclass
class Requests:
    """What the person at the terminal asked for: to stop, then to hurry."""

    stop: Event = field(default_factory=Event)
    hurry: Event = field(default_factory=Event)

    def hear(self, *_: object) -> None:
        """The signal handler: it only notes, so that no step is cut in the middle."""
        (self.hurry if self.stop.is_set() else self.stop).set()

    def check(self) -> None:
        if self.stop.is_set():
            raise Stopped


def say(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError:
        pass  # the terminal is gone; what runs must still be stopped in order


def python(
    place: Place, name: str, arguments: list[str], environment: Mapping[str, str], *, patience: float
) -> Command:
    """A child of our Python with these arguments; `patience` is how many seconds it gets to end by itself."""
    return Command(
        name,
        [sys.executable, *arguments],
        environment=environment,
        cwd=CHECKOUT,
        notes=place.notes,
        log=rotate_log(place.log(name)),
        patience=patience,
    )


def wait_until(service: Command, ready: Callable[[], bool], requests: Requests) -> None:
    """Returns when `ready` says so. Raises ServiceError when the service died or is still not ready in time."""
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if not service.alive() or time.monotonic() > deadline:
            raise ServiceError(f"{service.name} did not start ({last_line(service.log)}): read {service.log}.")
        requests.stop.wait(0.1)
        requests.check()


def is_healthy(port: int) -> bool:
    """Whether /healthz answers with 200."""
    connection = http.client.HTTPConnection(ports.HOST, port, timeout=5)  # urllib would ask a proxy
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def manage(place: Place, command: list[str], environment: Mapping[str, str], requests: Requests) -> str:
    """Runs a command of manage.py to its end and returns what it printed; its errors go to a log.

    Raises ServiceError when it fails, Stopped when a request to stop came meanwhile.
    """
    log = rotate_log(place.log(command[0]))
    output = log.with_suffix(".out")
    with log.open("wb") as errors, output.open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *command, *(["--no-input"] if command[0] in ASKS else [])],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=errors,
            env=dict(environment),
            cwd=CHECKOUT,
            start_new_session=True,
        )
        finish(process, requests)
    if process.returncode != 0:
        raise ServiceError(f"`manage.py {' '.join(command)}` failed ({last_line(log)}): read {log}.")
    return output.read_text()


def finish(process: subprocess.Popen[bytes], requests: Requests) -> None:
    """Waits for a step; a request to stop ends it."""
    while process.poll() is None:
        if requests.stop.wait(0.05):
            end_step(process)
            raise Stopped


def end_step(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(KILL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
