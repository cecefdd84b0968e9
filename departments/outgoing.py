"""Requests to addresses that IT typed in leave through here, and only to the open internet.

Rules:
- HTTPS only, no user name in the address, no port below 1024 but 443.
- The name is resolved once; every address it has must be public; the connection goes to the address that was checked,
  with the name in the certificate's check. A name that points elsewhere a moment later changes nothing.
- An answer has `TIMEOUT_SECONDS` in all, however slowly it comes: nobody else's messages wait for a server that drips.
- Redirects are not followed, and no proxy of the environment is asked.
- An organization's own network is opened by whoever runs ChatGrid, in CHATGRID_WEBHOOK_NETWORKS; there plain HTTP is
  allowed too.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

import httpx2
from django.conf import settings
from django.core.exceptions import ValidationError

TIMEOUT_SECONDS = 10.0

Address: TypeAlias = IPv4Address | IPv6Address

# addresses in which another one is hidden: whoever means the inner one can write it
_WRAPPING = [
    ipaddress.ip_network(each)
    for each in (
        "::/96",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
    )
]


class NotReachable(Exception):
    """Nothing was sent, or no answer came; the message says why, without anything the other side said."""


class NoAnswer(NotReachable):
    """Nobody answered in time, so that the next message to the same place had better wait."""


@dataclass(frozen=True)
class Destination:
    """A checked address: the request goes to `address`, and says that it is for `host`."""

    scheme: str
    host: str
    address: Address
    port: int
    path: str

    @property
    def url(self) -> str:
        shown = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{self.scheme}://{shown}:{self.port}{self.path}"


def check_url(url: str) -> SplitResult:
    """The parts of an address as far as they can be judged without a name server. Raises ValidationError."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ValidationError("This is not an address. Write one such as https://hooks.example.com/chatgrid.") from None
    if parts.scheme not in {"https", "http"} or not parts.hostname or any(ord(each) < 33 for each in url.strip()):
        raise ValidationError("Write an address such as https://hooks.example.com/chatgrid.")
    if parts.scheme == "http" and not settings.WEBHOOK_NETWORKS:
        raise ValidationError("Only https:// addresses are allowed.")
    if parts.username or parts.password:
        raise ValidationError("Leave the user name and the password out of the address: messages are signed instead.")
    if port is not None and port != 443 and port < 1024:
        raise ValidationError("Use port 443, or one above 1023.")
    return parts


def is_allowed(address: Address) -> bool:
    """Whether it is on the open internet, or in a network that was opened on purpose."""
    opened = [ipaddress.ip_network(each) for each in settings.WEBHOOK_NETWORKS]
    if any(address.version == network.version and address in network for network in opened):
        return True
    if any(address.version == network.version and address in network for network in _WRAPPING):
        return False
    if isinstance(address, IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def destination(url: str) -> Destination:
    """Resolve and check. Raises NotReachable."""
    try:
        parts = check_url(url)
    except ValidationError as error:
        raise NotReachable(error.messages[0]) from None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = _in_ascii(parts.hostname or "")
    addresses = _resolved(host, port)
    if not all(is_allowed(address) for address in addresses):
        raise NotReachable("The address is in a private network, to which nothing is sent.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme, host, addresses[0], port, path)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send; the status of the answer. Raises NotReachable. Not for code that runs in an event loop."""
    to = destination(url)
    if to.scheme == "http" and to.address.is_global:
        raise NotReachable("Only https:// addresses are allowed outside your own network.")
    fields = {**headers, "Host": to.host if to.port in {80, 443} else f"{to.host}:{to.port}"}
    try:
        return asyncio.run(_status(to, body, fields))
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
        raise NoAnswer(_why(error)) from None


async def _status(to: Destination, body: bytes, fields: Mapping[str, str]) -> int:
    """The client's own time-outs are for each step, and a server that sends a byte now and then passes all of them."""
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False) as client,
        client.stream("POST", to.url, content=body, headers=fields, extensions={"sni_hostname": to.host}) as response,
    ):
        return response.status_code


def _why(error: BaseException) -> str:
    """In our own words; a certificate is somebody's to mend, so it is named."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return f"No answer came ({type(error).__name__})."
    return "The server's certificate is not trusted, has ended, or is for another name."


def _in_ascii(host: str) -> str:
    """A name as it stands in a header and in a certificate: xn--… for letters of other scripts. Raises NotReachable."""
    try:
        return host if ":" in host else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise NotReachable("The name of the server is not known.") from None


def _resolved(host: str, port: int) -> list[Address]:
    """Every address of a name; numbers in any spelling are understood as the system would. Raises NotReachable."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    except (OSError, ValueError):
        raise NotReachable("The name of the server is not known.") from None
    return addresses
