"""Secrets in encrypted files of one folder: for a laptop and for tests, never for production.

Rules:
- One file per secret, AES-256-GCM per version; the secret's name and the version's id are the associated data, so that
  a value copied into another file or under another id does not open.
- The key is a file beside them, readable by its owner only. That protects a backup of the folder without the key, and
  nothing else: who can read both has everything. This is why production refuses this vault.
- A file is replaced whole: written beside, flushed to disk, renamed. A killed process leaves the old or the new one.
- Writers take turns by a lock the operating system frees when they die. Readers need none.
- Labels behave as on AWS, and so do versions that have lost them: kept for a day, then removed with the next write.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from departments.keys.secret import Secret
from departments.keys.vaults.base import (
    DeletionReceipt,
    Description,
    SecretMissing,
    StaleExpectation,
    TokenReused,
    VaultRefused,
    VaultUnavailable,
    Version,
    require_name,
    require_stageable,
)

LOCK_SECONDS = 5.0
KEEP_UNLABELLED = timedelta(hours=24)
_KEY_BYTES = 32
_NONCE_BYTES = 12
_LABELS = ("current", "pending", "previous")


@dataclass(slots=True)
class _Record:
    """What one file holds: labels point to ids, versions hold sealed values."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)


class LocalVault:
    """The vault in `folder`, made on first use. VaultRefused if the key file is gone, damaged or open to others."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._writing():
            self._cipher = AESGCM(_key_of(self._folder))

    def get_current(self, name: str) -> Version:
        record = self._read(name)
        if "current" not in record.labels:
            raise SecretMissing(f"{name} has no current version yet; stage one and promote it.")
        return self._open(record.labels["current"], record)

    def get_version(self, name: str, version_id: str) -> Version:
        return self._open(version_id, self._read(name))

    def stage(self, name: str, token: str, value: Secret) -> None:
        require_stageable(name, token, value)
        with self._writing():
            record = self._find(name) or _Record(name)
            if token in record.versions:
                self._require_same(record, token, value)
                if token in (record.labels.get("current"), record.labels.get("previous")):
                    return
            else:
                record.versions[token] = self._seal(name, token, value)
            record.labels["pending"] = token
            self._write(record)

    def promote(self, name: str, token: str, expected_current: str | None) -> None:
        with self._writing():
            record = self._read(name)
            current = record.labels.get("current")
            if current == token:
                return
            _require_version(record, token)
            if current != expected_current:
                raise StaleExpectation(f"{name}: {current} is current, not {expected_current}; describe it and decide.")
            if current is not None:
                record.labels["previous"] = current
            record.labels["current"] = token
            self._write(record)

    def drop_stage(self, name: str, token: str) -> None:
        with self._writing():
            record = self._find(name)
            if record is not None and record.labels.get("pending") == token:
                del record.labels["pending"]
                self._write(record)

    def previous(self, name: str) -> Version | None:
        record = self._read(name)
        version_id = record.labels.get("previous")
        return None if version_id is None else self._open(version_id, record)

    def describe(self, name: str) -> Description:
        record = self._read(name)
        current, pending, previous = (record.labels.get(label) for label in _LABELS)
        created = {version_id: _created(version) for version_id, version in record.versions.items()}
        return Description(name, current, pending, previous, created)

    def delete(self, name: str) -> DeletionReceipt:
        with self._writing():
            record = self._read(name)
            self._path(name).unlink()
            _flush_folder(self._folder)
        return DeletionReceipt(name, tuple(record.versions), datetime.now(UTC), recoverable_until=None)

    def _path(self, name: str) -> Path:
        require_name(name)
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()}.json"

    def _find(self, name: str) -> _Record | None:
        try:
            return _Record(**json.loads(self._path(name).read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise VaultUnavailable(f"{name} cannot be read from the vault folder: {error.strerror}.") from error
        except (ValueError, TypeError):
            raise VaultRefused(f"The file of {name} is damaged; restore the vault folder from a backup.") from None

    def _read(self, name: str) -> _Record:
        record = self._find(name)
        if record is None:
            raise SecretMissing(f"There is no secret {name}.")
        return record

    def _write(self, record: _Record) -> None:
        _forget_unlabelled(record)
        _replace(self._path(record.name), json.dumps(asdict(record)).encode())

    def _seal(self, name: str, version_id: str, value: Secret) -> dict[str, str]:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, value.reveal().encode(), _associated(name, version_id))
        return {"created": datetime.now(UTC).isoformat(), "nonce": _text(nonce), "sealed": _text(sealed)}

    def _open(self, version_id: str, record: _Record) -> Version:
        _require_version(record, version_id)
        version = record.versions[version_id]
        try:
            nonce, sealed = base64.b64decode(version["nonce"]), base64.b64decode(version["sealed"])
            value = self._cipher.decrypt(nonce, sealed, _associated(record.name, version_id))
        except (InvalidTag, KeyError, binascii.Error):
            raise VaultRefused(f"{record.name} does not open: wrong key file, or its file was changed.") from None
        return Version(version_id, Secret(value.decode()))

    def _require_same(self, record: _Record, token: str, value: Secret) -> None:
        if self._open(token, record).value != value:
            raise TokenReused(f"{record.name}: the token {token} already stands for another value; take a new one.")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock on the folder. A dead writer's lock is free, and what it left half written is removed."""
        try:
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _take(lock)
                for leftover in self._folder.glob("*.new"):
                    leftover.unlink()
                yield
            finally:
                os.close(lock)
        except OSError as error:
            raise VaultUnavailable(f"The vault folder cannot be written: {error.strerror}.") from error


def _take(lock: int) -> None:
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise VaultUnavailable(f"Another process holds the vault for more than {LOCK_SECONDS:g} s.") from None
            time.sleep(0.005)
        else:
            return


def _key_of(folder: Path) -> bytes:
    path = folder / "key"
    if not path.exists():
        _make_key(folder, path)
    # Checked on the open file, so that it cannot be exchanged between the check and the reading.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise VaultRefused("Others can read the vault's key file. Run chmod 600 on it and rotate what it protects.")
        key = file.read()
    if len(key) != _KEY_BYTES:
        raise VaultRefused(f"The vault's key file does not have {_KEY_BYTES} bytes; restore it from a backup.")
    return key


def _make_key(folder: Path, path: Path) -> None:
    if any(folder.glob("*.json")):
        raise VaultRefused("The vault's key file is gone while secrets are there; restore it from a backup.")
    _replace(path, secrets.token_bytes(_KEY_BYTES))


def _replace(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_version(record: _Record, version_id: str) -> None:
    if version_id not in record.versions:
        raise SecretMissing(f"{record.name} has no version {version_id}.")


def _forget_unlabelled(record: _Record) -> None:
    end = datetime.now(UTC) - KEEP_UNLABELLED
    labelled = set(record.labels.values())
    for version_id in record.versions.keys() - labelled:
        if _created(record.versions[version_id]) < end:
            del record.versions[version_id]


def _created(version: dict[str, str]) -> datetime:
    return datetime.fromisoformat(version["created"])


def _associated(name: str, version_id: str) -> bytes:
    # Neither part can hold a NUL, so the pair reads in one way only.
    return f"{name}\0{version_id}".encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
