"""A worker's side of a file: from the row that an upload left (departments/documents/uploads.py) to passages.

Rules:
- A worker claims a version by a conditional update and keeps the claim by a heartbeat; a worker that dies stops
  renewing, and after the lease the version is taken up again, at most `MOST_ATTEMPTS` times.
- Vectors are kept batch by batch as drafts, so an attempt that was broken off is not paid for twice.
- All passages of a version become searchable in one transaction, in which those of the older version leave.
- With a malware scanner, nothing of a file is read before it has passed (departments/documents/malware.py).
- Every end is a state with a sentence: a document fails for what is in it, and waits for what is around it (a budget,
  the provider, a key).
- What happened is in the record before it is true in the store: a crash between the two may record it twice, never not.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from audit.database import DatabaseDown
from audit.events import Event
from audit.writer import arecord
from departments.calls.caller import CallEndedEarly, Caller, Purpose
from departments.calls.embeddings import Spent, embed
from departments.documents.chunks import Passage, chunk, embedded_text
from departments.documents.claims import give_back, heartbeat
from departments.documents.events import document_entry
from departments.documents.extract import Extracted, ExtractionFailed, Reason, extract
from departments.documents.held import SCANNED, hold, must_wait
from departments.documents.malware import AWAY, REFUSED, Infected, ScannerAway, pass_scanner
from departments.documents.names import LONGEST_NAME
from departments.documents.originals import local_copy
from departments.documents.publishing import publish_due
from departments.documents.records import Claim, DocumentVersion, Draft, Recipe
from departments.documents.store import ClaimLost, Store, StoreDown, open_store
from departments.models import Department
from departments.prompts.scanner import scan_thoroughly

EMBED_AT_ONCE = 128  # passages; what a crash may cost
LONGEST_WAIT = timedelta(minutes=15)  # a budget that was raised is noticed after this at the latest

ORIGINAL_GONE = "The stored file is missing. Upload it again; tell IT if it happens twice."
UNEXPECTED = "Something went wrong while this file was read. Try again; if it stays so, tell IT."
KILLS_WORKERS = "Reading this file ended the reader three times. Save it in a simpler form and upload it again."

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Text:
    """What a file says: as it was read, cut into passages, and what was odd about it."""

    extracted: Extracted
    title: str
    passages: list[Passage]
    labels: list[str]


async def ingest_version(department: Department, version_id: UUID) -> None:
    """Reads one version to its end, if it is there to be read.

    Raises StoreDown or DatabaseDown; the sweep comes again.
    """
    async with open_store(department) as store:
        claim = await store.claim(version_id)
        if claim is not None:
            await _work_while_claimed(store, claim)
        await publish_due(store)


async def _work_while_claimed(store: Store, claim: Claim) -> None:
    try:
        async with heartbeat(store, claim):
            await _work(store, claim)
    except ClaimLost:
        logger.info("document version %s was taken over, cancelled or deleted", claim.version.id)
    except StoreDown:
        await give_back(store, claim)
        raise


async def _work(store: Store, claim: Claim) -> None:
    try:
        await pass_scanner(store, claim)
        recipe = await store.recipe()
        text = await _read(store, claim, recipe)
        if reasons := await must_wait(store, claim, text.labels):
            await hold(store, claim, text.extracted, text.title, text.labels, reasons)
            return
        await _embed(store, claim, text, recipe)
        await _publish_passages(store, claim, len(text.passages), text.labels)
    except ExtractionFailed as failure:
        await _fail(store, claim, failure.sentence, failure.reason)
    except FileNotFoundError:
        await _fail(store, claim, ORIGINAL_GONE, "original_missing")
    except Infected as refused:
        await store.fail(claim, refused.sentence)
    except ScannerAway:
        await _without_scanner(store, claim)
    except CallEndedEarly as reason:
        await store.postpone(claim, reason.sentence, _later(claim, reason.retry_at))
    except (ClaimLost, StoreDown, DatabaseDown):
        raise
    except Exception:
        # the operator sees the trace, the person a sentence; left alone it would be tried without end
        logger.exception("document version %s of department %s", claim.version.id, store.department.pk)
        await _fail(store, claim, UNEXPECTED, "unexpected")


async def _without_scanner(store: Store, claim: Claim) -> None:
    if settings.MALWARE_AWAY == "fail":
        await _fail(store, claim, REFUSED, "scanner_away")
    else:
        await store.postpone(claim, AWAY, _later(claim, None))


async def _publish_passages(store: Store, claim: Claim, passages: int, labels: list[str]) -> None:
    async with store.publishing(claim, passages):
        known = {"passages": passages, "labels": labels}
        await arecord(document_entry(Event.DOCUMENT_LIVE, store.department, claim.version, details=known))
    await store.build_index()


async def _read(store: Store, claim: Claim, recipe: Recipe) -> Text:
    """The file's text in passages, and what was odd about it. Raises ExtractionFailed."""
    extracted = await asyncio.to_thread(_extract, claim.version)
    title = (extracted.title or "").strip()[:LONGEST_NAME] or claim.version.title
    passages = await asyncio.to_thread(passages_of, extracted, recipe)
    if not passages:
        raise ExtractionFailed(Reason.EMPTY)
    labels = [*_labels(extracted), *await asyncio.to_thread(_scanned, extracted)]
    return Text(extracted, title, passages, labels)


