"""What the tests of a department's documents share: short ways to put files in and see what became of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.files.uploadedfile import SimpleUploadedFile

from audit.models import AuditEvent
from chatgrid.accounts.models import User
from departments.calls.caller import Caller
from departments.documents.ingest import ingest_version
from departments.documents.records import DocumentVersion
from departments.documents.search import SearchResult, search
from departments.documents.store import open_store
from departments.documents.uploads import accept_upload
from departments.models import Department
from tests.company import give_key, give_store

LEAVE = "# Leave\n\n## Carry over\n\nYou may carry five unused days into the next year, until the end of April.\n"
TRAVEL = "# Travel\n\n## Meals\n\nMeals on a journey are refunded up to 40 EUR a day against the receipts.\n"


def ready(department: Department) -> Department:
    """A department with a key and a store."""
    give_key(department)
    give_store(department)
    return department


def uploaded(text: str, name: str = "leave.md") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, text.encode())


async def upload(
    department: Department, person: User, text: str, name: str = "leave.md", **more: Any
) -> DocumentVersion:
    return (await accept_upload(department, person, name, uploaded(text, name), **more)).version


async def read(department: Department, version: DocumentVersion) -> DocumentVersion:
    """The version after a worker has had it."""
    await ingest_version(department, version.id)
    return await version_of(department, version.id)


async def add(department: Department, person: User, text: str, name: str = "leave.md", **more: Any) -> DocumentVersion:
    """Uploaded and read to its end."""
    return await read(department, await upload(department, person, text, name, **more))


async def version_of(department: Department, version_id: UUID) -> DocumentVersion:
    async with open_store(department) as store:
        version = await store.get_version(version_id)
    assert version is not None
    return version


async def find(department: Department, person: User, question: str, **more: Any) -> SearchResult:
    async with open_store(department) as store:
        return await search(store, department, Caller(person.pk, person.name), question, **more)


async def execute(department: Department, statement: str, *values: Any) -> list[dict[str, Any]]:
    """Straight into the store, for what no interface offers: turning a clock, looking at what must be gone."""
    async with open_store(department) as store, store.connection() as held:
        cursor = await held.execute(statement, values)
        return await cursor.fetchall() if cursor.description else []


def events(department: Department) -> list[str]:
    """The names of what the record says about a department's documents and stores, in order."""
    written = AuditEvent.objects.filter(department_id=department.pk, subject_kind__in=("document", "store"))
    return list(written.order_by("at").values_list("event", flat=True))
