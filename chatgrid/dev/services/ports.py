"""Ports on 127.0.0.1: which are free, and which one a service had last time.

A remembered port is kept while it is free, because browsers, bookmarks and open shells know it.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

from chatgrid.dev.services import ServiceError
from chatgrid.dev.services.files import write_private

HOST = "127.0.0.1"

# Below the range from which Linux and macOS take the source ports of outgoing connections, so that no passing
# connection of somebody else sits on a remembered port.
PICKED = range(20_000, 30_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    # A Mac lets two sockets bind the same port when one names the address, so a listener is looked for as well.
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def pick() -> int:
    """A free port, chosen by chance so that two checkouts rarely meet."""
    for port in random.sample(PICKED, 200):
        if is_free(port):
            return port
    raise ServiceError("No free port was found between 20000 and 30000: end some servers on this machine.")


def next_free(first: int) -> int:
    """The first free port from `first` on."""
    for port in range(first, min(first + 100, 65_536)):
        if is_free(port):
            return port
    raise ServiceError(f"The 100 ports from {first} on are all taken: choose another one, as in `make run PORT=9000`.")


def remembered(path: Path) -> int | None:
    """The port noted in `path`, free or not."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


class Port:
    """The port of one service: fixed by who starts it, else picked at the first start and kept in `file`."""

    def __init__(self, service: str, file: Path, fixed: int | None) -> None:
        self._service = service
        self._file = file
        self._fixed = fixed

    def last(self) -> int:
        """Where the service listens, or listened last. Raises ServiceError before its first start."""
        port = self._fixed or remembered(self._file)
        if port is None:
            raise ServiceError(f"{self._service} has never been started in {self._file.parent}: start it first.")
        return port

    def usable(self) -> int:
        """A free port to start on: the one of last time if nobody took it. Raises ServiceError if a fixed one is."""
        port = self._fixed or remembered(self._file)
        if port is not None and is_free(port):
            return port
        if self._fixed is not None:
            raise ServiceError(f"Port {port} is taken: end what listens there, or give {self._service} another one.")
        port = pick()
        write_private(self._file, str(port))
        return port

    def pin(self) -> None:
        """From now on no other port will do: others were told this one."""
        self._fixed = self.last()
