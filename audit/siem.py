"""Where the record's events are pushed to: a company's SIEM, over syslog with TLS or over HTTPS.

Rules:
- A target is a setting of the deployment (`CHATGRID_SIEM`), never a field of a page: whoever may edit it can send the
  record away. Nothing but TLS is spoken, with the peer's certificate checked; no redirect is followed.
- A batch is taken when the other side says so: an HTTP status of 200 to 299, or, where syslog has no answer of its own,
  the peer's orderly end of the TLS session (RFC 5425, section 4.4), which comes after all that was sent before it.
  Everything else, a broken connection included, means that the batch is sent again.
- A secret for HTTPS lies in a file that the deployment mounts; it is read for each batch and kept nowhere.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import httpx2
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from audit import ocsf

TIMEOUT = 20.0
LONGEST_WAIT = 3600.0  # seconds that a target may ask for
ENTERPRISE = "chatgrid@32473"  # the number that RFC 5612 keeps for examples: ChatGrid has none of its own
OF_THE_CONTENT = {400, 413, 422}  # statuses that are about what was sent, not about who sent it or when
KNOWN = {"name", "url", "format", "organization", "ca_file", "certificate_file", "authorization_file"}


class Shape(StrEnum):
    """How one event is written."""

    OCSF = "ocsf"
    JSON = "json"
    SPLUNK = "splunk"  # the HTTP Event Collector's envelope around OCSF


class TargetDown(Exception):
    """The batch was not taken, or nobody said so.

    `pause` is what the other side asked for, in seconds; `is_refusal` says that it refused what is in the batch.
    """

    def __init__(self, sentence: str, pause: float = 0.0, *, is_refusal: bool = False) -> None:
        super().__init__(sentence)
        self.pause, self.is_refusal = pause, is_refusal


class Transport(Protocol):
    """A way to one target."""

    def send(self, lines: Sequence[bytes]) -> None:
        """Returns when all of these events were taken. Raises TargetDown."""


@dataclass(frozen=True)
class Target:
    """One place. `name` is its cursor's name; with an `organization` it gets that company's events alone."""

    name: str
    shape: Shape
    transport: Transport
    organization: UUID | None = None

    def send(self, events: Sequence[bytes]) -> None:
        """Events as audit.rows writes them. Raises TargetDown."""
        self.transport.send([_shaped(self.shape, event) for event in events])


def _shaped(shape: Shape, event: bytes) -> bytes:
    match shape:
        case Shape.JSON:
            return event
        case Shape.SPLUNK:
            return b'{"source":"chatgrid","event":' + ocsf.of_line(event) + b"}"
        case _:
            return ocsf.of_line(event)


class SyslogTransport:
    """RFC 5424 messages with octet counting over TLS (RFC 5425), one session a batch."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self._address, self._context = (host, port), context

    def send(self, lines: Sequence[bytes]) -> None:
        try:
            with socket.create_connection(self._address, timeout=TIMEOUT) as plain:
                session = _Session(plain, self._context, self._address[0])
                session.step(session.tls.do_handshake)
                session.write(b"".join(map(_frame, lines)))
                session.step(session.tls.unwrap)
        except OSError as error:
            raise TargetDown(f"it did not take the events: {_why(error)}") from error


