"""Rows of a store as values, and values as rows: what store.py and listing.py share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID, uuid4

import psycopg
from pgvector import HalfVector
from psycopg.types.json import Jsonb

from departments.documents import statements
from departments.documents.pools import Connection
from departments.documents.records import Document, DocumentVersion, Draft, NewVersion, Room, State


class NoRoom(Exception):
    """The department keeps as many files, or bytes, as it may."""


class SameContent(Exception):
    """The same bytes are there already, as `version`."""

    def __init__(self, version: DocumentVersion) -> None:
        super().__init__(version.id)
        self.version = version


_VERSION = frozenset(field.name for field in fields(DocumentVersion))
_DOCUMENT = frozenset(field.name for field in fields(Document)) - {"latest"}


def as_version(row: dict[str, Any]) -> DocumentVersion:
    """Columns of a newer schema are left out: while a release is rolled out, the one before goes on working."""
    known = {name: value for name, value in row.items() if name in _VERSION}
    return DocumentVersion(**{**known, "state": State(row["state"])})


async def with_latest(held: Connection, rows: list[dict[str, Any]]) -> list[Document]:
    """Rows of `shown_document` as documents, each with its newest version."""
    found = await held.execute(statements.VERSIONS, [[row["latest_id"] for row in rows]])
    latest = {row["id"]: as_version(row) for row in await found.fetchall()}
    return [
        Document(**{name: value for name, value in row.items() if name in _DOCUMENT}, latest=latest[row["latest_id"]])
        for row in rows
        if row["latest_id"] in latest  # deleted between the two statements
    ]


async def require_room(held: Connection, room: Room, arriving: int) -> None:
    asked = {"files": room.files, "bytes": room.bytes, "arriving": arriving}
    row = await (await held.execute(statements.HAS_ROOM, asked)).fetchone()
    if not row or not row["has_room"]:
        raise NoRoom


async def require_new_content(held: Connection, new: NewVersion) -> None:
    """Behind the lock of `require_room`: of one file sent twice at the same moment the second finds the first."""
    row = await (await held.execute(statements.SAME_CONTENT, [new.sha256])).fetchone()
    if row and new.document_id in {None, row["document_id"]}:
        raise SameContent(as_version(row))


async def document_for(held: Connection, new: NewVersion) -> UUID | None:
    """The document of a new version, locked, or a new document."""
    if new.document_id is None:
        row = await (await held.execute(statements.ADD_DOCUMENT, [uuid4(), new.title, new.filename])).fetchone()
    else:
        row = await (await held.execute(statements.LOCK_DOCUMENT, [new.document_id])).fetchone()
    return row["id"] if row else None


async def add_version(held: Connection, new: NewVersion, document_id: UUID) -> DocumentVersion:
    await held.execute(statements.ADD_VERSION, {**vars(new), "document_id": document_id})
    row = await (await held.execute(statements.VERSION, [new.version_id])).fetchone()
    assert row is not None  # noqa: S101 - written by the statement before
    return as_version(row)


async def copy_drafts(copy: psycopg.AsyncCopy, version_id: UUID, drafts: Sequence[Draft]) -> None:
    for draft in drafts:
        await copy.write_row(
            (
                version_id,
                draft.ordinal,
                draft.digest,
                draft.context,
                draft.text,
                draft.heading_path,
                Jsonb(dict(draft.locator)),
                draft.tokens,
                HalfVector(draft.embedding),
            )
        )
