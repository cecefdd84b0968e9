"""Keeps services running, and stops them in the reverse of the order they were started in.

- A service that dies is started again after 1 s, then 2, 4, ... up to 30; one that held for a minute starts over at 1.
- Every restart is one line on the terminal; the service's own words are in its log.
- Stopping is never interrupted: a second request only makes it hurry.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from chatgrid.dev.services import ServiceError
from chatgrid.dev.services.processes import Service

LOOK_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
HELD_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass
class Watched:
    """A service, since when it runs, and how often it failed in a row. Times are monotonic seconds."""

    service: Service
    since: float
    failures: int = 0
    again_at: float | None = None

    def fell(self, now: float) -> float:
        """Notes that it died; returns for how many seconds to wait before it is started again."""
        self.failures = 1 if now - self.since > HELD_SECONDS else self.failures + 1
        wait = min(LONGEST_WAIT_SECONDS, 2.0 ** (self.failures - 1))
        self.again_at = now + wait
        return wait

    def rose(self, now: float) -> None:
        self.since = now
        self.again_at = None


class Supervisor:
    """The services of one `make run`."""

    def __init__(self, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._watched: list[Watched] = []

    def start(self, service: Service) -> None:
        """Starts `service` and keeps it running from now on. A ServiceError of its start comes out of here."""
        self._watched.append(Watched(service, self._clock()))
        service.start()

    def watch(self, stopping: Event) -> None:
        """Restarts what dies, until `stopping` is set."""
        while not stopping.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """One round: notes who died, starts those whose wait is over."""
        for watched in self._watched:
            if not watched.service.alive():
                self._revive(watched)

    def stop(self, hurry: Event) -> None:
        """Stops all, the last started first. With `hurry` set, those that still run are killed."""
        for watched in reversed(self._watched):
            watched.service.stop(hurry)
        self._watched.clear()

    def _revive(self, watched: Watched) -> None:
        now = self._clock()
        if watched.again_at is None:
            self._say(f"{watched.service.name} ended by itself; starting it again in {watched.fell(now):.0f} s.")
        elif now >= watched.again_at:
            self._try_again(watched)

    def _try_again(self, watched: Watched) -> None:
        try:
            watched.service.start()
            watched.rose(self._clock())
        except ServiceError as error:
            wait = watched.fell(self._clock())
            self._say(f"{watched.service.name}: {error} Trying again in {wait:.0f} s.")
