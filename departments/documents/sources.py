"""Synchronising a folder or a bucket into its department: what is new is added, what changed is replaced, what is gone
is deleted.

Rules:
- One run of a source at a time, held by a lease; a run that takes long stops and goes on with the next.
- A place that is suddenly empty, or has lost many files, deletes nothing before a person has said so: a share that is
  not mounted looks just like that.
- A file goes the way of every upload: the same limits, quota, record and queue. What it costs is booked on the source.
- A document that somebody deleted in ChatGrid comes back only when its file changes.
- A file that was renamed or moved keeps its document. So does content that lies there under another name as well: a
  document is deleted when the last of its files is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import PurePosixPath
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from audit.events import Event
from audit.writer import Entry as AuditEntry
from audit.writer import arecord
from departments.documents.deletion import delete_document
from departments.documents.models import DocumentSource, SourceRun
from departments.documents.names import clean_filename, clean_folder, oddity_of, shown_path
from departments.documents.originals import digest_of
from departments.documents.places import Entry, Place, PlaceDown, fetched, place_of
from departments.documents.store import Store, StoreDown, open_store
from departments.documents.uploads import NOTHING_TO_REPLACE, TOO_LARGE, Upload, UploadRefused, accept_upload
from departments.http import Person
from departments.models import Department

LEASE = timedelta(minutes=16)  # above the longest task
RUN_SECONDS = 600
FEW = 10  # files that may vanish without a word
SHARE = 0.2  # of all known files, likewise
PROBLEMS_KEPT = 50
RUNS_KEPT = 50

KNOWN = "SELECT path, fingerprint, document_id FROM source_file WHERE source_id = %s"
REMEMBER = """
    INSERT INTO source_file (source_id, path, fingerprint, document_id) VALUES (%s, %s, %s, %s)
    ON CONFLICT (source_id, path)
    DO UPDATE SET fingerprint = excluded.fingerprint, document_id = excluded.document_id
"""
# the newest version bears the name that its file has now
RENAME = """
    UPDATE version SET filename = %(filename)s, folder = %(folder)s
    WHERE id = (SELECT latest_id FROM shown_document WHERE id = %(id)s)
