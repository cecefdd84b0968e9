"""Uploaded files as they came, in Django's default storage under `<department id>/<random id>`.

Rules:
- The name a person gave a file is a label in the store's row and never part of a path.
- Everything here that touches the storage blocks; the asynchronous functions do it in a thread.
- A download is an event in the record, written before the first byte leaves.
- A storage that is away (a disk, a bucket) raises `StorageDown`, which is a StoreDown with a sentence of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.core.files.base import File
from django.core.files.storage import default_storage

from audit.events import Event
from audit.writer import arecord
from departments.documents.events import document_entry
from departments.documents.store import StoreDown, open_store
from departments.http import Person
from departments.models import Department

STORAGE_AWAY = "The place where files are kept does not answer right now. Try again in a minute; IT has been told."

logger = logging.getLogger(__name__)


class StorageDown(StoreDown):
    """Originals cannot be written or read now."""

    def __init__(self) -> None:
        super().__init__(STORAGE_AWAY)


@dataclass(frozen=True)
class Original:
    """An original, open for reading. `filename` is a label for the download; whoever gets this closes `file`."""

    file: File[bytes]
    filename: str
    bytes: int


async def open_original(
    department: Department, person: Person, version_id: UUID, *, address: str = ""
) -> Original | None:
    """The original of a version of this department, or None if there is no such version or its file is gone."""
    async with open_store(department) as store:
        version = await store.get_version(version_id)
    if version is None:
        return None
    try:
        file = await asyncio.to_thread(_open, version.original_key)
    except FileNotFoundError:
        return None
    await arecord(document_entry(Event.DOCUMENT_DOWNLOADED, department, version, person=person, address=address))
    return Original(file, version.filename, version.bytes)


def digest_of(content: File[Any]) -> str:
    """SHA-256 of a file's content, hex, read in pieces."""
    digest = hashlib.sha256()
    for piece in content.chunks():
        digest.update(piece)
    content.seek(0)
    return digest.hexdigest()


def save_original(department: Department, content: File[Any]) -> str:
    """Stores a file under a new random key, which is returned."""
    with _reaching_storage():
        return str(default_storage.save(f"{department.pk}/{uuid4()}", content))


@contextmanager
def local_copy(key: str) -> Iterator[Path]:
    """The original as a file on this machine, for as long as the block lasts. FileNotFoundError if it is gone."""
    with tempfile.NamedTemporaryFile(prefix="chatgrid-") as copy:
        with _reaching_storage(), default_storage.open(key, "rb") as original:
            for piece in original.chunks():
                copy.write(piece)
        copy.flush()
        yield Path(copy.name)


def delete_original(key: str) -> None:
    """Removes an original; one that is gone already is fine."""
    with _reaching_storage():
        default_storage.delete(key)


def delete_originals(department: Department) -> int:
    """Removes every original of a department and says how many there were."""
    try:
        _, names = default_storage.listdir(str(department.pk))
    except FileNotFoundError:
        return 0
    for name in names:
        default_storage.delete(f"{department.pk}/{name}")
    return len(names)


def _open(key: str) -> File[bytes]:
    """The original with its first bytes at hand: S3 says only then that there is none."""
    with _reaching_storage():
        file = default_storage.open(key, "rb")
        file.read(1)
        file.seek(0)
        return file


@contextmanager
def _reaching_storage() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        # every backend has errors of its own; the operator sees the trace, the person the sentence
        logger.exception("the storage of originals failed")
        raise StorageDown from error
