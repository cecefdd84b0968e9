"""From an uploaded file to passages that can be searched.

Rules:
- The original is stored first, then its row is written: what a person was told is there, is there.
- The row is the outbox. Publishing the task only makes it quicker: a broker that is away costs an upload at most
  `PUBLISH_SECONDS`, and the sweep finds the row (departments/documents/tasks.py).
- A worker claims a version by a conditional update and keeps the claim by a heartbeat; a worker that dies stops
  renewing, and after the lease the version is taken up again, at most `MOST_ATTEMPTS` times.
- Vectors are kept batch by batch as drafts, so an attempt that was broken off is not paid for twice.
- All passages of a version become searchable in one transaction, in which those of the older version leave.
- Every end is a state with a sentence: a document fails for what is in it, and waits for what is around it (a budget,
  the provider, a key).
- What happened is in the record before it is true in the store: a crash between the two may record it twice, never not.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone
from kombu.exceptions import OperationalError

from audit.database import DatabaseDown
from audit.events import Event
from audit.writer import arecord
from departments.calls.caller import CallEndedEarly, Caller, Purpose
from departments.calls.embeddings import embed
from departments.documents.chunks import Passage, chunk, embedded_text
from departments.documents.events import document_entry
from departments.documents.extract import Extracted, ExtractionFailed, Reason, extract
from departments.documents.held import SCANNED, hold, must_wait
from departments.documents.originals import delete_original, digest_of, local_copy, save_original
from departments.documents.records import Claim, DocumentVersion, Draft, NewVersion
from departments.documents.store import LEASE_SECONDS, ClaimLost, Store, StoreDown, open_store
from departments.http import Person
from departments.models import Department
from departments.prompts.scanner import scan_thoroughly

HEARTBEAT_SECONDS = LEASE_SECONDS / 4
PUBLISH_SECONDS = 1.0
BROKER_PAUSE_SECONDS = 5.0
EMBED_AT_ONCE = 128  # passages; what a crash may cost
LONGEST_WAIT = timedelta(minutes=15)  # a budget that was raised is noticed after this at the latest
LONGEST_NAME = 200

TOO_LARGE = "This file is larger than {megabytes} MB. Split it or remove pictures and upload the parts."
EMPTY = "This file is empty. Check that it is the right one and upload it again."
NOTHING_TO_REPLACE = "The document that this file should replace is not there any more. Upload it as a new one."
ORIGINAL_GONE = "The stored file is missing. Upload it again; tell IT if it happens twice."
UNEXPECTED = "Something went wrong while this file was read. Try again; if it stays so, tell IT."
KILLS_WORKERS = "Reading this file ended the reader three times. Save it in a simpler form and upload it again."

logger = logging.getLogger(__name__)
_broker_away_until = 0.0


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


@dataclass(frozen=True)
class Text:
    """What a file says: as it was read, cut into passages, and what was odd about it."""

    extracted: Extracted
    title: str
    passages: list[Passage]
    labels: list[str]


# -- a person's side


async def accept_upload(
    department: Department,
    person: Person,
    filename: str,
    content: UploadedFile[Any],
    *,
    address: str = "",
    replaces: UUID | None = None,
) -> Upload:
    """Stores a file and has it read in the background. `replaces` is the document of which it is a new version.

    Raises UploadRefused, StoreDown or DatabaseDown; then nothing was kept.
    """
    _require_size(content)
    async with open_store(department) as store:
        digest = await asyncio.to_thread(digest_of, content)
        present = await store.find_content(digest)
        if present is not None and replaces in {None, present.document_id}:
            return Upload(present, is_duplicate=True)
        new = await _store_original(store, person, clean_filename(filename), content, digest, replaces)
        version = await _add_row(store, new, person, address)
    await publish_task(department, version.id)
    return Upload(version, is_duplicate=False)


async def retry_document(department: Department, person: Person, document_id: UUID) -> bool:
    """Reads the newest version again if it failed or waits; False if there is nothing to try again."""
    async with open_store(department) as store:
        version_id = await store.retry(document_id)
    if version_id is None:
        return False
    logger.info("document %s of department %s is tried again for person %s", document_id, department.pk, person.id)
    await publish_task(department, version_id)
    return True


def clean_filename(name: str) -> str:
    """A name fit to be shown: the last part of any path, without control characters, at most `LONGEST_NAME` long.

    It never becomes part of a path of ours.
    """
    last = PurePosixPath(name.replace("\\", "/")).name
    shown = "".join(character for character in last if unicodedata.category(character)[0] != "C").strip()
    stem, dot, extension = shown.rpartition(".")
    if len(shown) > LONGEST_NAME and dot and len(extension) < 10:
        shown = f"{stem[: LONGEST_NAME - len(extension) - 1]}.{extension}"
    return shown[:LONGEST_NAME] or "document"


async def publish_task(department: Department, version_id: UUID) -> None:
    """Tells the workers, if that can be done at once."""
    global _broker_away_until
    if time.monotonic() < _broker_away_until:
        return
    try:
        await asyncio.wait_for(asyncio.to_thread(_publish, str(department.pk), str(version_id)), PUBLISH_SECONDS)
    except (OSError, TimeoutError, OperationalError) as error:
        _broker_away_until = time.monotonic() + BROKER_PAUSE_SECONDS
        logger.warning("the broker takes no tasks (%r); the sweep will find document version %s", error, version_id)


def _publish(department_id: str, version_id: str) -> None:
    from departments.documents import tasks

    tasks.ingest.apply_async((department_id, version_id), retry=False)


def _require_size(content: UploadedFile[Any]) -> None:
    if not content.size:
        raise UploadRefused(EMPTY)
    if content.size > settings.UPLOAD_BYTES:
        raise UploadRefused(TOO_LARGE.format(megabytes=settings.UPLOAD_BYTES // (1024 * 1024)))


async def _store_original(
    store: Store, person: Person, filename: str, content: UploadedFile[Any], digest: str, replaces: UUID | None
) -> NewVersion:
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
    )


async def _add_row(store: Store, new: NewVersion, person: Person, address: str) -> DocumentVersion:
    """The row and its event; without both the original goes too."""
    try:
        async with store.adding(new) as version:
            if version is None:
                raise UploadRefused(NOTHING_TO_REPLACE)
            uploaded = Event.DOCUMENT_UPLOADED
            await arecord(document_entry(uploaded, store.department, version, person=person, address=address))
    except (UploadRefused, StoreDown, DatabaseDown):
        await asyncio.to_thread(delete_original, new.original_key)
        raise
    return version


# -- a worker's side


async def ingest_version(department: Department, version_id: UUID) -> None:
    """Reads one version to its end, if it is there to be read.

    Raises StoreDown or DatabaseDown; the sweep comes again.
    """
    async with open_store(department) as store:
        claim = await store.claim(version_id)
        if claim is None:
            return
        try:
            async with _heartbeat(store, claim):
                await _work(store, claim)
        except ClaimLost:
            logger.info("document version %s was taken over or deleted", version_id)


async def _work(store: Store, claim: Claim) -> None:
    try:
        text = await _read(store, claim)
        if reasons := await must_wait(store, claim, text.labels):
            await hold(store, claim, text.extracted, text.title, text.labels, reasons)
            return
        await _embed(store, claim, text)
        await _publish_passages(store, claim, len(text.passages), text.labels)
    except ExtractionFailed as failure:
        await _fail(store, claim, failure.sentence, failure.reason)
    except FileNotFoundError:
        await _fail(store, claim, ORIGINAL_GONE, "original_missing")
    except CallEndedEarly as reason:
        await store.postpone(claim, reason.sentence, _later(claim, reason.retry_at))
    except (ClaimLost, StoreDown, DatabaseDown):
        raise
    except Exception:
        # the operator sees the trace, the person a sentence; left alone it would be tried without end
        logger.exception("document version %s of department %s", claim.version.id, store.department.pk)
        await _fail(store, claim, UNEXPECTED, "unexpected")


async def _publish_passages(store: Store, claim: Claim, passages: int, labels: list[str]) -> None:
    async with store.publishing(claim, passages):
        known = {"passages": passages, "labels": labels}
        await arecord(document_entry(Event.DOCUMENT_LIVE, store.department, claim.version, details=known))
    await store.build_index()


async def _read(store: Store, claim: Claim) -> Text:
    """The file's text in passages, and what was odd about it. Raises ExtractionFailed."""
    extracted = await asyncio.to_thread(_extract, claim.version)
    title = (extracted.title or "").strip()[:LONGEST_NAME] or claim.version.title
    passages = await asyncio.to_thread(chunk, extracted)
    if not passages:
        raise ExtractionFailed(Reason.EMPTY)
    labels = [*_labels(extracted), *await asyncio.to_thread(_scanned, extracted)]
    return Text(extracted, title, passages, labels)


