"""Re-embedding beside the running search: another model or passage length, compared, switched to at once, undone.

A generation is all searched documents cut and embedded in one way (schema/0005_generations.sql). A shadow is:

- building: documents are read from their originals, cut and embedded, one transaction a document. A worker claims the
  shadow by a lease and renews it with each document; after one that dies the next sweep goes on with the documents that
  are missing. A budget or the provider in the way makes it wait until `retry_at`.
- ready: complete, with its own indexes. It can be compared by asking the golden questions of both.
- The switch renames tables in one transaction, while nothing is published. What came meanwhile is prepared first, so
  a document is never missing on the other side. What was searched before is kept until the next re-embedding begins.
- Undo makes the kept generation the shadow again; where nothing has changed since, it is ready at once.
- Each act of a person is an event, in the record before it is true in the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.utils import timezone
from pgvector import HalfVector
from psycopg.types.json import Jsonb

from audit.events import Event
from audit.writer import arecord
from departments.calls.caller import CallEndedEarly, Caller, Purpose
from departments.calls.embeddings import embed
from departments.documents.chunks import Passage, chunk, embedded_text
from departments.documents.events import search_entry
from departments.documents.extract import ExtractionFailed, extract
from departments.documents.originals import local_copy
from departments.documents.publishing import tell
from departments.documents.records import Recipe
from departments.documents.store import INDEX_FROM, Store

LEASE_SECONDS = 120
AT_ONCE = 128  # passages of one call
LONGEST_TITLE = 200
PAUSE = timedelta(minutes=1)
SHORTEST, LONGEST = 50, 2_000  # tokens of a passage
LEAST_DIMENSIONS, MOST_DIMENSIONS = 64, 4_000  # what a half-precision vector index can hold

UNREADABLE = "“{title}” could not be read again: {sentence} Delete it or add a readable version, then it goes on."
BUSY = "A re-embedding is under way. Wait until it is ready, switch to it, or give it up first."
NOTHING_KEPT = "There is nothing to go back to: the passages before the last switch are kept until a new one begins."
NOT_READY = "It is not ready: documents that came meanwhile are read first. Look again in a minute."

TASK = "departments.documents.tasks.rebuild"

_STATE = "SELECT * FROM shadow"
_SHADOW_RECIPE = "SELECT generation, model, dimensions, passage_tokens, passages FROM corpus_shadow"
_KEPT_RECIPE = "SELECT generation, model, dimensions, passage_tokens, passages FROM corpus_kept"
_PROGRESS = """
    SELECT
        count(*) AS documents,
        count(*) FILTER (WHERE EXISTS (
            SELECT FROM passage_shadow WHERE version_id = to_prepare.id AND searchable
        )) AS done
    FROM to_prepare
"""
_MISSING = """
    SELECT * FROM to_prepare
    WHERE NOT EXISTS (SELECT FROM passage_shadow WHERE version_id = to_prepare.id AND searchable)
    ORDER BY id LIMIT 1
"""
_BEGIN = "INSERT INTO shadow (generation, state, person_id, person_name) VALUES (%s, 'building', %s, %s)"
_CLAIM = """
    UPDATE shadow SET claimed_by = %(claim)s, lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    WHERE state = 'building' AND (lease_until IS NULL OR lease_until < clock_timestamp() OR claimed_by = %(claim)s)
        AND (retry_at IS NULL OR retry_at <= clock_timestamp())
    RETURNING *
"""
_WAIT = """
    UPDATE shadow SET sentence = %s, retry_at = %s, claimed_by = NULL, lease_until = NULL WHERE claimed_by = %s
"""
_READY = """
    UPDATE shadow SET
        state = 'ready', sentence = '', retry_at = NULL, finished_at = clock_timestamp(), claimed_by = NULL,
        lease_until = NULL
    WHERE claimed_by = %s
"""
_REOPEN = "UPDATE shadow SET state = 'building', finished_at = NULL"
_DROP = """
    DELETE FROM shadow;
    DROP TABLE IF EXISTS passage_shadow, lexeme_shadow, corpus_shadow;
"""
_IS_DUE = """
    SELECT FROM shadow
    WHERE state = 'building' AND (lease_until IS NULL OR lease_until < clock_timestamp())
        AND (retry_at IS NULL OR retry_at <= clock_timestamp())
"""
_LOCK = "SELECT FROM shadow WHERE claimed_by = %s FOR UPDATE"
_COPY = """
    COPY passage_shadow (
        version_id, generation, ordinal, context, text, heading_path, locator, tokens, searchable, embedding
    ) FROM STDIN
"""
_WEIGH = """
    UPDATE passage_shadow SET weights = bm25_weights(lexemes, (SELECT average FROM corpus_shadow))
    WHERE version_id = %s AND searchable
"""
_HAS_WORD_INDEX = """
    SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
    WHERE indrelid = 'passage_shadow'::regclass AND amname = 'gin'
