"""The sealer's process: `manage.py run_sealer`.

- It seals every `EVERY` seconds and at once when a critical event commits: the writer's NOTIFY wakes it, so neither the
  broker nor a worker stands between an event and its seal.
- It looks for late commits of any age at its start and then every `SWEEP_EVERY` seconds.
- Two of them may run: the second waits for the lock of the first and takes over when that one dies.
- A key that was rolled meanwhile is read again before it signs; if the new one may not follow either, it signs all the
  same: events are sealed, and the verifier names the seal.
- A database, a secret manager or an anchor that is away costs time, never an event: the next pass seals what waited.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import django.db
import psycopg
from django.db import close_old_connections
from psycopg import Connection

from audit.anchors import Anchor, carry, line_of
from audit.seals import KeyRolled, last_seal, seal_once, seals_after
from audit.signing import Seal, Signer, SignerUnavailable

EVERY = 60.0
SWEEP_EVERY = 3600.0
PAUSE = 1.0  # a burst of critical events makes a seal a second, not one each
RETRY = 2.0
TICK = 0.5

ONE_SEALER = "SELECT pg_try_advisory_lock(hashtext('chatgrid sealer process'))"

# InterfaceError: a connection that another error has closed already
WAITS_FOR = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    django.db.OperationalError,
    django.db.InterfaceError,
    SignerUnavailable,
)

logger = logging.getLogger("audit.seals")


class Sealer:
    """One process's state: what it has sealed last, and when it looked at everything."""

    def __init__(
        self, connect: Callable[[], Connection[Any]], signer: Callable[[], Signer], anchors: Sequence[Anchor]
    ) -> None:
        self._connect, self._signer, self._anchors = connect, signer, anchors
        self._current: Signer | None = None
        self._swept = float("-inf")
        self._newest: Seal | None = None

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; begins again after whatever the database did."""
        while not stop.is_set():
            try:
                with self._connect() as connection:
                    self._serve(connection, stop)
            except WAITS_FOR as error:
                logger.error("sealing waits: %s", str(error).strip().partition("\n")[0])
                # the signer's reading of its key is recorded on Django's own connection, which may be dead as well
                close_old_connections()
                stop.wait(RETRY)

    def _serve(self, connection: Connection[Any], stop: threading.Event) -> None:
        while not self._is_the_one(connection):
            if stop.wait(RETRY):
                return
        connection.execute("LISTEN audit_critical")
        self._current = self._signer()
        while not stop.is_set():
            self.seal(connection)
            stop.wait(PAUSE)
            if self._wait(connection, stop):
                self._current = self._signer()

    def seal(self, connection: Connection[Any]) -> list[Seal]:
        """One pass: seal, tell the log, bring the anchors up to date."""
        self._look_back(connection)
        sweep = time.monotonic() - self._swept > SWEEP_EVERY
        made = self._make(connection, sweep)
        if sweep:
            self._swept = time.monotonic()
        self._newest = made[-1]
        for seal in made:
            logger.info("seal %s", line_of(seal))
        carry(connection, self._anchors, lambda after, limit: seals_after(connection, after, limit))
        return made

    def _make(self, connection: Connection[Any], sweep: bool) -> list[Seal]:
        signer = self._current = self._current or self._signer()
        try:
            return seal_once(connection, signer, sweep=sweep, any_key=False)
        except KeyRolled:
            self._current = self._signer()
            return seal_once(connection, self._current, sweep=sweep)

    def _look_back(self, connection: Connection[Any]) -> None:
        """Seals that were cut off between two passes are known here before any anchor is read."""
        if self._newest is None:
            return
        found = last_seal(connection)
        if found is None or found.n < self._newest.n:
            logger.critical("seals after %s are gone; this process had made %s", found and found.n, self._newest.n)

    def _wait(self, connection: Connection[Any], stop: threading.Event) -> bool:
        """Until the next pass is due. True when the key was changed, so that it is read again."""
        deadline = time.monotonic() + EVERY - PAUSE
        while time.monotonic() < deadline and not stop.is_set():
            # all that came together are read: what is left of a generator would be lost
            if heard := [notice.payload for notice in connection.notifies(timeout=TICK, stop_after=1)]:
                return "key" in heard
        return False

    @staticmethod
    def _is_the_one(connection: Connection[Any]) -> bool:
        row = connection.execute(ONE_SEALER).fetchone()
        return bool(row and row[0])
