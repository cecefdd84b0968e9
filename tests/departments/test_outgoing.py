"""Servers that are not what they should be: one that drips, one whose certificate nobody vouches for."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import override_settings

from departments import outgoing
from departments.outgoing import NotReachable


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of somebody who takes one connection and does this with it."""
    with socket.create_server(("127.0.0.1", 0)) as listening, override_settings(WEBHOOK_NETWORKS=["127.0.0.1/32"]):

        def take() -> None:
            with suppress(OSError), listening.accept()[0] as connection:
                serve(connection)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(timeout=10)


def certificate(file: Path, names: list[x509.GeneralName], days: int = 1) -> Path:
    """Signed by itself, with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks")])
    until = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(until - timedelta(days=9))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return file


def test_a_server_that_answers_a_byte_now_and_then_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the whole never does."""
    monkeypatch.setattr(outgoing, "TIMEOUT_SECONDS", 0.3)
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(200):
            connection.sendall(b"x-%d: y\r\n" % number)
            if over.wait(0.05):
                return
        connection.sendall(b"content-length: 0\r\n\r\n")

    with server(drip) as port:
        with pytest.raises(NotReachable, match="TimeoutError"):
            outgoing.post(f"http://127.0.0.1:{port}/", b"{}", {})
        over.set()


@pytest.mark.parametrize(
    ("names", "days", "is_trusted"),
    [
        ([x509.IPAddress(IPv4Address("127.0.0.1"))], 1, False),
        ([x509.IPAddress(IPv4Address("127.0.0.1"))], -1, True),
        ([x509.DNSName("elsewhere.example")], 1, True),
    ],
)
def test_a_certificate_that_is_not_right_gets_nothing_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[x509.GeneralName], days: int, is_trusted: bool
) -> None:
    file = certificate(tmp_path / "hooks.pem", names, days)
    if is_trusted:
        known = outgoing.httpx2.AsyncClient
        trusting = ssl.create_default_context(cafile=str(file))
        monkeypatch.setattr(outgoing.httpx2, "AsyncClient", lambda **options: known(verify=trusting, **options))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    heard: list[bytes] = []

    def greet(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            heard.append(secured.recv(65_536))

    with (
        server(greet) as port,
        pytest.raises(NotReachable, match="certificate is not trusted, has ended, or is for another name"),
    ):
        outgoing.post(f"https://127.0.0.1:{port}/", b"{}", {})
    assert not any(heard)
