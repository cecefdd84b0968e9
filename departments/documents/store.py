"""One department's store.

Rules:
- A `Store` is bound to one department when it is opened; no method takes a department, a database or a table name.
- Its connections log in with that department's credential, so another department's rows are refused by the database,
  not left out by a condition. An id that is not there and an id of another department look the same: None.
- Each method takes a connection of its own for one short transaction and gives it back.
- A worker changes a version only while it holds its claim: each such method checks it in the same statement and raises
  `ClaimLost` where somebody else has taken over or the document was deleted.
- A store that cannot be reached raises `StoreDown` with a sentence for the person.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from departments.documents import statements
from departments.documents.credentials import forget_credential, store_credential
from departments.documents.pools import Connection, Pool, pool_of
from departments.documents.records import (
    CitedPassage,
    Claim,
    Counts,
    Deletion,
    Document,
    DocumentDetail,
    DocumentPage,
    DocumentVersion,
    Draft,
    NewVersion,
    Recipe,
    Room,
    StoredPassage,
)
from departments.documents.rows import (
    add_version,
    as_version,
    copy_drafts,
    document_for,
    require_new_content,
    require_room,
    with_latest,
)
from departments.keys.vaults import VaultError
from departments.models import Department

LEASE_SECONDS = 60
MOST_ATTEMPTS = 3
# Below this an exact scan is as fast as an HNSW index (reference: measured with pgvector 0.8).
INDEX_FROM = 2000

# what a page or a worker of this release asks of a store that has not been upgraded to it
OUTDATED = (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction)

DOWN = "The documents of this department cannot be reached right now. Try again in a minute; IT has been told."
BEHIND = (
    "The documents of this department are being upgraded. Try again in a minute; IT runs `manage.py upgrade_stores`."
)
NOT_MADE = "This department has no document store yet. IT can make one in the console, under Departments."


class StoreDown(Exception):
    """The store cannot be used now. `sentence` is for the person and names no server."""

    def __init__(self, sentence: str = DOWN) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class NoStore(StoreDown):
    """The department's store has not been made yet."""

    def __init__(self) -> None:
        super().__init__(NOT_MADE)


class ClaimLost(Exception):
    """Another worker has taken over, or the document was deleted meanwhile: stop, without a word."""


@asynccontextmanager
async def open_store(department: Department) -> AsyncIterator[Store]:
    """The department's store. Raises StoreDown, also NoStore; nothing is connected until a method is called."""
    if not department.store_ready:
        raise NoStore
    try:
        credential = await store_credential(department)
    except VaultError as error:
        raise StoreDown from error
    yield Store(department, await pool_of(department.pk, credential))


