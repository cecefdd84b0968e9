"""What a store answers about its documents, and what it refuses."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.dev.services.postgres import SUPERUSER
from departments.documents import deletion, pools
from departments.documents.deletion import delete_document
from departments.documents.originals import open_original
from departments.documents.pools import close_pools
from departments.documents.records import State, place_in_words
from departments.documents.store import ClaimLost, open_store
from departments.documents.tasks import sweep_department
from departments.models import Department
from tests.company import Company
from tests.departments.calls.calling import until
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, events, execute, find, ready, upload, version_of
from tests.provider import Provider
from tests.stack import STACK


@pytest.fixture
def hr(company: Company, provider: Provider) -> Department:
    return ready(company.hr)


@pytest.fixture
def finance(company: Company, provider: Provider) -> Department:
    return ready(company.finance)


async def test_documents_are_listed_newest_first_in_pages_and_by_name(company: Company, hr: Department) -> None:
    for number in range(5):
        await upload(hr, company.alice, f"# Note {number}\n\nText {number}.", f"note-{number}.md")
    async with open_store(hr) as store:
        page = await store.list_documents(offset=1, limit=2)
        assert ([document.filename for document in page.documents], page.total) == (["note-3.md", "note-2.md"], 5)
        found = await store.list_documents(matching="NOTE-4")
        assert [document.filename for document in found.documents] == ["note-4.md"]
        assert (await store.list_documents(matching="%")).total == 0
        assert (await store.list_documents(matching="' OR 1=1 --\x00")).total == 0
        counts = await store.count()
    assert (counts.documents, counts.working, counts.live) == (5, 5, 0)


async def test_a_document_shows_its_versions_and_passages(company: Company, hr: Department) -> None:
    first = await add(hr, company.alice, LEAVE)
    second = await add(hr, company.alice, f"{LEAVE}\n\n## Sale\n\nDays cannot be sold.", replaces=first.document_id)
    async with open_store(hr) as store:
        detail = await store.get_document(first.document_id)
        assert detail is not None
        assert [version.number for version in detail.versions] == [2, 1]
        assert detail.document.latest.id == second.id
        passages = await store.list_passages(second.id)
        assert [passage.ordinal for passage in passages] == [0, 1]
        assert passages[1].heading_path[-1] == "Sale"
        cited = await store.get_passage(second.id, 1)
        assert cited is not None
        assert (cited.title, cited.version_number, cited.is_current) == ("Leave", 2, True)


async def test_another_departments_ids_look_like_ids_that_never_were(
    company: Company, hr: Department, finance: Department
) -> None:
    theirs = await add(finance, company.carol, TRAVEL)
    async with open_store(hr) as store:
        for document_id, version_id in ((theirs.document_id, theirs.id), (uuid4(), uuid4())):
            assert await store.get_document(document_id) is None
            assert await store.get_documents([document_id]) == []
            assert await store.get_version(version_id) is None
            assert await store.list_passages(version_id) == []
            assert await store.get_passage(version_id, 0) is None
            assert await store.retry(document_id) is None
            assert await store.claim(version_id) is None
            assert await open_original(hr, company.alice, version_id) is None
            assert await delete_document(hr, company.alice, document_id) is None
    assert (await version_of(finance, theirs.id)).state is State.LIVE
    assert await open_original(finance, company.carol, theirs.id)


async def test_a_download_is_recorded_before_it_begins(company: Company, hr: Department) -> None:
    version = await upload(hr, company.alice, LEAVE, "Leave 2026.md")
    original = await open_original(hr, company.bob, version.id, address="192.0.2.9")
    assert original is not None
    with original.file as file:
        assert (file.read(), original.filename, original.bytes) == (LEAVE.encode(), "Leave 2026.md", len(LEAVE))
    event = AuditEvent.objects.get(department_id=hr.pk, event=Event.DOCUMENT_DOWNLOADED)
    assert (event.actor_name, event.client_address, event.details["sha256"]) == ("Bob", "192.0.2.9", version.sha256)


async def test_deleting_removes_every_trace_and_leaves_a_receipt(company: Company, hr: Department) -> None:
    first = await add(hr, company.alice, LEAVE)
    second = await add(hr, company.alice, LEAVE.replace("five", "nine"), replaces=first.document_id)
    kept = await add(hr, company.alice, TRAVEL, "travel.md")
    assert len(await execute(hr, "SELECT word FROM lexeme WHERE word = 'unus'")) == 1
    receipt = await delete_document(hr, company.alice, first.document_id, address="192.0.2.9")
    assert receipt is not None
    assert (receipt.versions, receipt.passages, receipt.originals) == (2, 2, 2)
    assert not any(default_storage.exists(version.original_key) for version in (first, second))
    async with open_store(hr) as store:
        assert await store.get_document(first.document_id) is None
        assert await store.get_passage(second.id, 0) is None
        assert (await store.recipe()).passages == 1
    assert [row["id"] for row in await execute(hr, "SELECT id FROM document")] == [kept.document_id]
    assert not await execute(hr, "SELECT word FROM lexeme WHERE word = 'day' AND passages > 1")
    assert await execute(hr, "SELECT word FROM lexeme WHERE word = 'unus'") == []
    event = AuditEvent.objects.get(department_id=hr.pk, event=Event.DOCUMENT_DELETED)
    assert (event.actor_name, event.details["originals"], event.client_address) == ("Alice", 2, "192.0.2.9")


async def test_a_deletion_that_was_interrupted_is_finished_by_the_sweep(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await add(hr, company.alice, LEAVE)

    def crash(key: str) -> None:
        raise RuntimeError(key)

    monkeypatch.setattr(deletion, "delete_original", crash)
    with pytest.raises(RuntimeError):
        await delete_document(hr, company.alice, version.document_id)
    assert not (await find(hr, company.bob, "unused days")).passages  # gone for people at once
    monkeypatch.undo()
    await sweep_department(hr)
    assert not default_storage.exists(version.original_key)
    assert await execute(hr, "SELECT id FROM document") == []
    assert events(hr)[-1] == Event.DOCUMENT_DELETED


async def test_a_document_deleted_while_it_is_read_does_not_come_back(company: Company, hr: Department) -> None:
    version = await upload(hr, company.alice, LEAVE)
    async with open_store(hr) as store:
        claim = await store.claim(version.id)
        assert claim is not None
        await delete_document(hr, company.alice, version.document_id)
        with pytest.raises(ClaimLost):
            await store.start_embedding(
                claim, kind="markdown", title="x", pages=None, labels=[], model="m", dimensions=1536, foreseen=1
            )
        with pytest.raises(ClaimLost):
            async with store.publishing(claim, 0):
                pytest.fail("a claim that was lost must not publish")
    assert await execute(hr, "SELECT id FROM version") == []


async def test_without_the_claim_a_worker_changes_nothing(company: Company, hr: Department) -> None:
    version = await upload(hr, company.alice, LEAVE)
    async with open_store(hr) as store:
        lost = await store.claim(version.id)
        await execute(hr, "UPDATE version SET lease_until = now() - interval '1 second'")
        held = await store.claim(version.id)
        assert lost is not None
        assert held is not None
        await store.start_embedding(
            held, kind="", title="Leave", pages=None, labels=[], model="m", dimensions=1536, foreseen=1
        )
        for attempt in (
            store.renew(lost),
            store.save_drafts(lost, []),
            store.fail(lost, "x"),
            store.postpone(lost, "x", timezone.now() + timedelta(hours=1)),
        ):
            with pytest.raises(ClaimLost):
                await attempt
        with pytest.raises(ClaimLost):
            async with store.publishing(lost, 0):
                pytest.fail("a claim that was lost must not publish")
        await store.renew(held)
    assert (await version_of(hr, version.id)).state is State.EMBEDDING


async def test_many_readers_share_a_few_connections(company: Company, hr: Department) -> None:
    await add(hr, company.alice, LEAVE)
    async with open_store(hr) as store:
        counts = await asyncio.gather(*(store.count() for _ in range(60)))
    assert {count.live for count in counts} == {1}
    # those that made and filled the store may take a moment to be gone from the server's list
    mine = "SELECT count(*) AS open FROM pg_stat_activity WHERE usename = current_user"
    for _ in range(20):
        ((open_now,),) = [row.values() for row in await execute(hr, mine)]
        if open_now <= 4:
            break
        await asyncio.sleep(0.1)
    assert open_now <= 4
    await close_pools()


def open_connections(department: Department) -> int:
    with psycopg.connect(STACK.postgres.url(SUPERUSER, "postgres"), autocommit=True) as server:
        mine = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        return sum(count for (count,) in server.execute(mine, [department.store_name]))


def has_left(department: Department) -> bool:
    return open_connections(department) == 0


async def test_a_process_keeps_connections_to_a_few_departments_only(
    hr: Department, finance: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool by itself would give one idle connection back in half a minute: too slow for hundreds of departments."""
    monkeypatch.setattr(settings, "STORE_POOLS", 1)
    await close_pools()
    async with open_store(hr) as store, open_store(finance) as other:
        for asked, rested in ((store, finance), (other, hr), (store, finance)):
            await asked.count()
            await until(partial(has_left, rested))
            assert open_connections(asked.department)
        async with store.connection():
            await other.count()
            assert open_connections(hr)  # what is in use stays
            assert open_connections(finance)
            assert await store.count() == await other.count()
    await close_pools()


