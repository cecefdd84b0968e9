"""A throw-away ChatGrid for measurements: its own PostgreSQL and Valkey, the simulator, and stores filled for real.

Rules:
- Nothing of ours that reads settings is imported before `product()` has set the environment.
- Files come in as uploads do: accepted, read in a process of their own, embedded through the door, published.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chatgrid.dev.openai_simulator import catalogue, server
from chatgrid.dev.openai_simulator.options import Options
from chatgrid.dev.services.stack import Stack, running
from tests.bench.vectors import Vectors

if TYPE_CHECKING:
    from chatgrid.accounts.models import User
    from departments.documents.store import Store
    from departments.models import Department

CONTROL = "chatgrid_bench"
READERS = 2  # files read at once, each in a process of its own


@contextmanager
def product(vectors: Vectors, **settings: str) -> Iterator[None]:
    """ChatGrid with an empty control database, for as long as the block lasts; `settings` are environment variables."""
    catalogue.MODELS.setdefault(
        vectors.model, catalogue.Model(vectors.model, 0, reads=8_192, dimensions=vectors.dimensions)
    )
    with (
        server.running(Options(embed=vectors.embed)) as simulator,
        running() as stack,
        tempfile.TemporaryDirectory(prefix="chatgrid-bench-") as data,
    ):
        os.environ |= {
            "CHATGRID_OPENAI_BASE_URL": simulator.base_url,
            "CHATGRID_SIMULATED": "true",
            "CHATGRID_EMBEDDING_MODEL": vectors.model,
            "CHATGRID_EMBEDDING_DIMENSIONS": str(vectors.dimensions),
            "CHATGRID_SILENCE_SECONDS": "900",  # a model on a shared processor may take minutes for a batch
            **settings,
        }
        _start(stack, data)
        yield


def make_department(slug: str) -> tuple[Department, User]:
    """A department with a key and a store, and its admin, in a company of its own."""
    from django.utils.text import slugify

    from chatgrid.accounts.models import User
    from departments.models import Department, Membership, Organization
    from departments.roles import DepartmentRole
    from tests.company import give_key, give_store

    mark = secrets.token_hex(4)
    company = Organization.objects.create(slug=f"bench-{mark}", name="Bench")
    # a folder may have any name
    made = Department.objects.create(organization=company, slug=slugify(slug)[:40] or "department", name=slug[:100])
    give_key(made)
    give_store(made)
    person = User.objects.create_user(f"bench@{mark}.example", secrets.token_hex(8), name="Bench", organization=company)
    Membership.objects.create(user=person, department=made, role=DepartmentRole.ADMIN)
    return Department.objects.select_related("organization").get(pk=made.pk), person


async def fill(department: Department, person: User, files: Sequence[tuple[str, bytes]]) -> list[str]:
    """Uploads files (name, content) and reads them, a few at a time; a sentence for each that is not searched."""
    turn = asyncio.Semaphore(READERS)
    problems = await asyncio.gather(*(_add(department, person, name, content, turn) for name, content in files))
    return [problem for problem in problems if problem]


async def texts_of(store: Store) -> list[str]:
    """Every passage that a search looks at, by which the right ones are counted."""
    async with store.connection() as held:
        rows = await (await held.execute("SELECT text FROM passage WHERE searchable")).fetchall()
    return [row["text"] for row in rows]


async def _add(department: Department, person: User, name: str, content: bytes, turn: asyncio.Semaphore) -> str:
    """Why the file is not searched, in words; nothing where it is."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    from departments.documents.ingest import ingest_version
    from departments.documents.store import open_store
    from departments.documents.uploads import UploadRefused, accept_upload

    async with turn:
        try:
            upload = await accept_upload(department, person, name, SimpleUploadedFile(name, content))
        except UploadRefused as refused:
            return f"{name}: {refused.sentence}"
        if upload.is_duplicate:
            return f"{name}: the same content as {upload.version.filename}."
        await ingest_version(department, upload.version.id)
        async with open_store(department) as store:
            version = await store.get_version(upload.version.id)
    return "" if version and version.state == "live" else f"{name}: {version.sentence if version else 'it is gone.'}"


def _start(stack: Stack, data: str) -> None:
    os.environ |= stack.environment(CONTROL) | {
        "DJANGO_SETTINGS_MODULE": "chatgrid.settings",
        "CHATGRID_ENVIRONMENT": "test",
        "CHATGRID_SECRET_KEY": secrets.token_urlsafe(50),
        "CHATGRID_DATA": data,
        "CHATGRID_PAGE_POOL_SIZE": "0",
        "CHATGRID_LOG_LEVEL": "WARNING",
    }
    stack.postgres.create_control_database(CONTROL)
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", database="owner", verbosity=0)
