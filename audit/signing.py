"""The statement of a seal, its signature, and who may sign.

Rules:
- A statement covers its number, its time, the numbers of its first and last event, the root over them, the digest of
  the seal before it and the id of the key: nothing of a seal can be changed alone.
- Ed25519 and not HMAC, because whoever can verify an HMAC can forge one; an auditor verifies with a public key.
- The private key comes through `Signer`, which the wiring fills (settings.AUDIT_SIGNER): the record knows no secret
  manager. The id of a key is derived from the public key, so a key cannot pass under another's name.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.exceptions import ImproperlyConfigured

from audit.leaves import EPOCH, microseconds

TAG = b"chatgrid.audit.seal.v1\x00"
KEY_TAG = b"chatgrid.audit.key.v1\x00"
NO_PREVIOUS = bytes(32)


class SignerUnavailable(Exception):
    """The signing key cannot be had now. Nothing is sealed until it can; the sentence is for the operator."""


class Signer(Protocol):
    """Whoever holds the private key. Swapped for another at a rollover."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes with which everybody can verify."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""


class Ed25519Signer:
    """A private key in this process's memory; it cannot be printed or pickled."""

    def __init__(self, private_key: bytes) -> None:
        self.__key = Ed25519PrivateKey.from_private_bytes(private_key)
        self.public_key = self.__key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, message: bytes) -> bytes:
        return self.__key.sign(message)

    def __repr__(self) -> str:
        return f"Ed25519Signer({key_id(self.public_key)})"

    def __reduce__(self) -> str:
        raise TypeError("A signing key cannot be pickled.")


@dataclass(frozen=True)
class Seal:
    """One seal. `first` and `last` number the events it covers; an empty seal has `last == first - 1`."""

    n: int
    at: datetime
    first: int
    last: int
    root: bytes
    previous: bytes
    public_key: bytes
    signature: bytes = b""

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    @property
    def key(self) -> str:
        return key_id(self.public_key)

    @property
    def statement(self) -> bytes:
        """What is signed."""
        numbers = struct.pack(">qqqq", self.n, microseconds(self.at), self.first, self.last)
        return TAG + numbers + self.root + self.previous + self.public_key

    @property
    def digest(self) -> bytes:
        """What the next seal names as its previous."""
        return hashlib.sha256(self.statement + self.signature).digest()

    def is_signed(self) -> bool:
        """Whether the signature fits the statement and the key that the seal names; not whether the key is trusted."""
        return _fits(self.public_key, self.signature, self.statement)

    def as_json(self) -> dict[str, Any]:
        """The line of an anchor and of an export; times in microseconds since 2000-01-01 UTC beside a readable one."""
        return {
            "n": self.n,
            "at": self.at.astimezone(UTC).isoformat(),
            "microseconds": microseconds(self.at),
            "first": self.first,
            "last": self.last,
            "root": self.root.hex(),
            "previous": self.previous.hex(),
            "public_key": self.public_key.hex(),
            "signature": self.signature.hex(),
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Seal:
        """The seal of such a line. ValueError, KeyError or TypeError where it is none."""
        at = EPOCH + timedelta(microseconds=int(line["microseconds"]))
        if datetime.fromisoformat(line["at"]) != at:
            raise ValueError("a seal has one time")
        return cls(
            n=int(line["n"]),
            at=at,
            first=int(line["first"]),
            last=int(line["last"]),
            root=bytes.fromhex(line["root"]),
            previous=bytes.fromhex(line["previous"]),
            public_key=bytes.fromhex(line["public_key"]),
            signature=bytes.fromhex(line["signature"]),
        )


@dataclass(frozen=True)
class Announcement:
    """The old key's word for a new one: 32 bytes of public key each, 64 of signature by the old."""

    old: bytes
    new: bytes
    signature: bytes

    @classmethod
    def by(cls, old: Signer, new: bytes) -> Announcement:
        return cls(old.public_key, new, old.sign(KEY_TAG + new))

    def is_signed(self) -> bool:
        return _fits(self.old, self.signature, KEY_TAG + self.new)


def public_keys(given: Sequence[str]) -> list[bytes]:
    """Keys as an operator writes them. ImproperlyConfigured for one that is none."""
    for key in given:
        if re.fullmatch("[0-9a-fA-F]{64}", key) is None:
            raise ImproperlyConfigured(f"{key!r} is no public key: it has 64 hex digits, as in each line of an anchor.")
    return [bytes.fromhex(key) for key in given]


def _fits(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_id(public_key: bytes) -> str:
    """How a key is called in logs and pages: the algorithm and 32 hex digits of the key's SHA-256."""
    return f"ed25519-{hashlib.sha256(public_key).hexdigest()[:32]}"