async def _embed(store: Store, claim: Claim, text: Text) -> None:
    """Everything else before publication: the passages with their vectors, as drafts."""
    await store.start_embedding(
        claim,
        kind=text.extracted.kind,
        title=text.title,
        pages=text.extracted.pages,
        labels=text.labels,
        model=settings.EMBEDDING_MODEL,
        dimensions=settings.EMBEDDING_DIMENSIONS,
    )
    missing = await _missing(store, claim, text.title, text.passages)
    for at in range(0, len(missing), EMBED_AT_ONCE):
        await _embed_some(store, claim, text.title, missing[at : at + EMBED_AT_ONCE])


def _extract(version: DocumentVersion) -> Extracted:
    with local_copy(version.original_key) as path:
        return extract(path, version.filename)


def _labels(extracted: Extracted) -> list[str]:
    """What reading left out or found odd, for the document's page."""
    removed = [f"removed: {name} ({count})" for name, count in extracted.removed.items()]
    return [*extracted.warnings, *removed, *extracted.flags]


def _scanned(extracted: Extracted) -> list[str]:
    """What in the text reads like orders to the model. It is a label for those who read the page, and stops nothing."""
    text = "\n".join(block.text for block in extracted.blocks)
    return [f"{SCANNED}{label}" for label in scan_thoroughly(text)]


