"""Places outside the database that keep the seals, so that cutting off the newest ones is found.

Rules:
- At least one anchor is set: without one, whoever owns the database can take back the last minutes unseen. The default
  of a laptop is an append-only file, which protects nothing from whoever owns the machine; the check says so.
- Every seal goes to every anchor, in order, at least once: a crash may write one twice, never skip one.
- An anchor that is down holds nothing up. Its seals follow when it is back, and `verify_audit` names it meanwhile.
- To add a kind: a class with `name`, `append` and `read`, and a line in KINDS.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from psycopg import Connection

from audit.signing import Seal

BATCH = 500
NAME = "seals/{:012d}.json"

logger = logging.getLogger(__name__)


class AnchorDown(Exception):
    """The place did not take, or does not show, the seals. The sentence is for the operator."""


class Anchor(Protocol):
    """A place for seals. `name` tells two apart and is shown."""

    name: str

    def append(self, seals: Sequence[Seal]) -> None:
        """Keep these, or raise AnchorDown."""

    def read(self, after: int) -> Iterator[Seal] | None:
        """Seal 1 and those with numbers above `after`, in any order; None where the place cannot be read."""


class FileAnchor:
    """A file that is only ever added to, one JSON line a seal. `chattr +a` makes the system insist on it.

    A line that a crash or a full disk has cut short is ended before the next one begins, and written again in full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file {path.name}"

    def append(self, seals: Sequence[Seal]) -> None:
        data = "".join(line_of(seal) + "\n" for seal in seals).encode()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileIO(os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+") as file:
                size = file.seek(0, os.SEEK_END)
                is_cut = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
                _write_all(file, b"\n" + data if is_cut else data)
                os.fsync(file.fileno())
        except OSError as error:
            raise AnchorDown(f"{self.path} cannot be written ({error.strerror})") from error

    def read(self, after: int) -> Iterator[Seal]:
        try:
            with self.path.open(encoding="utf-8") as file:
                lines = file.read().split("\n")
        except OSError as error:
            raise AnchorDown(f"{self.path} cannot be read ({error.strerror})") from error
        # what comes after the last newline is half a line of a crash, and will be written again in full
        yield from (
            seal for seal in map(_seal_of, filter(None, lines[:-1])) if seal and (seal.n > after or seal.n == 1)
        )


class StorageAnchor:
    """One object a seal in a Django storage: S3 with Object Lock (audit/storages.py), or any other."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.name = f"storage {alias}"

    def append(self, seals: Sequence[Seal]) -> None:
        for seal in seals:
            self._put(NAME.format(seal.n), line_of(seal))

    def _put(self, name: str, line: str) -> None:
        if self._line(name) == line:
            return
        try:
            storages[self.alias].save(name, ContentFile(line.encode(), name=name))
        # the storage is somebody else's class: whatever it raises, the operator reads it on the anchor's line
        except Exception as error:
            raise AnchorDown(f"{name} cannot be written ({type(error).__name__})") from error

    def read(self, after: int) -> Iterator[Seal]:
        numbers = itertools.chain([1] if after else [], itertools.count(after + 1))
        for number in numbers:
            line = self._line(NAME.format(number))
            if line is None:
                return
            seal = _seal_of(line)
            if seal is not None:
                yield seal

    def _line(self, name: str) -> str | None:
        """What was written first under this name: a lock keeps it, whatever was put over it."""
        storage: Any = storages[self.alias]
        try:
            if hasattr(storage, "read_oldest"):
                held: bytes | None = storage.read_oldest(name)
                return None if held is None else held.decode()
            with storage.open(name) as file:
                return str(file.read().decode())
        except FileNotFoundError:
            return None
        # as above
        except Exception as error:
            raise AnchorDown(f"{name} cannot be read ({type(error).__name__})") from error


class SyslogAnchor:
    """A syslog server on another host (RFC 5424, with octet counting over TCP or TLS). It cannot be read back."""

    def __init__(self, host: str, port: int, *, tls: bool) -> None:
        self._address, self._tls = (host, port), tls
        self.name = f"syslog {host}:{port}"

    def append(self, seals: Sequence[Seal]) -> None:
        try:
            with socket.create_connection(self._address, timeout=5) as plain:
                if not self._tls:
                    return self._send(plain, seals)
                with ssl.create_default_context().wrap_socket(plain, server_hostname=self._address[0]) as secure:
                    return self._send(secure, seals)
        except OSError as error:
            raise AnchorDown(f"{self.name} does not take seals ({error})") from error

    def _send(self, connection: socket.socket, seals: Sequence[Seal]) -> None:
        for seal in seals:
            moment = datetime.now(UTC).isoformat()
            # facility 13 is the audit log, severity 5 a notice
            line = f"<109>1 {moment} {socket.gethostname()} chatgrid {os.getpid()} seal - {line_of(seal)}".encode()
            connection.sendall(f"{len(line)} ".encode() + line)

    def read(self, after: int) -> None:
        return None


def _write_all(file: FileIO, data: bytes) -> None:
    """A disk that is nearly full takes a part and says so only by its size; the next try raises OSError."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def line_of(seal: Seal) -> str:
    return json.dumps(seal.as_json(), separators=(",", ":"))


def _seal_of(line: str) -> Seal | None:
    """The seal of a line; a line that is none is left out, and the seal is then missing there."""
    try:
        return Seal.from_json(json.loads(line))
    except (ValueError, KeyError, TypeError):
        logger.error("an anchor holds a line that is no seal: %.80s", line)
        return None


def configured() -> list[Anchor]:
    """The anchors of settings.AUDIT_ANCHORS. Raises ImproperlyConfigured without any, and for one without a meaning."""
    if not settings.AUDIT_ANCHORS:
        raise ImproperlyConfigured(
            "CHATGRID_ANCHORS is empty: name at least one place outside the database, such as file:///var/audit/seals.jsonl."
        )
    return [anchor_of(address) for address in settings.AUDIT_ANCHORS]


def anchor_of(address: str) -> Anchor:
    """The anchor of an address: file:///path, storage:alias, syslog://host:port or syslog+tls://host:port."""
    parts = urlsplit(address)
    match parts.scheme:
        case "file" if parts.path:
            return FileAnchor(Path(unquote(parts.path)))
        case "storage" if parts.path:
            return StorageAnchor(parts.path)
        case "syslog" | "syslog+tls" if parts.hostname:
            tls = parts.scheme == "syslog+tls"
            return SyslogAnchor(parts.hostname, parts.port or (6514 if tls else 601), tls=tls)
    raise ImproperlyConfigured(
        f"CHATGRID_ANCHORS names {address!r}: write file:///path, storage:alias or syslog+tls://host:port."
    )


def carry(connection: Connection[Any], anchors: Sequence[Anchor], read: Any) -> None:
    """Bring every anchor up to the newest seal. `read(after, limit)` gives seals in their order."""
    for anchor in anchors:
        try:
            _carry_to(connection, anchor, read)
        except AnchorDown as error:
            logger.error("anchor behind: %s", error)
            _note(connection, anchor, None, str(error))


def _carry_to(connection: Connection[Any], anchor: Anchor, read: Any) -> None:
    row = connection.execute("SELECT seal FROM audit_anchor_state WHERE anchor = %s", [anchor.name]).fetchone()
    reached = row[0] if row else 0
    while seals := read(reached, BATCH):
        anchor.append(seals)
        reached = seals[-1].n
        _note(connection, anchor, reached, "")


def _note(connection: Connection[Any], anchor: Anchor, reached: int | None, problem: str) -> None:
    connection.execute(
        "INSERT INTO audit_anchor_state AS held (anchor, seal, problem)"
        " VALUES (%(anchor)s, coalesce(%(seal)s, 0), %(problem)s)"
        " ON CONFLICT (anchor) DO UPDATE SET seal = coalesce(%(seal)s, held.seal), problem = %(problem)s,"
        " at = CASE WHEN %(seal)s::bigint IS NULL THEN held.at ELSE clock_timestamp() END",
        {"anchor": anchor.name, "seal": reached, "problem": problem},
    )
