"""A malware scanner: ClamAV's daemon, asked over its INSTREAM protocol. CHATGRID_CLAMD says where it listens.

The protocol (clamd's manual, "INSTREAM"): `zINSTREAM\\0`, then pieces of the file, each behind its length in four
bytes, most significant first, then a length of zero. The answer ends with NUL: `stream: OK`, `stream: <name> FOUND`, or
a sentence with `ERROR`.
"""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

PIECE = 64 * 1024
SILENCE_SECONDS = 30.0  # for one step; the whole scan ends with CHATGRID_MALWARE_SECONDS
LONGEST_ANSWER = 4096
TOO_LARGE = "it is larger than the scanner reads (StreamMaxLength of clamd)"


class ClamdError(Exception):
    """It gave no verdict."""


def scan(path: Path) -> str:
    """What clamd finds in this file, "" where it finds nothing. Raises ClamdError or OSError."""
    with _connect() as line:
        try:
            _send(line, path)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it stops listening at its limit; what it says about that is still to be read
        return _verdict(_answer(line))


def _connect() -> socket.socket:
    address = urlsplit(settings.CLAMD)
    if address.scheme == "unix":
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(SILENCE_SECONDS)
        line.connect(address.path)
        return line
    if address.scheme != "tcp" or not address.hostname or not address.port:
        raise ClamdError("CHATGRID_CLAMD is no address: write tcp://host:3310 or unix:///run/clamav/clamd.ctl")
    return socket.create_connection((address.hostname, address.port), timeout=SILENCE_SECONDS)


def _send(line: socket.socket, path: Path) -> None:
    line.sendall(b"zINSTREAM\0")
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            line.sendall(len(piece).to_bytes(4, "big") + piece)
    line.sendall(bytes(4))


def _answer(line: socket.socket) -> str:
    said = b""
    while b"\0" not in said and len(said) < LONGEST_ANSWER:
        piece = line.recv(LONGEST_ANSWER)
        if not piece:
            break
        said += piece
    return said.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _verdict(said: str) -> str:
    if said == "stream: OK":
        return ""
    if said.endswith(" FOUND"):
        return said.removeprefix("stream: ").removesuffix(" FOUND")
    if "size limit exceeded" in said:
        return TOO_LARGE
    raise ClamdError(f"clamd gave no verdict: {said[:200]!r}")