"""
_WORD_INDEX = "CREATE INDEX ON passage_shadow USING gin (lexemes) WHERE searchable"
_VECTOR_INDEX = "CREATE INDEX ON passage_shadow USING hnsw (embedding halfvec_ip_ops) WHERE searchable"
_PATIENCE = "SET LOCAL statement_timeout = '30min'; SET LOCAL maintenance_work_mem = '256MB'"


class NotNow(Exception):
    """It cannot be done in this state. `sentence` is for the person."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True)
class Shadow:
    """A re-embedding under way: what it will be, and how far it is. `sentence` says what it waits for."""

    recipe: Recipe
    state: str
    sentence: str
    retry_at: datetime | None
    person_id: UUID
    person_name: str
    started_at: datetime
    documents: int
    done: int

    @property
    def is_ready(self) -> bool:
        return self.state == "ready"


# -- what a person does


async def start(store: Store, caller: Caller, wanted: Recipe) -> None:
    """Begins a re-embedding; workers do it. Raises NotNow if one is under way."""
    details = {"model": wanted.model, "dimensions": wanted.dimensions, "passage_tokens": wanted.passage_tokens}
    async with store.connection() as held, held.transaction():
        await held.execute("SELECT pg_advisory_xact_lock(hashtext('shadow'))")
        if await (await held.execute(_STATE)).fetchone():
            raise NotNow(BUSY)
        asked = [wanted.model, wanted.dimensions, wanted.passage_tokens]
        row = await (await held.execute("SELECT open_shadow(%s, %s, %s) AS opened", asked)).fetchone()
        await held.execute(_BEGIN, [row["opened"] if row else 0, caller.person_id, caller.person_name])
        await arecord(search_entry(Event.SEARCH_REBUILD_STARTED, store.department, caller, details))
    await tell(TASK, store.department)


async def switch(store: Store, caller: Caller) -> None:
    """Makes the shadow what is searched. Raises NotNow where it is not complete; then it goes on being built."""
    if await _switch(store, caller, Event.SEARCH_SWITCHED):
        return
    async with store.connection() as held:
        await held.execute(_REOPEN)
    await tell(TASK, store.department)
    raise NotNow(NOT_READY)


async def undo(store: Store, caller: Caller) -> bool:
    """Goes back to what was searched before the last switch; False if it must be brought up to date first.

    Then it stands as a shadow, and `switch` ends it. Raises NotNow if nothing is kept, or a re-embedding is under way.
    """
    async with store.connection() as held, held.transaction():
        await held.execute("SELECT pg_advisory_xact_lock(hashtext('shadow'))")
        if await (await held.execute(_STATE)).fetchone():
            raise NotNow(BUSY)
        row = await (await held.execute("SELECT open_kept() AS opened")).fetchone()
        if row is None or row["opened"] is None:
            raise NotNow(NOTHING_KEPT)
        await held.execute(_BEGIN, [row["opened"], caller.person_id, caller.person_name])
    if await _switch(store, caller, Event.SEARCH_SWITCHED_BACK):
        return True
    await tell(TASK, store.department)
    return False


async def give_up(store: Store, caller: Caller) -> bool:
    """Forgets the shadow; False if there is none."""
    async with store.connection() as held, held.transaction():
        await held.execute("SELECT pg_advisory_xact_lock(hashtext('shadow'))")
        if await (await held.execute(_STATE)).fetchone() is None:
            return False
        await arecord(search_entry(Event.SEARCH_REBUILD_GIVEN_UP, store.department, caller, {}))
        await held.execute(_DROP)
    return True


async def shadow_of(store: Store) -> Shadow | None:
    """The re-embedding under way, if there is one."""
    async with store.connection() as held, held.transaction():
        state = await (await held.execute(_STATE)).fetchone()
        if state is None:
            return None
        recipe = await (await held.execute(_SHADOW_RECIPE)).fetchone()
        progress = await (await held.execute(_PROGRESS)).fetchone()
    known = {name: state[name] for name in ("state", "sentence", "retry_at", "person_id", "person_name", "started_at")}
    return Shadow(recipe=Recipe(**(recipe or {})), **known, **(progress or {}))


async def kept_of(store: Store) -> Recipe | None:
    """What an undo would go back to."""
    async with store.connection() as held, held.transaction():
        there = await (await held.execute("SELECT to_regclass('corpus_kept') IS NOT NULL AS there")).fetchone()
        if not there or not there["there"]:
            return None
        row = await (await held.execute(_KEPT_RECIPE)).fetchone()
    return Recipe(**row) if row else None


async def _switch(store: Store, caller: Caller, event: Event) -> bool:
    async with store.connection() as held, held.transaction():
        await held.execute(_PATIENCE)
        await held.execute("SELECT pg_advisory_xact_lock(hashtext('shadow'))")
        if await (await held.execute(_STATE)).fetchone() is None:
            raise NotNow(NOT_READY)
        row = await (await held.execute("SELECT switch_to_shadow() AS switched")).fetchone()
        if not row or not row["switched"]:
            return False
        recipe = await (await held.execute("SELECT * FROM corpus")).fetchone() or {}
        about = {name: recipe[name] for name in ("generation", "model", "dimensions", "passage_tokens", "passages")}
        await arecord(search_entry(event, store.department, caller, about))
    return True


