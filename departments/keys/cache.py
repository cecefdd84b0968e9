"""Current secrets, kept in this process for up to a minute.

Rules:
- A hit costs neither a thread nor a turn of the event loop: the chat path asks for a key on every call.
- A miss reads the vault in a thread, once for all who wait in the same event loop.
- Every real read is reported to `on_read` before anybody gets the value; if the report fails, so does the read.
- A caller with a higher epoch than the entry's drops the entry (a rotation was announced); `forget` drops it too (the
  provider answered 401). A read that began before does not bring the old value back.
- While the vault is unavailable an entry serves on until 15 minutes after it was read, never after it was dropped. The
  vault is then asked again every few seconds, not on every call. Where there is such an entry no call waits long for a
  vault that hangs: the read goes on without it. A vault that refuses (rights) is believed at once.
- Values live in memory only, and no longer than those 15 minutes after the last read of any secret.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from departments.keys.vaults.base import SecretMissing, Vault, VaultUnavailable, Version

FRESH_SECONDS = 60.0
STALE_SECONDS = 15 * 60.0
RETRY_SECONDS = 5.0
PATIENCE_SECONDS = 2.0  # a manager answers in milliseconds; its library gives up after many seconds only

logger = logging.getLogger(__name__)

OnRead = Callable[[str, Version], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Entry:
    version: Version
    epoch: int
    read_at: float
    fresh_until: float


@dataclass(frozen=True, slots=True)
class _Ticket:
    """Who asked for what, and how often the name had been forgotten by then."""

    name: str
    epoch: int
    forgotten: int


class SecretCache:
    """One per process. `on_read(name, version)` is awaited in the caller's event loop; `clock` gives seconds that never
    go back.
    """

    def __init__(
        self,
        vault: Vault,
        on_read: OnRead,
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._vault = vault
        self._on_read = on_read
        self._clock = clock
        self._patience = patience
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._forgotten: dict[str, int] = {}
        self._flights: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Ticket, asyncio.Task[Version]]]
        self._flights = WeakKeyDictionary()

    async def get(self, name: str, epoch: int) -> Version:
        """The current version. SecretMissing, VaultRefused, VaultUnavailable, or what `on_read` raised."""
        entry = self._fresh(name, epoch)
        if entry is not None:
            return entry.version
        ticket = self._ticket(name, epoch)
        flight = self._flight(ticket)
        if self._bridge(ticket) is not None:
            await asyncio.wait({flight}, timeout=self._patience)
            bridging = None if flight.done() else self._put_off(ticket)
            if bridging is not None:
                logger.warning("%s: the secret manager takes long. The value that was read before serves on.", name)
                return bridging.version
        # Shielded: others wait for the same read, and one closed tab must not end it for them.
        return await asyncio.shield(flight)

    def forget(self, name: str) -> None:
        """Drop the value, and the result of every read under way. For a key the provider has refused."""
        with self._lock:
            self._forgotten[name] = self._forgotten.get(name, 0) + 1
            self._entries.pop(name, None)

    def _fresh(self, name: str, epoch: int) -> _Entry | None:
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry.epoch < epoch:
            self._drop(name, entry)
            return None
        return entry if self._clock() < entry.fresh_until else None

    def _ticket(self, name: str, epoch: int) -> _Ticket:
        with self._lock:
            return _Ticket(name, epoch, self._forgotten.get(name, 0))

    def _flight(self, ticket: _Ticket) -> asyncio.Task[Version]:
        loop = asyncio.get_running_loop()
        with self._lock:
            flights = self._flights.setdefault(loop, {})
        # Only this loop's thread touches its own flights.
        if ticket not in flights:
            task = loop.create_task(self._load(ticket))
            flights[ticket] = task
            task.add_done_callback(lambda done: _land(flights, ticket, done))
        return flights[ticket]

    async def _load(self, ticket: _Ticket) -> Version:
        try:
            version = await asyncio.to_thread(self._vault.get_current, ticket.name)
        except VaultUnavailable as error:
            return self._stale(ticket, error)
        except SecretMissing:
            self.forget(ticket.name)
            raise
        await self._on_read(ticket.name, version)
        self._keep(ticket, version)
        return version

    def _keep(self, ticket: _Ticket, version: Version) -> None:
        now = self._clock()
        with self._lock:
            self._entries = {name: entry for name, entry in self._entries.items() if _is_servable(entry, now)}
            known = self._entries.get(ticket.name)
            if self._forgotten.get(ticket.name, 0) != ticket.forgotten or (known and known.epoch > ticket.epoch):
                return
            self._entries[ticket.name] = _Entry(version, ticket.epoch, now, now + FRESH_SECONDS)

    def _stale(self, ticket: _Ticket, error: VaultUnavailable) -> Version:
        entry = self._put_off(ticket)
        if entry is None:
            raise error
        logger.warning("%s The value read %.0f s ago serves on.", error, self._clock() - entry.read_at)
        return entry.version

    def _bridge(self, ticket: _Ticket) -> _Entry | None:
        """What may be served while the vault is away."""
        entry = self._entries.get(ticket.name)
        is_servable = entry is not None and entry.epoch >= ticket.epoch and _is_servable(entry, self._clock())
        return entry if is_servable else None

    def _put_off(self, ticket: _Ticket) -> _Entry | None:
        """The entry that bridges, if there is one; the vault is asked again in a few seconds."""
        with self._lock:
            entry = self._bridge(ticket)
            if entry is not None:
                until = min(self._clock() + RETRY_SECONDS, entry.read_at + STALE_SECONDS)
                self._entries[ticket.name] = replace(entry, fresh_until=max(until, entry.fresh_until))
        return entry

    def _drop(self, name: str, entry: _Entry) -> None:
        with self._lock:
            if self._entries.get(name) is entry:
                del self._entries[name]


def _is_servable(entry: _Entry, now: float) -> bool:
    return now - entry.read_at < STALE_SECONDS


def _land(flights: dict[_Ticket, asyncio.Task[Version]], ticket: _Ticket, task: asyncio.Task[Version]) -> None:
    del flights[ticket]
    if not task.cancelled():
        task.exception()  # looked at, so that a read nobody waits for any longer does not complain
