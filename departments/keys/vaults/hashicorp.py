"""HashiCorp Vault, KV version 2, behind the contract of `base.Vault`.

Rules:
- A value is an entry of its own, `<name>/versions/<token>`, written with check-and-set 0: it can be written once.
- The labels are the entry `<name>/labels`, written with check-and-set on the version that was read.
- The token comes from a file that Vault Agent keeps fresh, read at each call, or from VAULT_TOKEN. ChatGrid never logs
  in by itself and holds no long-lived credential.
- Time-outs are seconds. Errors become those of the contract, without Vault's text: it may repeat a path's policy.

Facts: HashiCorp's API reference, "KV secrets engine - version 2".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from departments.keys.secret import Secret
from departments.keys.vaults.base import SecretMissing, TokenReused, VaultRefused, VaultUnavailable
from departments.keys.vaults.labelled import Changed, LabelledVault, Labels

if TYPE_CHECKING:
    import hvac  # type: ignore[import-untyped,unused-ignore]

SECONDS = 5
_MUST_NOT_MATCH = "check-and-set parameter did not match"


class HashicorpVault(LabelledVault):
    """One KV v2 engine. `mount` is its path; `ca_file` is the company's certificate authority, if it has its own."""

    def __init__(
        self,
        url: str,
        mount: str = "secret",
        token_file: str = "",
        namespace: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        self._url = url
        self._mount = mount
        self._token_file = token_file
        self._namespace = namespace
        self._verify: str | bool = ca_file or True

    def _read_labels(self, name: str) -> tuple[Labels | None, int]:
        found = self._read(_labels_path(name))
        if found is None:
            return None, 0
        return Labels.from_json(found["data"]["labels"]), int(found["metadata"]["version"])

    def _write_labels(self, name: str, labels: Labels, mark: int) -> None:
        self._write(_labels_path(name), {"labels": labels.to_json()}, cas=mark)

    def _put_value(self, name: str, token: str, value: Secret) -> str:
        path = _value_path(name, token)
        try:
            self._write(path, {"value": value.reveal()}, cas=0)
        except Changed:
            if self._get_value(name, token, path) != value:
                raise TokenReused(f"{name}: the token {token} already stands for another value.") from None
        return path

    def _get_value(self, name: str, token: str, where: str) -> Secret:
        found = self._read(where)
        if found is None:
            raise SecretMissing(f"{name} has no version {token}.")
        return Secret(found["data"]["value"])

    def _drop_value(self, name: str, token: str, where: str) -> None:
        with self._client(name) as client:
            client.secrets.kv.v2.delete_metadata_and_all_versions(path=where, mount_point=self._mount)

    def _delete(self, name: str, labels: Labels) -> datetime | None:
        for token, version in labels.versions.items():
            self._drop_value(name, token, version["at"])
        self._drop_value(name, "labels", _labels_path(name))
        return None

    def _read(self, path: str) -> dict[str, Any] | None:
        try:
            with self._client(path) as client:
                answer = client.secrets.kv.v2.read_secret_version(
                    path=path, mount_point=self._mount, raise_on_deleted_version=True
                )
        except SecretMissing:
            return None
        data: dict[str, Any] = answer["data"]
        return data

    def _write(self, path: str, content: dict[str, str], cas: int) -> None:
        with self._client(path) as client:
            client.secrets.kv.v2.create_or_update_secret(path=path, secret=content, cas=cas, mount_point=self._mount)

    @contextmanager
    def _client(self, what: str) -> Iterator[hvac.Client]:
        """A client with the token of the moment; what goes wrong inside becomes an error of the contract."""
        import hvac
        import requests

        client = hvac.Client(
            url=self._url, token=self._token(), namespace=self._namespace, timeout=SECONDS, verify=self._verify
        )
        client.session.trust_env = False  # a proxy of the environment must not see secrets
        try:
            yield client
        except hvac.exceptions.InvalidPath:
            raise SecretMissing(f"There is no secret {what}.") from None
        except hvac.exceptions.InvalidRequest as error:
            if any(_MUST_NOT_MATCH in str(one) for one in error.errors or [str(error)]):
                raise Changed from None
            raise VaultRefused(f"{what}: Vault refuses the request; is {self._mount} a KV version 2 engine?") from None
        except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
            raise VaultRefused(f"{what}: Vault does not allow it; check the token and its policy.") from None
        except hvac.exceptions.VaultError as error:
            raise VaultUnavailable(f"{what}: Vault answered {type(error).__name__}.") from None
        except requests.RequestException as error:
            raise VaultUnavailable(f"{what}: Vault was not reached ({type(error).__name__}).") from None
        finally:
            client.adapter.close()

    def _token(self) -> str:
        if not self._token_file:
            return os.environ.get("VAULT_TOKEN", "")
        try:
            return Path(self._token_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise VaultUnavailable(f"Vault's token file cannot be read: {error.strerror}.") from None


def _labels_path(name: str) -> str:
    return f"{name}/labels"


def _value_path(name: str, token: str) -> str:
    return f"{name}/versions/{token}"
