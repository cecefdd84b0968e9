"""Background work on documents: read one, and find those that wait.

Rules:
- A task takes ids, and the work is in functions that tests call without Celery.
- Each task may run any number of times and in parallel: the claim on a version decides who works on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from celery import shared_task
from kombu.exceptions import OperationalError

from audit.database import DatabaseDown, fetch
from departments.calls.caller import CallEndedEarly, Caller
from departments.documents import generations, golden, use
from departments.documents import ingest as ingesting
from departments.documents.deletion import finish_deletions
from departments.documents.publishing import publish_due, tell
from departments.documents.reminders import remind
from departments.documents.sources import due_sources, synchronise
from departments.documents.store import StoreDown, open_store
from departments.loop import run
from departments.models import Department, Organization

SWEPT_AT_ONCE = 8  # departments

logger = logging.getLogger(__name__)


@shared_task(name="departments.documents.tasks.ingest")
def ingest(department_id: str, version_id: str) -> None:
    """Reads one version of a document, unless somebody else does or has."""
    try:
        run(ingest_one(UUID(department_id), UUID(version_id)))
    except (StoreDown, DatabaseDown) as error:
        logger.warning("document version %s waits: %s", version_id, error)


@shared_task(name="departments.documents.tasks.sweep")
def sweep() -> None:
    """Publishes what waits or lapsed, ends what cannot be read, finishes deletions, in every department."""
    run(sweep_all())


@shared_task(name="departments.documents.tasks.tend")
def tend() -> None:
    """Tells admins which documents came due for review, and forgets what was kept long enough, in every department."""
    run(tend_all())


@shared_task(name="departments.documents.tasks.start_sources")
def start_sources() -> None:
    """Has every source synchronised that is due."""
    for source_id in due_sources():
        sync_source.apply_async((str(source_id),), expires=600)


@shared_task(name="departments.documents.tasks.sync_source")
def sync_source(source_id: str) -> None:
    """Synchronises one folder or bucket, unless somebody else does."""
    try:
        run(synchronise(UUID(source_id)))
    except DatabaseDown as error:
        logger.warning("source %s waits: %s", source_id, error)


def announce_source(source_id: UUID) -> None:
    """Has a source synchronised at once, if the broker can be told; the clock finds it otherwise."""
    try:
        sync_source.apply_async((str(source_id),), retry=False, expires=600)
    except OperationalError as error:
        logger.warning("the broker takes no tasks (%r); the clock will start source %s", error, source_id)


async def ingest_one(department_id: UUID, version_id: UUID) -> None:
    """Reads one version. A department that was closed meanwhile keeps its documents waiting."""
    for department in await _departments(department_id):
        await ingesting.ingest_version(department, version_id)


@shared_task(name="departments.documents.tasks.rebuild")
def rebuild(department_id: str) -> None:
    """Goes on with a department's re-embedding, unless somebody else does."""
    try:
        run(rebuild_one(UUID(department_id)))
    except (StoreDown, DatabaseDown) as error:
        logger.warning("the re-embedding of department %s waits: %s", department_id, error)


@shared_task(name="departments.documents.tasks.ask_golden")
def ask_golden(department_id: str) -> None:
    """Measures a department's search after its documents have changed."""
    try:
        run(ask_golden_one(UUID(department_id)))
    except (StoreDown, DatabaseDown, CallEndedEarly) as error:
        logger.warning("the golden questions of department %s wait: %s", department_id, error)


async def rebuild_one(department_id: UUID) -> None:
    """One worker's turn at a re-embedding: to its end, or until it has to wait."""
    for department in await _departments(department_id):
        async with open_store(department) as store:
            await generations.build(store)


async def ask_golden_one(department_id: UUID) -> None:
    """One measurement, in the name of who added the latest question."""
    for department in await _departments(department_id):
        async with open_store(department) as store:
            questions = await golden.list_questions(store)
            if questions and await golden.is_due(store):
                caller = Caller(questions[-1].person_id, questions[-1].person_name)
                await golden.measure(store, caller, golden.AFTER_CHANGE, recipe=await store.recipe())


async def sweep_all() -> None:
    """One round for every department."""
    await _in_every_department(sweep_department)


async def tend_all() -> None:
    """The same for what is done once an hour."""
    await _in_every_department(tend_department)


async def _in_every_department(work: Callable[[Department], Awaitable[Any]]) -> None:
    """A few departments at a time: one whose store is away must not hold up the others."""
    turn = asyncio.Semaphore(SWEPT_AT_ONCE)
    departments = await _departments()
    ends = await asyncio.gather(
        *(_in_turn(department, work, turn) for department in departments), return_exceptions=True
    )
    for department, end in zip(departments, ends, strict=True):
        if isinstance(end, Exception):
            # the operator sees it, the next round tries again
            logger.error("documents of department %s could not be swept", department.pk, exc_info=end)


async def _in_turn(
    department: Department, work: Callable[[Department], Awaitable[Any]], turn: asyncio.Semaphore
) -> None:
    async with turn:
        try:
            await work(department)
        except StoreDown:
            logger.warning("the store of department %s cannot be reached; the next round tries again", department.pk)


async def tend_department(department: Department) -> None:
    """One round for one department."""
    async with open_store(department) as store:
        await remind(store)
        await use.keep_up(store)


async def sweep_department(department: Department) -> list[UUID]:
    """One round for one department; the versions whose tasks were published."""
    async with open_store(department) as store:
        await finish_deletions(store)
        for version in await store.fail_exhausted(ingesting.KILLS_WORKERS):
            await ingesting.record_failure(department, version, "kills_workers")
        if await generations.is_due(store):
            await tell(rebuild.name, department)
        if await golden.is_due(store):
            await tell(ask_golden.name, department)
        return await publish_due(store)


async def _departments(only: UUID | None = None) -> list[Department]:
    """Active departments with a store, each with its organization in place."""
    active = Department.objects.filter(is_active=True, store_ready=True).order_by()
    departments = await fetch(active.filter(pk=only) if only else active)
    companies = {company.pk: company for company in await fetch(Organization.objects.order_by())}
    for department in departments:
        department.organization = companies[department.organization_id]
    return departments
