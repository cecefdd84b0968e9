"""Google Secret Manager behind the contract of `base.Vault`.

Rules:
- A value is a version of the secret; Google numbers versions, and the number is where it is.
- The labels are an annotation of the secret, written with the etag that was read: Google compares and swaps.
- A version added by a process that died before it wrote the annotation is never named by it and so never read; it goes
  with the secret.
- A secret's id keeps the name's beginning readable, so that an IAM condition on `resource.name.startsWith` can fence a
  role in: `/` becomes `_2f`, and so on for whatever Google does not allow.

Facts: Google's reference of the Secret Manager API v1 (secrets, versions, etags, annotations).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from departments.keys.secret import Secret
from departments.keys.vaults.base import SecretMissing, VaultRefused, VaultUnavailable
from departments.keys.vaults.labelled import Changed, LabelledVault, Labels
from departments.keys.vaults.names import tags_of

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

SECONDS = 5.0
LONGEST_ID = 255
ANNOTATION = "chatgrid-labels"


class GcpVault(LabelledVault):
    """The secrets of one Google Cloud project. Credentials come from where Google's libraries look for them.

    `endpoint` is for a private endpoint or a stand-in, `kms_key` for a key of the company's own, `locations` keeps
    secrets in these regions only.
    """

    def __init__(
        self,
        project: str,
        endpoint: str = "",
        kms_key: str = "",
        locations: tuple[str, ...] = (),
        credentials: Credentials | None = None,
    ) -> None:
        self._parent = f"projects/{project}"
        self._client = _client(endpoint, credentials)
        self._replication = _replication(kms_key, tuple(locations))

    def _read_labels(self, name: str) -> tuple[Labels | None, str]:
        try:
            with _translated(name):
                secret = self._client.get_secret(name=self._path(name), **_LIMITS)
        except SecretMissing:
            return None, ""
        text = secret.annotations.get(ANNOTATION)
        # made by a process that died before it wrote the labels: there is a secret, and nothing in it yet
        return (Labels.from_json(text) if text else None), secret.etag

    def _write_labels(self, name: str, labels: Labels, mark: str) -> None:
        if not mark:
            raise Changed  # it was not there when the document was read; now it is, and has a mark
        secret = {"name": self._path(name), "annotations": {ANNOTATION: labels.to_json()}, "etag": mark}
        with _translated(name):
            self._client.update_secret(request={"secret": secret, "update_mask": {"paths": ["annotations"]}}, **_LIMITS)

    def _put_value(self, name: str, token: str, value: Secret) -> str:
        self._require_made(name)
        with _translated(name):
            version = self._client.add_secret_version(
                request={"parent": self._path(name), "payload": {"data": value.reveal().encode()}}, **_LIMITS
            )
        return str(version.name.rsplit("/", 1)[1])

    def _get_value(self, name: str, token: str, where: str) -> Secret:
        with _translated(name):
            answer = self._client.access_secret_version(name=f"{self._path(name)}/versions/{where}", **_LIMITS)
        return Secret(answer.payload.data.decode())

    def _drop_value(self, name: str, token: str, where: str) -> None:
        try:
            with _translated(name):
                self._client.destroy_secret_version(name=f"{self._path(name)}/versions/{where}", **_LIMITS)
        except (SecretMissing, Changed):
            pass  # destroyed already

    def _delete(self, name: str, labels: Labels) -> datetime | None:
        with _translated(name):
            self._client.delete_secret(name=self._path(name), **_LIMITS)
        return None

    def _require_made(self, name: str) -> None:
        secret = {"replication": self._replication, "labels": _google_labels(name)}
        try:
            with _translated(name):
                self._client.create_secret(
                    request={"parent": self._parent, "secret_id": secret_id(name), "secret": secret}, **_LIMITS
                )
        except _AlreadyThere:
            pass  # by an earlier staging, or by another worker

    def _path(self, name: str) -> str:
        return f"{self._parent}/secrets/{secret_id(name)}"


class _AlreadyThere(VaultRefused):
    """The secret exists."""


def secret_id(name: str) -> str:
    """The name in the letters that Google allows; different names have different ids."""
    plain = re.sub(r"[^A-Za-z0-9-]", lambda match: f"_{ord(match[0]):02x}", name)
    if len(plain) <= LONGEST_ID:
        return plain
    # "_00" stands for no character of any name, so no short name has an id like this
    return f"{plain[:180]}_00{hashlib.sha256(name.encode()).hexdigest()}"


def _client(endpoint: str, credentials: Credentials | None) -> SecretManagerServiceClient:
    # Imported here: a second and 60 MiB that a process without this vault does not pay.
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

    options = {"api_endpoint": endpoint} if endpoint else None
    # REST: gRPC keeps threads that do not survive the fork of a worker
    return SecretManagerServiceClient(transport="rest", client_options=options, credentials=credentials)


def _replication(kms_key: str, locations: tuple[str, ...]) -> dict[str, Any]:
    encryption = {"customer_managed_encryption": {"kms_key_name": kms_key}} if kms_key else {}
    if not locations:
        return {"automatic": encryption}
    return {"user_managed": {"replicas": [{"location": location, **encryption} for location in locations]}}


def _google_labels(name: str) -> dict[str, str]:
    """Tags as labels: lower case, no dots, at most 63 characters."""
    return {key: re.sub(r"[^a-z0-9_-]", "-", value.lower())[:63] for key, value in tags_of(name).items()}


# `retry=None`: the contract's callers decide about trying again
_LIMITS: dict[str, Any] = {"timeout": SECONDS, "retry": None}


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Google's errors as those of the contract, without their text."""
    import requests
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except exceptions.GoogleAPICallError as error:
        raise _error_for(name, _status_of(error)) from None
    except exceptions.RetryError:
        raise VaultUnavailable(f"{name}: Secret Manager took too long.") from None
    except (requests.RequestException, GoogleAuthError) as error:
        raise VaultUnavailable(f"{name}: Secret Manager was not reached ({type(error).__name__}).") from None


def _status_of(error: Any) -> str:
    """Google's word for what happened. Over REST the exception's class knows the HTTP status only, which is coarser."""
    try:
        return str(error.response.json()["error"]["status"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return "UNAVAILABLE" if (error.code or 500) >= 500 else "UNKNOWN"


def _error_for(name: str, status: str) -> Exception:
    if status == "NOT_FOUND":
        return SecretMissing(f"There is no secret {name}, or no such version of it.")
    if status == "ALREADY_EXISTS":
        return _AlreadyThere(f"{name} is there already.")
    if status in {"FAILED_PRECONDITION", "ABORTED"}:
        return Changed()
    if status in {"UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}:
        return VaultUnavailable(f"{name}: Secret Manager answered {status}.")
    return VaultRefused(f"{name}: Secret Manager answered {status}; check the role's rights.")