"""
FORGET = "DELETE FROM source_file WHERE source_id = %s AND path = ANY(%s)"

VANISHED = "{count} of {known} files are gone from the place. Nothing was deleted: look whether that is meant."
GOES_ON = "There is more to do; it goes on in a moment."
BROKE_OFF = (
    "It broke off unexpectedly, and is tried again at the next look. If it stays so, tell IT: the log has the reason."
)


@dataclass(frozen=True)
class SourcePerson:
    """Who does what a source does, for the record and the budgets."""

    id: UUID
    name: str
    organization_id: UUID | None
    is_active: bool = True


@dataclass(frozen=True)
class Known:
    """What the last run knew of a file."""

    fingerprint: str
    document_id: UUID | None


@dataclass
class Work:
    """One run while it is made."""

    source: DocumentSource
    department: Department
    store: Store
    place: Place
    run: SourceRun
    known: dict[str, Known]
    entries: dict[str, Entry] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)  # paths that cannot be taken, and why
    digests: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def person(self) -> Person:
        name = f"Source: {self.source.name}"[:120]
        return SourcePerson(self.source.pk, name, self.department.organization_id)  # type: ignore[return-value]

    @property
    def is_late(self) -> bool:
        return time.monotonic() - self.started > RUN_SECONDS

    def changed(self) -> list[Entry]:
        """Files that are new or not as the last run knew them."""
        known = {path: each.fingerprint for path, each in self.known.items()}
        return [entry for path, entry in self.entries.items() if known.get(path) != entry.fingerprint]

    def gone(self) -> list[str]:
        """Paths that the last run knew and that are not there any more."""
        return [path for path in self.known if path not in self.entries and path not in self.odd]

    def found(self, entries: Sequence[Entry]) -> None:
        """What lies in the place; whatever cannot be taken, for its name, is told and stays as it is known."""
        self.run.seen = len(entries)
        self.odd = {entry.path: why for entry in entries if (why := oddity_of(entry.path))}
        self.entries = {entry.path: entry for entry in entries if entry.path not in self.odd}
        for path, sentence in self.odd.items():
            self.failed(path, sentence)

    def failed(self, path: str, sentence: str) -> None:
        self.run.failed += 1
        if len(self.run.problems) < PROBLEMS_KEPT:
            self.run.problems.append({"path": shown_path(path), "sentence": sentence})


def due_sources() -> list[UUID]:
    """Sources that should be synchronised now and that nobody synchronises."""
    now = timezone.now()
    free = Q(busy_until__isnull=True) | Q(busy_until__lt=now)
    due = DocumentSource.objects.filter(free, is_active=True, next_at__lte=now)
    ready = due.filter(department__is_active=True, department__store_ready=True)
    return list(ready.order_by("next_at").values_list("pk", flat=True))


async def synchronise(source_id: UUID) -> SourceRun | None:
    """One run of a source; None where another worker has it or it is gone."""
    source = await sync_to_async(_take)(source_id)
    if source is None:
        return None
    run = await SourceRun.objects.acreate(source=source)
    goes_on = False
    try:
        goes_on = await _synchronise(source, run)
    except (PlaceDown, StoreDown) as down:
        run.sentence = down.sentence if isinstance(down, StoreDown) else str(down)
    except Exception:
        run.sentence = BROKE_OFF  # for the department's page; the operator sees the trace
        raise
    finally:
        await sync_to_async(_give_back)(source, run, goes_on)
    if run.added or run.changed or run.deleted:
        await arecord(_entry(source, run))
    return run


async def _synchronise(source: DocumentSource, run: SourceRun) -> bool:
    """Does the work; whether there is more."""
    async with open_store(source.department) as store:
        place = await asyncio.to_thread(place_of, source)
        work = Work(source, source.department, store, place, run, await _known(store, source))
        work.found(await asyncio.to_thread(lambda: list(place.entries())))
        # what is gone is deleted only once every file that may be its new place has been looked at
        if await _follow_moved(work):
            await _remove_vanished(work)
            if await _take_changed(work):
                return False
        run.sentence = run.sentence or GOES_ON
        return True


async def _take_changed(work: Work) -> bool:
    """Uploads what is new or another than before; False if the time ran out before all was."""
    for entry in work.changed():
        if work.is_late:
            return False
        await _take_file(work, entry, work.known.get(entry.path))
    return True


async def _known(store: Store, source: DocumentSource) -> dict[str, Known]:
    async with store.connection() as held:
        rows = await (await held.execute(KNOWN, [source.pk])).fetchall()
    return {row["path"]: Known(row["fingerprint"], row["document_id"]) for row in rows}


async def _take_file(work: Work, entry: Entry, known: Known | None) -> None:
    """One new or changed file, uploaded as a person would."""
    if entry.bytes > settings.UPLOAD_BYTES:
        return work.failed(entry.path, TOO_LARGE.format(megabytes=settings.UPLOAD_BYTES // (1024 * 1024)))
    try:
        taken = await _upload(work, entry, known.document_id if known else None)
    except (UploadRefused, PlaceDown) as refused:
        return work.failed(entry.path, refused.sentence if isinstance(refused, UploadRefused) else str(refused))
    work.run.added += not known and not taken.is_duplicate
    work.run.changed += bool(known) and not taken.is_duplicate
    # a file that somebody else brought is theirs: it is known here, and not deleted with the source's
    owned: UUID | None = taken.version.document_id
    if taken.is_duplicate and not (known and known.document_id == owned):
        owned = None
    await _execute(work.store, REMEMBER, [work.source.pk, entry.path, entry.fingerprint, owned])
    return None


async def _upload(work: Work, entry: Entry, replaces: UUID | None) -> Upload:
    folder, name = _split(entry.path)
    context = fetched(work.place, entry)
    content = await asyncio.to_thread(context.__enter__)
    try:
        return await accept_upload(work.department, work.person, name, content, replaces=replaces, folder=folder)
    except UploadRefused as refused:
        if replaces is None or refused.sentence != NOTHING_TO_REPLACE:
            raise
        content.seek(0)
        return await accept_upload(work.department, work.person, name, content, folder=folder)
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def _follow_moved(work: Work) -> bool:
    """Gives the document of a file that is gone to a file with the same content, under whatever name it lies there.

    False if the time ran out.
    """
    heirs = [
        entry for path, entry in work.entries.items() if path not in work.known or work.known[path].document_id is None
    ]
    for path in work.gone():
        if work.is_late:
            return False
        document_id = work.known[path].document_id
        heir = await _heir(work, document_id, heirs) if document_id and heirs else None
        if document_id and heir:
            heirs.remove(heir)
            await _hand_over(work, path, document_id, heir)
    return True


async def _heir(work: Work, document_id: UUID, entries: Sequence[Entry]) -> Entry | None:
    """The first file with exactly the content of a document's newest version."""
    found = await work.store.get_documents([document_id])
    for entry in entries:
        if found and entry.bytes == found[0].latest.bytes and await _digest(work, entry) == found[0].latest.sha256:
            return entry
    return None