# -- what a worker does


async def is_due(store: Store) -> bool:
    """Whether a worker should go on with the shadow."""
    async with store.connection() as held:
        return await (await held.execute(_IS_DUE)).fetchone() is not None


async def build(store: Store) -> bool:
    """Prepares what is missing until the shadow is ready; False if there was nothing to do or it has to wait."""
    claim = uuid4()
    while state := await _claim(store, claim):
        missing = await _missing(store)
        if missing is None:
            await _finish(store, claim)
            return True
        try:
            await _prepare(store, claim, missing, Caller(state["person_id"], state["person_name"]))
        except CallEndedEarly as reason:
            await _wait(store, claim, reason.sentence, reason.retry_at)
            return False
        except (ExtractionFailed, FileNotFoundError) as failure:
            sentence = getattr(failure, "sentence", "its file is missing.")
            await _wait(store, claim, UNREADABLE.format(title=missing["title"], sentence=sentence), None)
            return False
    return False


async def _claim(store: Store, claim: UUID) -> dict[str, Any] | None:
    async with store.connection() as held:
        return await (await held.execute(_CLAIM, {"claim": claim, "lease": LEASE_SECONDS})).fetchone()


async def _missing(store: Store) -> dict[str, Any] | None:
    async with store.connection() as held:
        return await (await held.execute(_MISSING)).fetchone()


async def _wait(store: Store, claim: UUID, sentence: str, retry_at: datetime | None) -> None:
    until = max(retry_at or timezone.now(), timezone.now() + PAUSE)
    async with store.connection() as held:
        await held.execute(_WAIT, [sentence, until, claim])


async def _prepare(store: Store, claim: UUID, version: dict[str, Any], caller: Caller) -> None:
    """One document, from its original to its passages in the shadow."""
    async with store.connection() as held:
        row = await (await held.execute(_SHADOW_RECIPE)).fetchone()
    recipe = Recipe(**(row or {}))
    passages, title = await asyncio.to_thread(_read, version, recipe)
    vectors: list[list[float]] = []
    for at in range(0, len(passages), AT_ONCE):
        texts = [embedded_text(passage, title) for passage in passages[at : at + AT_ONCE]]
        vectors += await embed(
            store.department, caller, texts, purpose=Purpose.INGEST, model=recipe.model, dimensions=recipe.dimensions
        )
        await _claim(store, claim)  # a long document takes longer than a lease
    await _keep(store, claim, version["id"], recipe, list(zip(passages, vectors, strict=True)), title)


def _read(version: dict[str, Any], recipe: Recipe) -> tuple[list[Passage], str]:
    with local_copy(version["original_key"]) as path:
        extracted = extract(path, version["filename"], ocr_languages=settings.OCR_LANGUAGES)
    title = (extracted.title or "").strip()[:LONGEST_TITLE] or version["title"]
    return chunk(extracted, max_tokens=recipe.passage_tokens, overlap_tokens=recipe.passage_tokens // 10), title


async def _keep(
    store: Store,
    claim: UUID,
    version_id: UUID,
    recipe: Recipe,
    embedded: Sequence[tuple[Passage, list[float]]],
    title: str,
) -> None:
    """All passages of one document in one transaction, if this worker still holds the shadow."""
    async with store.connection() as held, held.transaction():
        if await (await held.execute(_LOCK, [claim])).fetchone() is None:
            return
        if await (await held.execute("SELECT FROM to_prepare WHERE id = %s", [version_id])).fetchone() is None:
            return  # deleted or replaced meanwhile
        async with held.cursor().copy(_COPY) as copy:
            for passage, vector in embedded:
                await copy.write_row(_row(version_id, recipe, passage, vector, title))
        await held.execute("SELECT count_in_shadow(%s, 1)", [version_id])
        await held.execute(_WEIGH, [version_id])


def _row(version_id: UUID, recipe: Recipe, passage: Passage, vector: list[float], title: str) -> list[Any]:
    context = embedded_text(passage, title).removesuffix(passage.text).strip()
    place = Jsonb(passage.locator.to_json())
    about = [passage.ordinal, context, passage.text, list(passage.heading_path), place, passage.tokens]
    return [version_id, recipe.generation, *about, True, HalfVector(vector)]


async def _finish(store: Store, claim: UUID) -> None:
    """Statistics, texts for old citations, indexes; then it is ready."""
    async with store.connection() as held, held.transaction():
        await held.execute(_PATIENCE)
        await held.execute("SELECT settle_shadow()")
        if await (await held.execute(_HAS_WORD_INDEX)).fetchone() is None:
            await held.execute(_WORD_INDEX)
            row = await (await held.execute("SELECT passages FROM corpus_shadow")).fetchone()
            if row and row["passages"] > INDEX_FROM:
                await held.execute(_VECTOR_INDEX)
        await held.execute(_READY, [claim])
