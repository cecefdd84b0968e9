"""A throw-away ChatGrid for measurements: its own PostgreSQL and Valkey, and stores filled without a provider.

Rules:
- Nothing of ours that reads settings is imported before `product()` has set the environment.
- Vectors come from the simulator's function in this process, so what is measured is ours and not a wire.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from chatgrid.dev.services.stack import Stack, running

if TYPE_CHECKING:
    from departments.documents.chunks import Passage
    from departments.documents.store import Store
    from departments.models import Department

CONTROL = "chatgrid_bench"
READERS = 2  # files read at once, each in a process of its own


@contextmanager
def product() -> Iterator[None]:
    """ChatGrid with an empty control database, for as long as the block lasts."""
    with running() as stack, tempfile.TemporaryDirectory(prefix="chatgrid-bench-") as data:
        _start(stack, data)
        yield


def make_department(slug: str) -> Department:
    """A department with a store, in a company of its own."""
    from departments.documents.provision import provision_store
    from departments.models import Department, Organization

    company = Organization.objects.create(slug=f"bench-{secrets.token_hex(4)}", name="Bench")
    department = Department.objects.create(organization=company, slug=slug, name=slug)
    provision_store(department)
    return department


def embed(texts: Sequence[str]) -> list[list[float]]:
    """The simulator's vectors, as the provider would give them."""
    from django.conf import settings

    from chatgrid.dev.openai_simulator.embeddings import embed as simulated

    vectors: list[list[float]] = simulated(texts, settings.EMBEDDING_DIMENSIONS).tolist()
    return vectors


async def fill(store: Store, documents: Sequence[tuple[str, bytes]]) -> int:
    """Puts files (name, content) into a store, live; the number of passages."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(READERS) as readers:
        reading = [loop.run_in_executor(readers, _read, name, content) for name, content in documents]
        return sum([await _add(store, name, *await done) for (name, _), done in zip(documents, reading, strict=True)])


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


def _read(name: str, content: bytes) -> tuple[str, list[Passage]]:
    """Title and passages of a file, as ingestion makes them."""
    from departments.documents.chunks import chunk
    from departments.documents.extract import extract

    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        extracted = extract(Path(file.name), name)
    return extracted.title or Path(name).stem, chunk(extracted)


async def _add(store: Store, name: str, title: str, passages: list[Passage]) -> int:
    from departments.documents.chunks import embedded_text
    from departments.documents.ingest import make_draft
    from departments.documents.records import NewVersion

    new = NewVersion(uuid4(), None, title, name, f"bench/{uuid4()}", secrets.token_hex(32), 1, uuid4(), "Bench")
    async with store.adding(new):
        pass
    claim = await store.claim(new.version_id)
    assert claim is not None
    await store.start_embedding(claim, kind="", title=title, pages=None, labels=[], model="simulated", dimensions=0)
    texts = [embedded_text(passage, title) for passage in passages]
    drafts = [make_draft(*row) for row in zip(passages, texts, embed(texts), strict=True)]
    await store.save_drafts(claim, drafts)
    async with store.publishing(claim, len(drafts)):
        pass
    return len(drafts)
