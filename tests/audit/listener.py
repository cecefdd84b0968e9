"""A SIEM in a process of its own, to be killed: takes events over syslog with TLS or over HTTPS and notes them.

`python -m tests.audit.listener KIND PORT CERTIFICATE FILE [SECONDS]`: each event, of syslog the whole message, is one
line of FILE, written before it is acknowledged; SECONDS is how long it thinks about each batch.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


def note(file: Path, lines: list[bytes]) -> None:
    with file.open("ab") as taken:
        taken.writelines(line + b"\n" for line in lines)


def frames(data: bytearray) -> Iterator[bytes]:
    """The whole messages at the beginning of `data`, taken out of it."""
    while (end := data.find(b" ")) > 0 and len(data) >= end + 1 + int(data[:end]):
        length = int(data[:end])
        yield bytes(data[end + 1 : end + 1 + length])
        del data[: end + 1 + length]


def take_session(connection: ssl.SSLSocket, file: Path, seconds: float) -> None:
    data = bytearray()
    while chunk := connection.recv(65536):
        data += chunk
        note(file, list(frames(data)))
    time.sleep(seconds)
    connection.unwrap()


def syslog(port: int, context: ssl.SSLContext, file: Path, seconds: float) -> None:
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            plain, _ = server.accept()
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    take_session(connection, file, seconds)
            except OSError:
                continue  # the other side was killed; what was whole is noted


def https(port: int, context: ssl.SSLContext, file: Path, seconds: float) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            time.sleep(seconds)
            note(file, body.splitlines())
            about = {"authorization": self.headers["authorization"], "path": self.path}
            file.with_suffix(".about").write_text(json.dumps(about), encoding="utf-8")
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


def main(kind: str, port: str, certificate: str, file: str, seconds: str = "0") -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    {"syslog": syslog, "https": https}[kind](int(port), context, Path(file), float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
