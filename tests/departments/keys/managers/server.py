"""Runs a stand-in in a thread, in clear or with a certificate made for the occasion."""

from __future__ import annotations

import datetime
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette

# Azure's client takes a challenge only from a host below the one that the challenge names.
HOST = "chatgrid.localhost"


@contextmanager
def serving(app: Starlette, folder: Path | None = None) -> Iterator[str]:
    """The address. With a folder it is https, and `ca.pem` in the folder is the certificate to trust."""
    listener = socket.create_server(("127.0.0.1", 0))
    tls = _certificate(folder) if folder else {}
    config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False, **tls)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        host = f"https://{HOST}" if folder else "http://127.0.0.1"
        yield f"{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5)
        listener.close()


def _certificate(folder: Path) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {"ssl_certfile": str(folder / "ca.pem"), "ssl_keyfile": str(folder / "key.pem")}


@contextmanager
def resolving() -> Iterator[None]:
    """Names below localhost are this machine; not every C library knows that."""
    known = socket.getaddrinfo

    def look_up(host: object, *more: object, **options: object) -> object:
        here = "127.0.0.1" if host == HOST else host
        return known(here, *more, **options)  # type: ignore[arg-type]

    socket.getaddrinfo = look_up  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.getaddrinfo = known