async def _missing(store: Store, claim: Claim, title: str, passages: list[Passage]) -> list[Passage]:
    """The passages without a draft of an earlier attempt; drafts that no longer fit are dropped."""
    kept = await store.kept_drafts(claim)
    digests = {passage.ordinal: _digest(embedded_text(passage, title)) for passage in passages}
    stale = [ordinal for ordinal, digest in kept.items() if digests.get(ordinal) != digest]
    if stale:
        await store.drop_drafts(claim, stale)
    fitting = kept.keys() - set(stale)
    return [passage for passage in passages if passage.ordinal not in fitting]


async def _embed_some(store: Store, claim: Claim, title: str, passages: list[Passage]) -> None:
    texts = [embedded_text(passage, title) for passage in passages]
    caller = Caller(claim.version.uploader_id, claim.version.uploader_name)
    vectors = await embed(store.department, caller, texts, purpose=Purpose.INGEST)
    drafts = [make_draft(*row) for row in zip(passages, texts, vectors, strict=True)]
    await store.save_drafts(claim, drafts)


def make_draft(passage: Passage, text: str, vector: list[float]) -> Draft:
    """A passage ready to be kept; `text` is what was embedded: its place in the document, then the passage."""
    return Draft(
        ordinal=passage.ordinal,
        digest=_digest(text),
        context=text.removesuffix(passage.text).strip(),
        text=passage.text,
        heading_path=list(passage.heading_path),
        locator=passage.locator.to_json(),
        tokens=passage.tokens,
        embedding=vector,
    )


def _digest(text: str) -> str:
    """What a vector depends on."""
    about = f"{settings.EMBEDDING_MODEL}\n{settings.EMBEDDING_DIMENSIONS}\n{text}"
    return hashlib.sha256(about.encode("utf-8", "replace")).hexdigest()


async def _fail(store: Store, claim: Claim, sentence: str, reason: str) -> None:
    await record_failure(store.department, claim.version, reason)
    await store.fail(claim, sentence)


async def record_failure(department: Department, version: DocumentVersion, reason: str) -> None:
    """Writes down that a version could not be read."""
    await arecord(document_entry(Event.DOCUMENT_FAILED, department, version, details={"reason": str(reason)}))


def _later(claim: Claim, retry_at: datetime | None) -> datetime:
    """When to try again: when the reason says so, sooner rather than later, and ever more patiently."""
    pause = min(timedelta(seconds=15) * 2 ** min(claim.version.postponed, 10), LONGEST_WAIT)
    at = timezone.now() + pause
    return min(max(retry_at, timezone.now()), timezone.now() + LONGEST_WAIT) if retry_at else at


@asynccontextmanager
async def _heartbeat(store: Store, claim: Claim) -> AsyncIterator[None]:
    """Renews the claim for as long as the block runs."""
    beating = asyncio.create_task(_renew_forever(store, claim))
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def _renew_forever(store: Store, claim: Claim) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        try:
            await store.renew(claim)
        except StoreDown:
            logger.warning("the claim on document version %s could not be renewed", claim.version.id)
        except ClaimLost:
            return  # the next step of the work finds out by itself
