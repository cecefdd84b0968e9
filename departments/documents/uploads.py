"""A person's side of a file: it is taken or refused at once, read in the background (departments/documents/ingest.py).

Rules:
- The original is stored first, then its row is written: what a person was told is there, is there.
- The row is the outbox. Publishing the task only makes it quicker (departments/documents/publishing.py); the sweep
  finds every row (departments/documents/tasks.py).
- A file with the bytes of one that is there is not stored again, also where both come at the same moment.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from audit.database import DatabaseDown
from audit.events import Event
from audit.writer import arecord
from departments.documents.events import document_entry
from departments.documents.names import KEY_IN_NAME, clean_filename, clean_folder, holds_key
from departments.documents.originals import delete_original, digest_of, save_original
from departments.documents.publishing import publish_due
from departments.documents.quotas import no_room, room_of
from departments.documents.records import DocumentVersion, NewVersion
from departments.documents.rows import NoRoom, SameContent
from departments.documents.store import Store, StoreDown, open_store
from departments.http import Person
from departments.models import Department

TOO_LARGE = "This file is larger than {megabytes} MB. Split it or remove pictures and upload the parts."
EMPTY = "This file is empty. Check that it is the right one and upload it again."
NOTHING_TO_REPLACE = "The document that this file should replace is not there any more. Upload it as a new one."
CANCELLED = "Cancelled by {name} before it was read. Try again to have it read after all, or delete it."

logger = logging.getLogger(__name__)


class UploadRefused(Exception):
    """The file was not taken. `sentence` says why and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True)
class Upload:
    """What became of an uploaded file. A duplicate was not stored: `version` is the one that was there before."""

    version: DocumentVersion
    is_duplicate: bool


async def accept_upload(
    department: Department,
    person: Person,
    filename: str,
    content: UploadedFile[Any],
    *,
    address: str = "",
    replaces: UUID | None = None,
    folder: str = "",
) -> Upload:
    """Stores a file and has it read in the background. `replaces` is the document of which it is a new version.

    `folder` is where it stood among the files that came with it, a label like the name. Raises UploadRefused, StoreDown
    or DatabaseDown; then nothing was kept.
    """
    _require_size(content)
    place = clean_folder(folder), clean_filename(filename)
    if holds_key(*place):
        raise UploadRefused(KEY_IN_NAME)
    async with open_store(department) as store:
        digest = await asyncio.to_thread(digest_of, content)
        present = await store.find_content(digest)
        if present is not None and replaces in {None, present.document_id}:
            return Upload(present, is_duplicate=True)
        new = await _store_original(store, person, place, content, digest, replaces)
        try:
            version = await _add_row(store, new, person, address)
        except SameContent as twin:  # it came while the original was stored
            return Upload(twin.version, is_duplicate=True)
        await publish_due(store)
    return Upload(version, is_duplicate=False)


async def retry_document(department: Department, person: Person, document_id: UUID) -> bool:
    """Reads the newest version again if it failed or waits; False if there is nothing to try again."""
    async with open_store(department) as store:
        if await store.retry(document_id) is None:
            return False
        logger.info("document %s of department %s is tried again for person %s", document_id, department.pk, person.id)
        await publish_due(store)
    return True


async def cancel_document(department: Department, person: Person, document_id: UUID, *, address: str = "") -> bool:
    """Ends the reading of the newest version; False if it has ended already. An older version stays in use."""
    async with open_store(department) as store:
        version_id = await store.cancel(document_id, CANCELLED.format(name=person.name))
        version = await store.get_version(version_id) if version_id else None
        if version is None:
            return False
        await arecord(document_entry(Event.DOCUMENT_CANCELLED, department, version, person=person, address=address))
        await publish_due(store)
    return True


def _require_size(content: UploadedFile[Any]) -> None:
    if not content.size:
        raise UploadRefused(EMPTY)
    if content.size > settings.UPLOAD_BYTES:
        raise UploadRefused(TOO_LARGE.format(megabytes=settings.UPLOAD_BYTES // (1024 * 1024)))


async def _store_original(
    store: Store,
    person: Person,
    place: tuple[str, str],
    content: UploadedFile[Any],
    digest: str,
    replaces: UUID | None,
) -> NewVersion:
    folder, filename = place
    key = await asyncio.to_thread(save_original, store.department, content)
    return NewVersion(
        version_id=uuid4(),
        document_id=replaces,
        title=PurePosixPath(filename).stem or filename,
        filename=filename,
        original_key=key,
        sha256=digest,
        bytes=content.size or 0,
        uploader_id=person.id,
        uploader_name=person.name,
        folder=folder,
    )


async def _add_row(store: Store, new: NewVersion, person: Person, address: str) -> DocumentVersion:
    """The row and its event; without both the original goes too."""
    try:
        async with store.adding(new, room_of(store.department)) as version:
            if version is None:
                raise UploadRefused(NOTHING_TO_REPLACE)
            uploaded = Event.DOCUMENT_UPLOADED
            await arecord(document_entry(uploaded, store.department, version, person=person, address=address))
    except NoRoom:
        await asyncio.to_thread(delete_original, new.original_key)
        raise UploadRefused(await no_room(store)) from None
    except (SameContent, UploadRefused, StoreDown, DatabaseDown):
        await asyncio.to_thread(delete_original, new.original_key)
        raise
    return version
