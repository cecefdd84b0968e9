"""From upload to live, with a real store, the real door and the simulator behind it."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone
from kombu import Connection

from audit.database import DatabaseDown
from audit.events import Event
from audit.models import AuditEvent
from departments.documents import ingest, publishing, tasks, uploads
from departments.documents.ingest import ingest_version
from departments.documents.names import clean_filename
from departments.documents.records import State
from departments.documents.store import NoStore, Store, open_store
from departments.documents.uploads import UploadRefused, accept_upload, retry_document
from departments.loop import run
from departments.models import Department
from tests.company import Company, give_store, set_limit
from tests.departments.documents.shelf import (
    LEAVE,
    TRAVEL,
    add,
    events,
    execute,
    find,
    read,
    ready,
    upload,
    uploaded,
    version_of,
)
from tests.provider import Provider

LAPSE = "UPDATE version SET lease_until = now() - interval '1 second', queue_again_at = now()"


@pytest.fixture
def hr(company: Company, provider: Provider) -> Department:
    return ready(company.hr)


async def test_an_upload_becomes_a_document_that_can_be_asked_about(company: Company, hr: Department) -> None:
    waiting = await upload(hr, company.alice, LEAVE, address="192.0.2.7")
    assert (waiting.state, waiting.is_current) == (State.RECEIVED, False)
    live = await read(hr, waiting)
    assert (live.state, live.is_current, live.passages, live.kind) == (State.LIVE, True, 1, "markdown")
    assert live.title == "Leave"
    assert live.sentence == ""
    found = await find(hr, company.bob, "How many unused days may I carry over?")
    assert found.confident
    assert found.passages[0].document_id == live.document_id
    assert found.passages[0].heading_path == ["Leave", "Carry over"]
    assert events(hr) == [Event.STORE_CREATED, Event.DOCUMENT_UPLOADED, Event.DOCUMENT_LIVE]
    uploaded_event = AuditEvent.objects.get(department_id=hr.pk, event=Event.DOCUMENT_UPLOADED)
    assert (uploaded_event.actor_name, uploaded_event.client_address) == ("Alice", "192.0.2.7")


async def test_the_embeddings_are_booked_on_the_person_who_uploaded(company: Company, hr: Department) -> None:
    await add(hr, company.alice, LEAVE)
    requested = AuditEvent.objects.get(department_id=hr.pk, event=Event.CALL_REQUESTED)
    assert (requested.actor_name, requested.purpose) == ("Alice", "ingest")


async def test_the_original_is_kept_as_it_came_and_its_name_is_only_a_label(company: Company, hr: Department) -> None:
    version = await upload(hr, company.alice, LEAVE, "../../etc/pass\x00wd.md")
    assert version.filename == "passwd.md"
    folder, _, name = version.original_key.partition("/")
    assert folder == str(hr.pk)
    assert "passwd" not in name
    with default_storage.open(version.original_key) as original:
        assert original.read() == LEAVE.encode()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("C:\\Users\\bo\\plan.docx", "plan.docx"),
        ("..", ".."),
        ("/", "document"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a" * 300 + ".pdf", "a" * 196 + ".pdf"),
        ("%2e%2e%2fx.md", "%2e%2e%2fx.md"),
    ],
)
def test_a_filename_is_made_fit_to_be_shown(given: str, shown: str) -> None:
    assert clean_filename(given) == shown


async def test_the_same_bytes_are_recognised_while_waiting_and_when_live(company: Company, hr: Department) -> None:
    first = await upload(hr, company.alice, LEAVE)
    again = await accept_upload(hr, company.alice, "copy.md", uploaded(LEAVE))
    assert (again.is_duplicate, again.version.id) == (True, first.id)
    await read(hr, first)
    once_more = await accept_upload(hr, company.alice, "copy.md", uploaded(LEAVE))
    assert (once_more.is_duplicate, once_more.version.id) == (True, first.id)
    other = await accept_upload(hr, company.alice, "travel.md", uploaded(TRAVEL))
    assert not other.is_duplicate
    assert len(default_storage.listdir(str(hr.pk))[1]) == 2


async def test_the_same_bytes_sent_twice_at_one_moment_are_stored_once(company: Company, hr: Department) -> None:
    sent = [accept_upload(hr, company.alice, f"copy {number}.md", uploaded(LEAVE)) for number in range(6)]
    uploads = await asyncio.gather(*sent)
    assert sorted(upload.is_duplicate for upload in uploads) == [False, *[True] * 5]
    assert len({upload.version.id for upload in uploads}) == 1
    assert len(default_storage.listdir(str(hr.pk))[1]) == 1


async def test_it_refuses_what_is_empty_or_too_large_and_keeps_nothing(
    company: Company, hr: Department, settings: object
) -> None:
    with pytest.raises(UploadRefused, match="empty"):
        await upload(hr, company.alice, "")
    settings.UPLOAD_BYTES = 10  # type: ignore[attr-defined]
    with pytest.raises(UploadRefused, match="larger"):
        await upload(hr, company.alice, LEAVE)
    async with open_store(hr) as store:
        assert (await store.list_documents()).total == 0
    assert not default_storage.exists(str(hr.pk))


async def test_a_department_without_a_store_says_who_can_help(company: Company) -> None:
    with pytest.raises(NoStore) as refused:
        await upload(company.finance, company.carol, LEAVE)
    assert "IT" in refused.value.sentence


async def test_a_broker_that_is_away_costs_an_upload_little_and_the_sweep_finds_it(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def hang(department_id: str, version_id: str) -> None:
        ended.wait(5)

    monkeypatch.setattr(publishing, "_publish", hang)
    monkeypatch.setattr(publishing, "_broker_away_until", 0.0)
    started = asyncio.get_running_loop().time()
    version = await upload(hr, company.alice, LEAVE)
    assert asyncio.get_running_loop().time() - started < 2
    ended.set()
    assert version.state is State.RECEIVED
    published: list[str] = []
    monkeypatch.setattr(publishing, "_broker_away_until", 0.0)
    monkeypatch.setattr(publishing, "_publish", lambda _, version_id: published.append(version_id))
    assert await tasks.sweep_department(hr) == []  # the upload itself has a moment to be taken up
    await execute(hr, "UPDATE version SET queue_again_at = now()")
    await tasks.sweep_department(hr)
    await tasks.sweep_department(hr)  # and is not published again at once
    assert published == [str(version.id)]


async def test_a_broker_that_refuses_does_not_refuse_an_upload(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish(department_id: str, version_id: str) -> None:
        options = {"socket_connect_timeout": 1, "max_retries": 0}
        with Connection("redis://127.0.0.1:1/0", transport_options=options) as nobody:
            tasks.ingest.apply_async((department_id, version_id), retry=False, connection=nobody)

    monkeypatch.setattr(publishing, "_publish", publish)
    monkeypatch.setattr(publishing, "_broker_away_until", 0.0)
    version = await upload(hr, company.alice, LEAVE)
    assert publishing._broker_away_until > 0
    assert (await read(hr, version)).state is State.LIVE


async def test_an_upload_that_cannot_be_recorded_is_not_kept(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(entry: object) -> None:
        raise DatabaseDown("the control database does not answer")

    monkeypatch.setattr(uploads, "arecord", refuse)
    with pytest.raises(DatabaseDown):
        await upload(hr, company.alice, LEAVE)
    assert default_storage.listdir(str(hr.pk))[1] == []
    async with open_store(hr) as store:
        assert (await store.list_documents()).total == 0


async def test_what_cannot_be_recorded_does_not_go_live(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await upload(hr, company.alice, LEAVE)

    async def refuse(entry: object) -> None:
        raise DatabaseDown("the control database does not answer")

    monkeypatch.setattr(ingest, "arecord", refuse)
    with pytest.raises(DatabaseDown):
        await ingest_version(hr, version.id)
    assert (await version_of(hr, version.id)).state is State.EMBEDDING
    monkeypatch.undo()
    await execute(hr, LAPSE)
    assert (await read(hr, version)).state is State.LIVE


async def test_a_file_that_cannot_be_read_fails_with_what_to_do(company: Company, hr: Department) -> None:
    failed = await add(hr, company.alice, "%PDF-1.7 and then nothing that makes sense", "broken.pdf")
    assert failed.state is State.FAILED
    assert "upload it again" in failed.sentence
    assert not failed.is_current
    assert events(hr)[-1] == Event.DOCUMENT_FAILED


async def test_a_failed_document_can_be_tried_again_and_a_live_one_not(company: Company, hr: Department) -> None:
    version = await upload(hr, company.alice, LEAVE)
    await execute(hr, "UPDATE version SET state = 'failed', sentence = 'x'")
    assert await retry_document(hr, company.alice, version.document_id)
    assert (await read(hr, version)).state is State.LIVE
    assert not await retry_document(hr, company.alice, version.document_id)


async def test_an_original_that_is_gone_fails_the_document(company: Company, hr: Department) -> None:
    version = await upload(hr, company.alice, LEAVE)
    default_storage.delete(version.original_key)
    failed = await read(hr, version)
    assert failed.state is State.FAILED
    assert "Upload it again" in failed.sentence


async def test_a_budget_lets_a_document_wait_and_not_fail(company: Company, hr: Department) -> None:
    limit = set_limit(company, person=company.alice, tokens_per_day=3)
    waiting = await add(hr, company.alice, LEAVE)
    assert waiting.state is State.RECEIVED
    assert "budget" in waiting.sentence
    assert waiting.retry_at is not None
    assert waiting.retry_at <= timezone.now() + timedelta(minutes=16)
    assert (await read(hr, waiting)).state is State.RECEIVED  # not before its time
    limit.delete()
    await execute(hr, "UPDATE version SET retry_at = now()")
    assert (await read(hr, waiting)).state is State.LIVE


async def test_a_provider_that_is_away_lets_a_document_wait(company: Company, provider: Provider) -> None:
    give_store(company.hr)  # without a key
    waiting = await add(company.hr, company.alice, LEAVE)
    assert waiting.state is State.RECEIVED
    assert "key" in waiting.sentence
    assert waiting.attempts == 0


async def test_two_workers_never_read_the_same_version(company: Company, hr: Department) -> None:
    version = await upload(hr, company.alice, LEAVE)
    async with open_store(hr) as store:
        claims = await asyncio.gather(*(store.claim(version.id) for _ in range(6)))
    assert sum(claim is not None for claim in claims) == 1


async def test_a_worker_that_died_is_followed_by_another_after_the_lease(company: Company, hr: Department) -> None:
    version = await upload(hr, company.alice, LEAVE)
    async with open_store(hr) as store:
        assert await store.claim(version.id)
    assert (await read(hr, version)).state is State.EXTRACTING  # the lease still holds
    await execute(hr, LAPSE)
    assert await tasks.sweep_department(hr) == [version.id]
    assert (await read(hr, version)).state is State.LIVE


async def test_a_document_that_kills_its_worker_three_times_fails(company: Company, hr: Department) -> None:
    version = await upload(hr, company.alice, LEAVE)
    async with open_store(hr) as store:
        for _ in range(3):
            assert await store.claim(version.id)
            await execute(hr, LAPSE)
        assert await store.claim(version.id) is None
    await tasks.sweep_department(hr)
    failed = await version_of(hr, version.id)
    assert failed.state is State.FAILED
    assert "three times" in failed.sentence
    assert events(hr)[-1] == Event.DOCUMENT_FAILED


async def test_what_was_embedded_before_a_crash_is_not_paid_for_twice(
    company: Company, hr: Department, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "EMBED_AT_ONCE", 1)
    sections = "\n\n".join(f"# Part {number}\n\nText number {number} about the garden." for number in range(4))
    version = await upload(hr, company.alice, sections, "parts.md")
    embed, asked = ingest.embed, []

    async def die_at_the_third(department: Department, caller: object, texts: list[str], **more: object) -> object:
        if len(asked) == 2:
            raise asyncio.CancelledError
        asked.extend(texts)
        return await embed(department, caller, texts, **more)

    monkeypatch.setattr(ingest, "embed", die_at_the_third)
    with pytest.raises(asyncio.CancelledError):
        await ingest_version(hr, version.id)

    async def go_on(department: Department, caller: object, texts: list[str], **more: object) -> object:
        asked.extend(texts)
        return await embed(department, caller, texts, **more)

    monkeypatch.setattr(ingest, "embed", go_on)
    await execute(hr, LAPSE)
    live = await read(hr, version)
    assert (live.state, live.passages) == (State.LIVE, 4)
    assert len(asked) == len(set(asked)) == 4


async def test_drafts_lost_in_a_crash_of_the_database_never_make_half_a_document(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await upload(hr, company.alice, LEAVE)
    publish = ingest._publish_passages

    async def publish_late(*arguments: Any) -> None:
        await execute(hr, "TRUNCATE draft")
        await publish(*arguments)

    monkeypatch.setattr(ingest, "_publish_passages", publish_late)
    await ingest_version(hr, version.id)
    assert not (await find(hr, company.bob, "unused days")).passages
    monkeypatch.setattr(ingest, "_publish_passages", publish)
    await execute(hr, LAPSE)
    assert (await read(hr, version)).passages == 1


async def test_a_new_version_takes_the_place_of_the_old_which_stays_readable(company: Company, hr: Department) -> None:
    old = await add(hr, company.alice, LEAVE)
    new = await upload(hr, company.alice, LEAVE.replace("five", "seven"), replaces=old.document_id)
    assert new.number == 2
    found = await find(hr, company.bob, "unused days")
    assert [passage.version_id for passage in found.passages] == [old.id]  # until the new one is live
    await read(hr, new)
    found = await find(hr, company.bob, "unused days")
    assert [passage.version_id for passage in found.passages] == [new.id]
    async with open_store(hr) as store:
        cited = await store.get_passage(old.id, 0)
        assert cited is not None
        assert "five" in cited.text
        assert not cited.is_current
        assert (await store.recipe()).passages == 1
        assert (await store.list_documents()).total == 1


async def test_a_slow_older_version_does_not_displace_a_newer_one(company: Company, hr: Department) -> None:
    first = await add(hr, company.alice, LEAVE)
    slow = await upload(hr, company.alice, LEAVE.replace("five", "six"), replaces=first.document_id)
    fast = await add(hr, company.alice, LEAVE.replace("five", "seven"), replaces=first.document_id)
    late = await read(hr, slow)
    assert (late.state, late.is_current) == (State.LIVE, False)
    found = await find(hr, company.bob, "unused days")
    assert [passage.version_id for passage in found.passages] == [fast.id]


async def test_a_file_cannot_replace_what_is_not_there(company: Company, hr: Department) -> None:
    finance = ready(company.finance)
    theirs = await add(finance, company.carol, TRAVEL)
    with pytest.raises(UploadRefused, match="not there any more"):
        await upload(hr, company.alice, LEAVE, replaces=theirs.document_id)
    assert not default_storage.exists(str(hr.pk)) or default_storage.listdir(str(hr.pk))[1] == []


async def test_the_task_finds_its_department_and_leaves_a_closed_one_alone(company: Company, hr: Department) -> None:
    version = await upload(hr, company.alice, LEAVE)
    Department.objects.filter(pk=hr.pk).update(is_active=False)
    await tasks.ingest_one(hr.pk, version.id)
    assert (await version_of(hr, version.id)).state is State.RECEIVED
    Department.objects.filter(pk=hr.pk).update(is_active=True)
    await tasks.ingest_one(hr.pk, version.id)
    assert (await version_of(hr, version.id)).state is State.LIVE


def test_the_tasks_run_outside_an_event_loop(company: Company, hr: Department) -> None:
    version = run(upload(hr, company.alice, LEAVE))
    tasks.ingest(str(hr.pk), str(version.id))
    assert run(version_of(hr, version.id)).state is State.LIVE
    tasks.sweep()


async def test_one_departments_trouble_does_not_hold_up_the_sweep_of_others(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    finance = ready(company.finance)
    waiting = await upload(finance, company.carol, TRAVEL)
    await execute(finance, "UPDATE version SET queue_again_at = now()")
    finish, published = tasks.finish_deletions, []

    async def trip(store: Store) -> int:
        if store.department.pk == hr.pk:
            raise OSError("the storage of originals is away")
        return await finish(store)

    monkeypatch.setattr(tasks, "finish_deletions", trip)
    monkeypatch.setattr(publishing, "_publish", lambda _, version_id: published.append(version_id))
    monkeypatch.setattr(publishing, "_broker_away_until", 0.0)
    await tasks.sweep_all()
    assert str(waiting.id) in published