def passages_of(extracted: Extracted, recipe: Recipe) -> list[Passage]:
    """A text cut as the recipe says; a passage that is cut overlaps the next by a tenth."""
    return chunk(extracted, max_tokens=recipe.passage_tokens, overlap_tokens=recipe.passage_tokens // 10)


async def _embed(store: Store, claim: Claim, text: Text, recipe: Recipe) -> None:
    """Everything else before publication: the passages with their vectors, as drafts."""
    await store.start_embedding(
        claim,
        kind=text.extracted.kind,
        title=text.title,
        pages=text.extracted.pages,
        labels=text.labels,
        model=recipe.model,
        dimensions=recipe.dimensions,
        foreseen=len(text.passages),
    )
    missing = await _missing(store, claim, text, recipe)
    for at in range(0, len(missing), EMBED_AT_ONCE):
        some = missing[at : at + EMBED_AT_ONCE]
        embedded = len(text.passages) - len(missing) + at + len(some)
        await _embed_some(store, claim, text.title, some, recipe, embedded=embedded)


def _extract(version: DocumentVersion) -> Extracted:
    with local_copy(version.original_key) as path:
        return extract(path, version.filename, ocr_languages=settings.OCR_LANGUAGES)


def _labels(extracted: Extracted) -> list[str]:
    """What reading left out or found odd, for the document's page."""
    removed = [f"removed: {name} ({count})" for name, count in extracted.removed.items()]
    return [*extracted.warnings, *removed, *extracted.flags]


def _scanned(extracted: Extracted) -> list[str]:
    """What in the text reads like orders to the model. It is a label for those who read the page, and stops nothing."""
    text = "\n".join(block.text for block in extracted.blocks)
    return [f"{SCANNED}{label}" for label in scan_thoroughly(text)]


async def _missing(store: Store, claim: Claim, text: Text, recipe: Recipe) -> list[Passage]:
    """The passages without a draft of an earlier attempt; drafts that no longer fit are dropped."""
    kept = await store.kept_drafts(claim)
    digests = {passage.ordinal: _digest(embedded_text(passage, text.title), recipe) for passage in text.passages}
    stale = [ordinal for ordinal, digest in kept.items() if digests.get(ordinal) != digest]
    if stale:
        await store.drop_drafts(claim, stale)
    fitting = kept.keys() - set(stale)
    return [passage for passage in text.passages if passage.ordinal not in fitting]


async def _embed_some(
    store: Store, claim: Claim, title: str, passages: list[Passage], recipe: Recipe, *, embedded: int
) -> None:
    texts = [embedded_text(passage, title) for passage in passages]
    caller = Caller(claim.version.uploader_id, claim.version.uploader_name)
    spent, model, size = Spent(), recipe.model, recipe.dimensions
    vectors = await embed(
        store.department, caller, texts, purpose=Purpose.INGEST, model=model, dimensions=size, spent=spent
    )
    drafts = [make_draft(*row, recipe) for row in zip(passages, texts, vectors, strict=True)]
    await store.save_drafts(claim, drafts, embedded=embedded, cost=spent.dollars)


def make_draft(passage: Passage, text: str, vector: list[float], recipe: Recipe) -> Draft:
    """A passage ready to be kept; `text` is what was embedded: its place in the document, then the passage."""
    return Draft(
        ordinal=passage.ordinal,
        digest=_digest(text, recipe),
        context=text.removesuffix(passage.text).strip(),
        text=passage.text,
        heading_path=list(passage.heading_path),
        locator=passage.locator.to_json(),
        tokens=passage.tokens,
        embedding=vector,
    )


def _digest(text: str, recipe: Recipe) -> str:
    """What a vector depends on."""
    about = f"{recipe.model}\n{recipe.dimensions}\n{text}"
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
