"""A vault on top of any secret manager that can store values and one small document beside them.

AWS has labels of its own. HashiCorp Vault, Azure Key Vault and Google Secret Manager have not, so the labels lie in a
document of the secret: which version is current, pending, previous; where each version's value is; when it was made.

Rules:
- A value is written before the document names it, and never changed: a reader of the document always finds the value.
- The document is exchanged whole, by compare-and-swap: it carries a mark, and a write with an old mark is `Changed`.
  Whoever meets that reads again and decides anew.
- Versions that have lost their labels are kept for a day, then removed with the next write, as on AWS.
"""

from __future__ import annotations

import json
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from departments.keys.secret import Secret
from departments.keys.vaults.base import (
    DeletionReceipt,
    Description,
    SecretMissing,
    StaleExpectation,
    TokenReused,
    VaultUnavailable,
    Version,
    require_name,
    require_stageable,
)

KEEP_UNLABELLED = timedelta(hours=24)
TRIES = 40  # of a write that others get in front of


class Changed(Exception):
    """Somebody else has written the document since it was read."""


@dataclass
class Labels:
    """The document. `versions` maps a version's id to where its value is and when it was made (ISO 8601)."""

    current: str | None = None
    pending: str | None = None
    previous: str | None = None
    versions: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> Labels:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def unlabelled(self, before: datetime) -> list[str]:
        labelled = {self.current, self.pending, self.previous}
        return [
            token
            for token, version in self.versions.items()
            if token not in labelled and datetime.fromisoformat(version["created"]) < before
        ]


class LabelledVault(ABC):
    """Fulfils `base.Vault`; a backend adds the five calls at the end. Their errors are those of the contract."""

    def get_current(self, name: str) -> Version:
        labels = self._require(name)
        if labels.current is None:
            raise SecretMissing(f"{name} has no current version yet; stage one and promote it.")
        return self._version(name, labels, labels.current)

    def get_version(self, name: str, version_id: str) -> Version:
        return self._version(name, self._require(name), version_id)

    def stage(self, name: str, token: str, value: Secret) -> None:
        require_stageable(name, token, value)
        where: str | None = None

        def change(labels: Labels) -> bool:
            nonlocal where
            if token in labels.versions:
                self._require_same(name, labels, token, value)
                if token in (labels.current, labels.previous, labels.pending):
                    return False
            else:
                where = where or self._put_value(name, token, value)
                labels.versions[token] = {"at": where, "created": datetime.now(UTC).isoformat()}
            labels.pending = token
            return True

        self._change(name, change, make=True)

    def promote(self, name: str, token: str, expected_current: str | None) -> None:
        def change(labels: Labels) -> bool:
            if labels.current == token:
                return False
            _require_version(name, labels, token)
            if labels.current != expected_current:
                raise StaleExpectation(
                    f"{name}: {labels.current} is current, not {expected_current}; describe it and decide."
                )
            labels.previous = labels.current or labels.previous
            labels.current = token
            return True

        self._change(name, change)

    def drop_stage(self, name: str, token: str) -> None:
        def change(labels: Labels) -> bool:
            if labels.pending != token:
                return False
            labels.pending = None
            return True

        try:
            self._change(name, change)
        except SecretMissing:
            pass  # nothing is staged where there is no secret

    def previous(self, name: str) -> Version | None:
        labels = self._require(name)
        return None if labels.previous is None else self._version(name, labels, labels.previous)

    def describe(self, name: str) -> Description:
        labels = self._require(name)
        created = {token: datetime.fromisoformat(version["created"]) for token, version in labels.versions.items()}
        return Description(name, labels.current, labels.pending, labels.previous, created)

    def delete(self, name: str) -> DeletionReceipt:
        labels = self._require(name)
        recoverable_until = self._delete(name, labels)
        return DeletionReceipt(name, tuple(labels.versions), datetime.now(UTC), recoverable_until)

    def _require(self, name: str) -> Labels:
        require_name(name)
        labels, _ = self._read_labels(name)
        if labels is None:
            raise SecretMissing(f"There is no secret {name}.")
        return labels

    def _version(self, name: str, labels: Labels, token: str) -> Version:
        _require_version(name, labels, token)
        return Version(token, self._get_value(name, token, labels.versions[token]["at"]))

    def _require_same(self, name: str, labels: Labels, token: str, value: Secret) -> None:
        if self._version(name, labels, token).value != value:
            raise TokenReused(f"{name}: the token {token} already stands for another value; take a new one.")

    def _change(self, name: str, change: Callable[[Labels], bool], *, make: bool = False) -> None:
        """Read, change, write if nobody was faster, else all of it again. `change` says whether there is a change."""
        require_name(name)
        for attempt in range(TRIES):
            labels, mark = self._read_labels(name)
            if labels is None and not make:
                raise SecretMissing(f"There is no secret {name}.")
            labels = labels or Labels()
            if not change(labels):
                return
            gone = {token: labels.versions.pop(token) for token in labels.unlabelled(_long_ago())}
            try:
                self._write_labels(name, labels, mark)
            except Changed:
                time.sleep(random.uniform(0, 0.01 * min(attempt + 1, 10)))  # noqa: S311 - only spreads the tries
                continue
            for token, version in gone.items():
                self._drop_value(name, token, version["at"])
            return
        raise VaultUnavailable(f"{name} is being written by others all the time; try again.")

    # -- what a backend adds

    @abstractmethod
    def _read_labels(self, name: str) -> tuple[Labels | None, Any]:
        """The document, or None where there is none, and the mark it was read with."""

    @abstractmethod
    def _write_labels(self, name: str, labels: Labels, mark: Any) -> None:
        """Exchange the document if it still has this mark, else `Changed`. Makes the secret where it is missing."""

    @abstractmethod
    def _put_value(self, name: str, token: str, value: Secret) -> str:
        """Store a value; returns where. Repeated after a crash; TokenReused if the token holds another value."""

    @abstractmethod
    def _get_value(self, name: str, token: str, where: str) -> Secret:
        """The value, or SecretMissing."""

    @abstractmethod
    def _drop_value(self, name: str, token: str, where: str) -> None:
        """Remove a value; gone already: done."""

    @abstractmethod
    def _delete(self, name: str, labels: Labels) -> datetime | None:
        """Delete everything, the document last. Returns until when it can be recovered."""


def _long_ago() -> datetime:
    return datetime.now(UTC) - KEEP_UNLABELLED


def _require_version(name: str, labels: Labels, token: str) -> None:
    if token not in labels.versions:
        raise SecretMissing(f"{name} has no version {token}.")
