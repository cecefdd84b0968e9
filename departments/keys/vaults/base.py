"""The contract every secret manager behind ChatGrid fulfils, and its errors.

A secret has a name and versions. A version has an id (the token it was staged with), a value that never changes, and
at most one each of three labels sits somewhere among the versions: current, pending, previous.

Rules, for every backend, checked by one test suite (tests/departments/keys/test_vaults.py):
- Readers see `current` only. Staging makes nothing visible, not even the first version of a new name.
- Every step may be repeated: after a crash the caller does it again with the same arguments and the result is the same.
- `promote` is the one step that changes what readers see. It compares and swaps; of any number of callers with
  different tokens and the same expectation exactly one wins, and the others get StaleExpectation.
- An error says what happened to whom, and never holds a value.
- All methods are synchronous and may block for seconds; under ASGI they run in a thread (`keys.cache` does so).
- A vault may be shared by threads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from departments.keys.secret import Secret

# The limits of AWS Secrets Manager, held to by every backend so that a secret can move from one to the other.
MAX_VALUE_BYTES = 65_536
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_LOOKS_LIKE_ARN_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}\Z")
_TOKEN = re.compile(r"[A-Za-z0-9-]{32,64}")


class VaultError(Exception):
    """Anything a vault refuses or cannot do."""


class VaultUnavailable(VaultError):
    """The manager cannot be reached, is too busy or took too long. Trying again later may help."""


class SecretMissing(VaultError):
    """No such secret, no such version, nothing current yet, or the secret was deleted."""


class StaleExpectation(VaultError):
    """Another version is current than the caller expected: somebody else has rotated. Nothing was changed."""


class TokenReused(VaultError):
    """The token already stands for another value. Nothing was changed."""


class VaultRefused(VaultError):
    """The manager, or the check before it, says no: rights, name, size, a damaged file. Trying again will not help."""


@dataclass(frozen=True, slots=True)
class Version:
    """One value of a secret. `value` is a JSON object as text (keys) or whatever the caller staged."""

    version_id: str
    value: Secret


@dataclass(frozen=True, slots=True)
class Description:
    """What may be known without reading a value.

    `pending` may equal `current`: between promote and drop_stage a version carries both labels. `created` maps the id
    of every version still held to an aware datetime.
    """

    name: str
    current: str | None
    pending: str | None
    previous: str | None
    created: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class DeletionReceipt:
    """Proof for the archive. `recoverable_until` is None where the values are gone at once."""

    name: str
    version_ids: tuple[str, ...]
    deleted_at: datetime
    recoverable_until: datetime | None


class Vault(Protocol):
    """A secret manager. Every method may raise VaultUnavailable and VaultRefused beside what it names."""

    def get_current(self, name: str) -> Version:
        """The current version, or SecretMissing."""

    def get_version(self, name: str, version_id: str) -> Version:
        """The version with this id, whatever its labels, or SecretMissing. Rotation checks a pending value with it."""

    def stage(self, name: str, token: str, value: Secret) -> None:
        """Store the value under the token as its version id and label it pending; makes the name where it is missing.

        An earlier pending version loses the label. The same token with the same value again: done, without effect on a
        version that has been promoted since. With another value: TokenReused. Two callers that stage different values
        under one token at the same moment are outside the contract: a token belongs to one rotation, and a rotation
        to one worker.
        """

    def promote(self, name: str, token: str, expected_current: str | None) -> None:
        """Make the token's version current if `expected_current` (None: nothing) is current now.

        Already current: done. Something else is current: StaleExpectation. No such version: SecretMissing. The version
        that was current becomes previous. Promoting the previous version again is how a rotation is rolled back.
        """

    def drop_stage(self, name: str, token: str) -> None:
        """Take the label pending off the token's version. Not there, or no such secret: done."""

    def previous(self, name: str) -> Version | None:
        """The version that was current before, or None. SecretMissing if there is no such secret."""

    def describe(self, name: str) -> Description:
        """Labels, ids and dates, or SecretMissing."""

    def delete(self, name: str) -> DeletionReceipt:
        """Delete the secret with all its versions, or SecretMissing, also when it was deleted before.

        Where the manager keeps a recovery window the name cannot be staged again before its end (VaultRefused).
        """


def require_name(name: str) -> None:
    """VaultRefused unless every backend takes the name."""
    if not _NAME.fullmatch(name):
        raise VaultRefused(f"{name!r} is no name of a secret: 1 to 512 letters, digits and / _ + = . @ - are allowed.")
    if _LOOKS_LIKE_ARN_SUFFIX.search(name):
        # AWS appends a hyphen and six characters to make the ARN and may then find the wrong secret.
        raise VaultRefused(f"{name!r} must not end in a hyphen and six characters; add a word at the end.")


def require_stageable(name: str, token: str, value: Secret) -> None:
    """VaultRefused unless name, token and size of the value fit every backend."""
    require_name(name)
    if not _TOKEN.fullmatch(token):
        raise VaultRefused(f"{token!r} is no token: 32 to 64 letters, digits and hyphens, such as a UUID.")
    size = len(value.reveal().encode())
    if not 1 <= size <= MAX_VALUE_BYTES:
        raise VaultRefused(f"The value for {name} has {size:,} bytes; 1 to {MAX_VALUE_BYTES:,} are allowed.")