class Store:
    """A handle on one department's documents."""

    def __init__(self, department: Department, pool: Pool) -> None:
        self.department = department
        self._pool = pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode, for one short piece of work."""
        try:
            async with AsyncExitStack() as stack:
                yield await self._enter(stack)
        except (psycopg.OperationalError, psycopg.InterfaceError, VaultError) as error:
            raise StoreDown from error
        except OUTDATED as error:
            raise StoreDown(BEHIND) from error

    async def _enter(self, stack: AsyncExitStack) -> Connection:
        """A connection; where the password was exchanged since the store was opened, one with the new password."""
        try:
            return await stack.enter_async_context(self._pool.connection())
        except (PoolTimeout, PoolClosed) as error:
            if isinstance(error, PoolTimeout):
                forget_credential(self.department)
            fresh = await pool_of(self.department.pk, await store_credential(self.department))
            if fresh is self._pool:
                raise
            self._pool = fresh
            return await stack.enter_async_context(self._pool.connection())

    # -- reading

    async def list_documents(self, *, matching: str = "", offset: int = 0, limit: int = 50) -> DocumentPage:
        """Documents, newest first; `matching` is a part of the title or of the filename, in any case."""
        asked = {"matching": matching.replace("\x00", ""), "offset": offset, "limit": limit}
        async with self.connection() as held:
            total = await (await held.execute(statements.COUNT_DOCUMENTS, asked)).fetchone()
            rows = await (await held.execute(statements.LIST_DOCUMENTS, asked)).fetchall()
            documents = await with_latest(held, rows)
        return DocumentPage(documents, total["total"] if total else 0, offset, limit)

    async def get_documents(self, document_ids: Sequence[UUID]) -> list[Document]:
        """These documents in the same order; those that are not there are left out."""
        async with self.connection() as held:
            rows = await (await held.execute(statements.DOCUMENTS, [list(document_ids), list(document_ids)])).fetchall()
            return await with_latest(held, rows)

    async def get_document(self, document_id: UUID) -> DocumentDetail | None:
        """A document with all its versions, newest first."""
        documents = await self.get_documents([document_id])
        if not documents:
            return None
        versions = [as_version(row) for row in await self._all(statements.VERSIONS_OF, [document_id])]
        return DocumentDetail(documents[0], versions)

    async def get_version(self, version_id: UUID) -> DocumentVersion | None:
        row = await self._one(statements.VERSION, [version_id])
        return as_version(row) if row else None

    async def find_content(self, sha256: str) -> DocumentVersion | None:
        """A version with the same bytes that is searched or on its way to be."""
        row = await self._one(statements.SAME_CONTENT, [sha256])
        return as_version(row) if row else None

    async def list_passages(
        self, version_id: UUID, *, offset: int = 0, limit: int = 200, generation: int | None = None
    ) -> list[StoredPassage]:
        """The passages of a version in reading order; `generation` is that of a citation, None the newest."""
        asked = {"id": version_id, "generation": generation, "offset": offset, "limit": limit}
        return [StoredPassage(**row) for row in await self._all(statements.PASSAGES, asked)]

    async def get_passage(self, version_id: UUID, ordinal: int, generation: int | None = None) -> CitedPassage | None:
        """What a citation points to; None if the document was deleted or never was in this department.

        Without a `generation` it is the one that is searched.
        """
        row = await self._one(statements.PASSAGE, [version_id, ordinal, generation])
        return CitedPassage(**row) if row else None

    async def count(self) -> Counts:
        row = await self._one(statements.COUNTS)
        return Counts(**row) if row else Counts()

    async def recipe(self) -> Recipe:
        """How the searched passages were made, and how many there are."""
        row = await self._one(statements.RECIPE)
        if row is None:
            raise StoreDown  # each store has this row from its first schema on
        return Recipe(**row)

    # -- what comes in

    @asynccontextmanager
    async def adding(self, new: NewVersion, room: Room | None = None) -> AsyncIterator[DocumentVersion | None]:
        """A document, or one more version of `new.document_id` (None: there is no such document), waiting to be read.

        Raises NoRoom where the department has as much as `room` allows, and SameContent where the same bytes are there.
        It is there when the block ends without an exception: what must not be missing beside it is written inside.
        """
        async with self.connection() as held, held.transaction():
            if room is not None:
                await require_room(held, room, new.bytes)
                await require_new_content(held, new)
            document_id = await document_for(held, new)
            yield await add_version(held, new, document_id) if document_id else None

    async def cancel(self, document_id: UUID, sentence: str) -> UUID | None:
        """Ends the reading of the newest version; its id, or None where nothing waits or is being read."""
        row = await self._one(statements.CANCEL, {"id": document_id, "sentence": sentence})
        return row["id"] if row else None

    async def retry(self, document_id: UUID) -> UUID | None:
        """Starts the newest version again if it failed, was cancelled or waits for a later time; its id, or None."""
        row = await self._one(statements.RETRY, [document_id])
        return row["id"] if row else None

    # -- what workers do

    async def queue_due(self, parallel: int) -> list[UUID]:
        """Versions whose task should be published (again) now, so that at most `parallel` are queued or being read.

        Each is not given again for a minute or more.
        """
        return [row["id"] for row in await self._all(statements.QUEUE_DUE, [parallel])]

    async def fail_exhausted(self, sentence: str) -> list[DocumentVersion]:
        """Ends the versions whose worker died every time."""
        rows = await self._all(statements.FAIL_EXHAUSTED, [sentence, MOST_ATTEMPTS])
        return [version for row in rows if (version := await self.get_version(row["id"]))]

    async def claim(self, version_id: UUID) -> Claim | None:
        """The claim on a version that waits or whose worker died; None if there is nothing to do for this worker."""
        claim = uuid4()
        asked = {"id": version_id, "claim": claim, "lease": LEASE_SECONDS, "most": MOST_ATTEMPTS}
        if await self._one(statements.CLAIM, asked) is None:
            return None
        version = await self.get_version(version_id)
        return Claim(claim, version) if version else None

    async def renew(self, claim: Claim) -> None:
        """Keeps the claim for another `LEASE_SECONDS`."""
        await self._held(statements.RENEW, claim, lease=LEASE_SECONDS)

    async def start_embedding(
        self,
        claim: Claim,
        *,
        kind: str,
        title: str,
        pages: int | None,
        labels: list[str],
        model: str,
        dimensions: int,
        foreseen: int,
    ) -> None:
        """The text is there: what was found about the file is noted and `foreseen` vectors come next."""
        found = {"kind": kind, "title": title, "pages": pages, "labels": labels, "foreseen": foreseen}
        await self._held(statements.START_EMBEDDING, claim, model=model, dimensions=dimensions, **found)

    async def kept_drafts(self, claim: Claim) -> dict[int, str]:
        """Digests by ordinal of the drafts that an earlier attempt left."""
        return {row["ordinal"]: row["digest"] for row in await self._all(statements.KEPT_DRAFTS, [claim.version.id])}

    async def drop_drafts(self, claim: Claim, ordinals: Sequence[int]) -> None:
        """Forgets drafts that are no longer what the file says."""
        async with self.connection() as held:
            asked = {"id": claim.version.id, "claim": claim.id, "ordinals": list(ordinals)}
            await held.execute(statements.DROP_DRAFTS, asked)

    async def save_drafts(
        self, claim: Claim, drafts: Sequence[Draft], *, embedded: int = 0, cost: Decimal = Decimal(0)
    ) -> None:
        """Keeps embedded passages, so that a crash does not pay for them twice.

        `embedded` is how many the version has now, `cost` what these cost (US dollars).
        """
        progress = {"id": claim.version.id, "claim": claim.id, "embedded": embedded, "cost": cost}
        async with self.connection() as held, held.transaction():
            cursor = await held.execute(statements.NOTE_PROGRESS, progress)
            if cursor.rowcount == 0:
                raise ClaimLost
            async with held.cursor().copy(statements.COPY_DRAFTS) as copy:
                await copy_drafts(copy, claim.version.id, drafts)

    @asynccontextmanager
    async def publishing(self, claim: Claim, passages: int) -> AsyncIterator[None]:
        """Makes the drafts the version's passages, live, in place of the older version, when the block ends well.

        `passages` is how many there must be: drafts do not outlive a crash of the database, and a document is never
        searched in part.
        """
        async with self.connection() as held, held.transaction():
            await held.execute(statements.PATIENCE)
            row = await (await held.execute(statements.PUBLISH, [claim.version.id, claim.id, passages])).fetchone()
            if not row or not row["published"]:
                raise ClaimLost
            yield

    async def build_index(self) -> bool:
        """Makes the vector index if the store has grown enough to need it; whether it did."""
        if await self._one(statements.INDEX_MISSING, [INDEX_FROM]) is None:
            return False
        async with self.connection() as held, held.transaction():
            await held.execute(statements.PATIENCE)
            await held.execute(statements.BUILD_INDEX)
        return True

    async def fail(self, claim: Claim, sentence: str) -> None:
        """The end of an attempt that trying again will not help."""
        await self._held(statements.FAIL, claim, sentence=sentence)

    async def give_back(self, claim: Claim) -> None:
        """Puts a version back into the queue, because the store was away meanwhile; the attempt does not count."""
        await self._held(statements.GIVE_BACK, claim)

    async def postpone(self, claim: Claim, sentence: str, retry_at: datetime) -> None:
        """Puts a version back to waiting, for a reason outside the document; the attempt does not count."""
        await self._held(statements.POSTPONE, claim, sentence=sentence, retry_at=retry_at)

    # -- what goes out

    async def withdraw(self, document_id: UUID, person_id: UUID, person_name: str) -> bool:
        """Takes a document out of search, lists and citations; False if there is no such document."""
        async with self.connection() as held, held.transaction():
            await held.execute(statements.PATIENCE)
            row = await (await held.execute(statements.WITHDRAW, [document_id, person_id, person_name])).fetchone()
        return bool(row and row["withdrawn"])

    async def list_withdrawn(self, document_id: UUID | None = None) -> list[Deletion]:
        """Documents whose originals are still to be removed: this one, or all."""
        return [Deletion(**row) for row in await self._all(statements.WITHDRAWN, {"id": document_id})]

    async def forget(self, document_id: UUID) -> bool:
        """Removes the last rows of a withdrawn document; False if somebody else has."""
        return await self._one(statements.FORGET, [document_id]) is not None

    # -- how

    async def _one(self, query: LiteralString, values: Any = ()) -> dict[str, Any] | None:
        async with self.connection() as held:
            return await (await held.execute(query, values)).fetchone()

    async def _all(self, query: LiteralString, values: Any = ()) -> list[dict[str, Any]]:
        async with self.connection() as held:
            return await (await held.execute(query, values)).fetchall()

    async def _held(self, query: LiteralString, claim: Claim, **values: Any) -> None:
        """Executes a change that needs the claim."""
        async with self.connection() as held:
            cursor = await held.execute(query, {"id": claim.version.id, "claim": claim.id, **values})
        if cursor.rowcount == 0:
            raise ClaimLost