async def _digest(work: Work, entry: Entry) -> str:
    def read() -> str:
        with fetched(work.place, entry) as content:
            return digest_of(content)

    if entry.path not in work.digests:
        try:
            work.digests[entry.path] = await asyncio.to_thread(read)
        except PlaceDown:
            return ""  # the file is taken like any other, and its problem told, in its turn
    return work.digests[entry.path]


async def _hand_over(work: Work, path: str, document_id: UUID, heir: Entry) -> None:
    folder, name = _split(heir.path)
    names = {"id": document_id, "filename": clean_filename(name), "folder": clean_folder(folder)}
    async with work.store.connection() as held, held.transaction():
        await held.execute(RENAME, names)
        await held.execute(FORGET, [work.source.pk, [path]])
        await held.execute(REMEMBER, [work.source.pk, heir.path, heir.fingerprint, document_id])
    del work.known[path]
    work.known[heir.path] = Known(heir.fingerprint, document_id)
    work.run.changed += 1


def _split(path: str) -> tuple[str, str]:
    """Folder and name of a path inside a place."""
    parts = PurePosixPath(path)
    return "" if parts.parent == PurePosixPath() else str(parts.parent), parts.name


async def _remove_vanished(work: Work) -> None:
    """Deletes what is gone from the place, unless that is so much that a person should say so first."""
    gone = work.gone()
    owned = [path for path in gone if work.known[path].document_id]
    allowed = max(FEW, int(SHARE * len(work.known))) if work.entries else 0
    if len(owned) > max(allowed, work.source.may_delete):
        work.source.vanished = len(owned)
        work.run.sentence = VANISHED.format(count=len(owned), known=len(work.known))
        return
    work.source.vanished = work.source.may_delete = 0
    for path in gone:
        document_id = work.known[path].document_id
        if document_id and await delete_document(work.department, work.person, document_id):
            work.run.deleted += 1
        await _execute(work.store, FORGET, [work.source.pk, [path]])


async def _execute(store: Store, statement: str, values: list[object]) -> None:
    async with store.connection() as held:
        await held.execute(statement.encode(), values)


async def keep_vanished(source: DocumentSource) -> None:
    """Somebody decided: the documents whose files are gone stay, as documents of the department's own."""
    async with open_store(source.department) as store:
        known = await _known(store, source)
        entries = await asyncio.to_thread(lambda: {entry.path for entry in place_of(source).entries()})
        await _execute(store, FORGET, [source.pk, [path for path in known if path not in entries]])
    await DocumentSource.objects.filter(pk=source.pk).aupdate(vanished=0, may_delete=0)


def _take(source_id: UUID) -> DocumentSource | None:
    now = timezone.now()
    free = Q(busy_until__isnull=True) | Q(busy_until__lt=now)
    mine = DocumentSource.objects.filter(free, pk=source_id, is_active=True).update(busy_until=now + LEASE)
    found = DocumentSource.objects.select_related("department__organization").filter(pk=source_id)
    return found.first() if mine else None


def _give_back(source: DocumentSource, run: SourceRun, goes_on: bool) -> None:
    run.ended_at = timezone.now()
    run.save()
    pause = timedelta() if goes_on else timedelta(minutes=source.minutes)
    kept = {"vanished": source.vanished, "may_delete": source.may_delete}
    DocumentSource.objects.filter(pk=source.pk).update(busy_until=None, next_at=timezone.now() + pause, **kept)
    old = SourceRun.objects.filter(source=source).order_by("-started_at").values_list("pk", flat=True)[RUNS_KEPT:]
    SourceRun.objects.filter(pk__in=list(old)).delete()


def _entry(source: DocumentSource, run: SourceRun) -> AuditEntry:
    return AuditEntry(
        event=Event.SOURCE_RAN,
        **source.department.in_record,
        subject_kind="source",
        subject_id=str(source.pk),
        details={
            "name": source.name,
            "seen": run.seen,
            "added": run.added,
            "changed": run.changed,
            "deleted": run.deleted,
            "failed": run.failed,
        },
    )
