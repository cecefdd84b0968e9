"""Azure Key Vault behind the contract of `base.Vault`.

Rules:
- A value is a version of a secret; Azure names versions, and that name is where it is. Azure takes 25 kB at a time, so
  a long value is several versions.
- The labels are the newest version of a second secret beside it.
- Key Vault knows no compare-and-swap. Writers take turns by a lock in the control database (`turns.py`), which is
  enough because the rotator is the only writer; what a person does in the portal in the same second is not seen.
- Rights in Azure end at a vault, not at a beginning of names. So departments' secrets, organizations' secrets, the
  inbox and the rest can each have a vault of their own (`vaults`), and a role gets rights to those it needs.
- Deleting is soft: the name cannot be used again before Azure purges it.

Facts: Microsoft's reference of the Key Vault REST API 7.x (Set Secret, Get Secret, Delete Secret) and its limits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from departments.keys.secret import Secret
from departments.keys.vaults.base import DeletionReceipt, SecretMissing, VaultRefused, VaultUnavailable
from departments.keys.vaults.labelled import LabelledVault, Labels
from departments.keys.vaults.names import tags_of
from departments.keys.vaults.turns import in_turn

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.keyvault.secrets import SecretClient

SECONDS = 5
ATTEMPTS = 2
PART = 6_000  # characters, each at most four bytes
LABELS = "-labels"


class AzureVault(LabelledVault):
    """One or more key vaults. `url` serves what `vaults` (kind of name -> address, such as {"org": ...}) does not name.

    Credentials come from where Azure's libraries look for them (managed identity, workload identity). `ca_file` is for
    a private endpoint with a certificate of the company's own.
    """

    def __init__(
        self,
        url: str,
        vaults: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        credential: TokenCredential | None = None,
        turn: Callable[[str], AbstractContextManager[None]] = in_turn,
    ) -> None:
        credential = credential or _default_credential()
        self._clients = {
            kind: _client(address, ca_file, credential) for kind, address in {"": url, **(vaults or {})}.items()
        }
        self._turn = turn

    def stage(self, name: str, token: str, value: Secret) -> None:
        with self._turn(name):
            super().stage(name, token, value)

    def promote(self, name: str, token: str, expected_current: str | None) -> None:
        with self._turn(name):
            super().promote(name, token, expected_current)

    def drop_stage(self, name: str, token: str) -> None:
        with self._turn(name):
            super().drop_stage(name, token)

    def delete(self, name: str) -> DeletionReceipt:
        with self._turn(name):
            return super().delete(name)

    def _read_labels(self, name: str) -> tuple[Labels | None, None]:
        try:
            with _translated(name):
                text = self._client(name).get_secret(secret_name(name) + LABELS).value
        except SecretMissing:
            return None, None
        return Labels.from_json(text or "{}"), None

    def _write_labels(self, name: str, labels: Labels, mark: None) -> None:
        with _translated(name):
            self._client(name).set_secret(
                secret_name(name) + LABELS, labels.to_json(), content_type="application/json", tags=tags_of(name)
            )

    def _put_value(self, name: str, token: str, value: Secret) -> str:
        text = value.reveal()
        parts = [text[at : at + PART] for at in range(0, len(text), PART)]
        return ",".join(self._put_part(name, token, part) for part in parts)

    def _put_part(self, name: str, token: str, part: str) -> str:
        with _translated(name):
            made = self._client(name).set_secret(secret_name(name), part, tags={**tags_of(name), "token": token})
        return str(made.properties.version)

    def _get_value(self, name: str, token: str, where: str) -> Secret:
        with _translated(name):
            parts = [
                self._client(name).get_secret(secret_name(name), version).value or "" for version in where.split(",")
            ]
        return Secret("".join(parts))

    def _drop_value(self, name: str, token: str, where: str) -> None:
        """Azure deletes whole secrets only; what a version can do is end: it is disabled and nobody can read it."""
        with _translated(name):
            for version in where.split(","):
                self._client(name).update_secret_properties(secret_name(name), version, enabled=False)

    def _delete(self, name: str, labels: Labels) -> datetime | None:
        client = self._client(name)
        try:
            with _translated(name):
                client.begin_delete_secret(secret_name(name))
        except SecretMissing:
            pass  # an earlier try had got so far
        with _translated(name):
            gone = client.begin_delete_secret(secret_name(name) + LABELS).result()
        return gone.scheduled_purge_date

    def _client(self, name: str) -> SecretClient:
        kind = name.split("/")[2] if name.count("/") >= 3 else ""
        return self._clients.get(kind, self._clients[""])


def secret_name(name: str) -> str:
    """Letters, digits and hyphens, regardless of case: a readable part and a hash that tells names apart."""
    readable = re.sub(r"[^0-9a-z]+", "-", name.lower()).strip("-")[:70]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _default_credential() -> TokenCredential:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(exclude_interactive_browser_credential=True)


def _client(url: str, ca_file: str | None, credential: TokenCredential) -> SecretClient:
    from azure.keyvault.secrets import SecretClient

    return SecretClient(
        url,
        credential,
        connection_timeout=SECONDS,
        read_timeout=SECONDS,
        retry_total=ATTEMPTS,
        connection_verify=ca_file or True,
        logging_enable=False,  # its log of a request holds the body
    )


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Azure's errors as those of the contract, without their text."""
    from azure.core import exceptions

    try:
        yield
    except exceptions.ResourceNotFoundError:
        raise SecretMissing(f"There is no secret {name}, or no such version of it.") from None
    except exceptions.ClientAuthenticationError:
        raise VaultRefused(f"{name}: Key Vault does not know this identity; check the credential.") from None
    except exceptions.HttpResponseError as error:
        raise _by_status(name, error.status_code or 0) from None
    except exceptions.AzureError as error:
        raise VaultUnavailable(f"{name}: Key Vault was not reached ({type(error).__name__}).") from None


def _by_status(name: str, status: int) -> VaultRefused | VaultUnavailable:
    if status == 409:
        return VaultRefused(f"{name} was deleted and is kept by Azure for recovery. Recover it or take another name.")
    if status == 429 or status >= 500:
        return VaultUnavailable(f"{name}: Key Vault answered {status}.")
    return VaultRefused(f"{name}: Key Vault answered {status}; check the role's rights.")
