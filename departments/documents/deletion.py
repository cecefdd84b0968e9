"""Deleting a document: out of search at once, then its originals, then its last rows, with a receipt in the record.

Rules:
- The order makes a crash harmless: what is left behind is found by the sweep, which goes on where it stopped.
- The receipt is written before the last rows go: a deletion without an event cannot be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from audit.writer import arecord
from departments.documents.events import deletion_entry
from departments.documents.originals import delete_original
from departments.documents.records import Deletion
from departments.documents.store import Store, open_store
from departments.http import Person
from departments.models import Department


@dataclass(frozen=True)
class DeletionReceipt:
    """What was deleted, when and how much of it."""

    document_id: UUID
    title: str
    versions: int
    passages: int
    originals: int
    deleted_at: datetime


async def delete_document(
    department: Department, person: Person, document_id: UUID, *, address: str = ""
) -> DeletionReceipt | None:
    """Deletes a document with all its versions; None if there is no such document. Raises StoreDown."""
    async with open_store(department) as store:
        if not await store.withdraw(document_id, person.id, person.name):
            return None
        receipts = [await _finish(store, deletion, address) for deletion in await store.list_withdrawn(document_id)]
    return receipts[0] if receipts else None


async def withdraw_documents(department: Department, person: Person, document_ids: Sequence[UUID]) -> int:
    """Takes many documents out of everything at once; how many there were. The sweep removes their files.

    The receipt of each is written when its files are gone, within seconds. Raises StoreDown.
    """
    async with open_store(department) as store:
        return sum([await store.withdraw(document_id, person.id, person.name) for document_id in document_ids])


async def finish_deletions(store: Store) -> int:
    """Goes on with deletions that a crash interrupted; how many."""
    waiting = await store.list_withdrawn()
    for deletion in waiting:
        await _finish(store, deletion, "")
    return len(waiting)


async def _finish(store: Store, deletion: Deletion, address: str) -> DeletionReceipt:
    for key in deletion.original_keys:
        await asyncio.to_thread(delete_original, key)
    receipt = DeletionReceipt(
        document_id=deletion.document_id,
        title=deletion.title,
        versions=len(deletion.original_keys),
        passages=deletion.passages,
        originals=len(deletion.original_keys),
        deleted_at=deletion.deleted_at,
    )
    details = {
        "title": receipt.title,
        "versions": receipt.versions,
        "passages": receipt.passages,
        "originals": receipt.originals,
        "deleted_at": receipt.deleted_at.isoformat(),
    }
    person = deletion.person_id, deletion.person_name
    await arecord(deletion_entry(store.department, deletion.document_id, *person, address, details))
    await store.forget(deletion.document_id)
    return receipt