async def test_the_first_question_after_an_outage_meets_no_dead_connection(
    hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool's own pauses between dead ones (0, 1, 2 s) would be longer than a person waits."""
    monkeypatch.setattr(pools, "TIMEOUT", 2.5)
    await close_pools()
    async with open_store(hr) as store:
        async with AsyncExitStack() as held:
            for _ in range(settings.STORE_POOL_SIZE):
                await held.enter_async_context(store.connection())
        with psycopg.connect(STACK.postgres.url(SUPERUSER, hr.store_name), autocommit=True) as server:
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ended = server.execute(f"SELECT count(pg_terminate_backend(pid, 5000)) {others}").fetchone()
        assert ended is not None
        assert ended[0] >= settings.STORE_POOL_SIZE
        assert (await store.count()).documents == 0
    await close_pools()


@pytest.mark.parametrize(
    ("locator", "words"),
    [
        ({"page": 4}, "page 4"),
        ({"sheet": "Budget", "row_from": 3, "row_to": 9}, "sheet Budget, rows 3–9"),
        ({"sheet": "Budget", "row_from": 3, "row_to": 3}, "sheet Budget, row 3"),
        ({"slide": 2, "section": "Notes"}, "slide 2, Notes"),
        ({}, ""),
    ],
)
def test_a_place_is_said_in_words(locator: dict[str, object], words: str) -> None:
    assert place_in_words(locator) == words