class _Session:
    """TLS over a connection, step by step.

    The end of the session must not hide in an end of the connection: somebody could cut a batch short. CPython 3.11.2's
    sockets take the one for the other (3.11.7's do not), so the connection is read here.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, name: str) -> None:
        self._plain, self._incoming, self._outgoing = plain, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    def step(self, act: Callable[[], object]) -> None:
        """Do this, exchanging with the peer what it needs. Raises OSError, also where the connection ends first."""
        done = False
        while not done:
            with suppress(ssl.SSLWantReadError):
                act()
                done = True
            self._plain.sendall(self._outgoing.read())
            if not done:
                self._receive()

    def write(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[self.tls.write(left) :]
            self._plain.sendall(self._outgoing.read())

    def _receive(self) -> None:
        received = self._plain.recv(65_536)
        if not received:
            raise ConnectionResetError(errno.ECONNRESET, "the connection ended before the session")
        self._incoming.write(received)


def _frame(line: bytes) -> bytes:
    event = ocsf.parsed(line)
    about = event.get("metadata", event)
    seq = about.get("sequence", about.get("seq", ""))
    moment = event.get("at") or event.get("unmapped", {}).get("at") or "-"
    # facility 13 is the audit log, severity 6 information
    head = f'<110>1 {moment} {socket.gethostname()} chatgrid {os.getpid()} event [{ENTERPRISE} seq="{seq}"] '
    message = head.encode() + line
    return str(len(message)).encode() + b" " + message


class HttpsTransport:
    """One POST a batch, a line an event."""

    def __init__(self, url: str, context: ssl.SSLContext, authorization_file: Path | None) -> None:
        self._url, self._context, self._authorization = url, context, authorization_file

    def send(self, lines: Sequence[bytes]) -> None:
        try:
            with httpx2.Client(
                verify=self._context, timeout=TIMEOUT, follow_redirects=False, trust_env=False
            ) as client:
                content = b"\n".join(lines) + b"\n"
                # what it says after its status is not read: it could go on for ever
                with client.stream("POST", self._url, content=content, headers=self._headers()) as answer:
                    _require_success(answer)
        except httpx2.HTTPError as error:
            raise TargetDown(f"it did not take the events: {_why(error)}") from error

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/x-ndjson"}
        if self._authorization is None:
            return headers
        try:
            return headers | {"authorization": self._authorization.read_text(encoding="utf-8").strip()}
        except OSError as error:
            raise TargetDown(f"its authorization_file cannot be read ({error.strerror})") from error


def _why(error: BaseException) -> str:
    """The reason in words that tell what to do, without an address: an auditor reads them too."""
    reasons: list[BaseException] = [error]
    while (cause := reasons[-1].__cause__ or reasons[-1].__context__) is not None and cause not in reasons:
        reasons.append(cause)
    for each in reasons:
        if isinstance(each, ssl.SSLCertVerificationError):
            words = each.verify_message or "its name is another"
            return f"its certificate is not trusted ({words}). Name its authority as ca_file, or mend the certificate"
        if isinstance(each, ssl.SSLError):
            return f"no TLS session could be made ({each.reason or type(each).__name__})"
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return f"no answer within {TIMEOUT:.0f} seconds"
    named = (each.strerror for each in reversed(reasons) if isinstance(each, OSError) and each.strerror)
    return next(named, type(error).__name__)


def _require_success(answer: httpx2.Response) -> None:
    if not answer.is_success:
        words = f"it answered {answer.status_code} {answer.reason_phrase}".strip()
        raise TargetDown(words, _pause_of(answer), is_refusal=answer.status_code in OF_THE_CONTENT)


def _pause_of(answer: httpx2.Response) -> float:
    """Its Retry-After, which is a number of seconds or a moment; an hour at most, for whoever mends it waits, too."""
    asked = answer.headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        return min(float(asked), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(asked)
    except ValueError:
        return 0.0
    wait = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)
    return min(max(0.0, wait.total_seconds()), LONGEST_WAIT)


def configured() -> list[Target]:
    """The targets of settings.AUDIT_SIEM. ImproperlyConfigured, with what to write, for one without a meaning."""
    targets = [target_of(each) for each in settings.AUDIT_SIEM]
    if len({target.name for target in targets}) < len(targets):
        raise ImproperlyConfigured("CHATGRID_SIEM gives two targets one name: each has a cursor of its own.")
    return targets


def target_of(given: Mapping[str, Any]) -> Target:
    """One target of the setting: {"name": "soc", "url": "syslog+tls://siem.example:6514"} and more, see the docs."""
    unknown = set(given) - KNOWN
    if unknown or not given.get("name"):
        raise _wrong(f"it has {', '.join(sorted(unknown)) or 'no name'}: a target knows {', '.join(sorted(KNOWN))}")
    shape = given.get("format", Shape.OCSF)
    if shape not in list(Shape):
        raise _wrong(f"the format of {given['name']} is one of {', '.join(Shape)}")
    organization = UUID(given["organization"]) if given.get("organization") else None
    return Target(given["name"], Shape(shape), _transport(given), organization)


def _transport(given: Mapping[str, Any]) -> Transport:
    parts = urlsplit(given.get("url", ""))
    context = _context(given)
    match parts.scheme:
        case "syslog+tls" if parts.hostname:
            return SyslogTransport(parts.hostname, parts.port or 6514, context)
        case "https" if parts.hostname:
            file = given.get("authorization_file")
            return HttpsTransport(given["url"], context, Path(file) if file else None)
    raise _wrong(f"the url of {given['name']} is syslog+tls://host:port or https://host/path")


def _context(given: Mapping[str, Any]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=given.get("ca_file"))
        if given.get("certificate_file"):
            context.load_cert_chain(given["certificate_file"])
    except OSError as error:
        raise _wrong(f"a certificate of {given['name']} cannot be read ({error.strerror})") from error
    return context


def _wrong(what: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"CHATGRID_SIEM: {what}.")
