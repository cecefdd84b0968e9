"""Many files: fair turns between departments, progress, cost, cancelling while one is read, quotas that hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from audit.models import AuditEvent
from departments.documents import ingest, publishing, tasks
from departments.documents.ingest import ingest_version
from departments.documents.listing import look_at_queue
from departments.documents.names import clean_folder
from departments.documents.records import State
from departments.documents.store import StoreDown, open_store
from departments.documents.uploads import UploadRefused, cancel_document
from departments.models import Department
from tests.company import Company
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, events, execute, find, ready, upload, version_of
from tests.provider import Provider

PARTS = "\n\n".join(f"# Part {number}\n\nText number {number} about the garden." for number in range(4))


@pytest.fixture
def hr(company: Company, provider: Provider) -> Department:
    return ready(company.hr)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What would stand in the broker's queue, in order: department and version."""
    published: list[tuple[str, str]] = []
    monkeypatch.setattr(publishing, "_publish", lambda *task: published.append(task))
    monkeypatch.setattr(publishing, "_broker_away_until", 0.0)
    return published


async def test_a_department_stands_in_the_queue_with_a_few_files_however_many_it_has(
    company: Company, hr: Department, queue: list[tuple[str, str]], settings: Any
) -> None:
    settings.INGEST_PARALLEL = 2
    finance = ready(company.finance)
    for number in range(6):
        await upload(hr, company.alice, f"text {number}", f"{number}.txt")
    single = await upload(finance, company.carol, TRAVEL, "travel.md")
    assert [department for department, _ in queue] == [str(hr.pk), str(hr.pk), str(finance.pk)]
    assert queue[2] == (str(finance.pk), str(single.id))
    read: list[str] = []
    while queue:  # one worker, in the order of the queue
        department, version = queue.pop(0)
        read.append(department)
        await ingest_version(hr if department == str(hr.pk) else finance, version)  # type: ignore[arg-type]
    assert read == [str(hr.pk)] * 2 + [str(finance.pk)] + [str(hr.pk)] * 4
    assert {row["state"] for row in await execute(hr, "SELECT state FROM version")} == {"live"}


async def test_uploads_at_the_same_time_do_not_pass_the_share_together(
    company: Company, hr: Department, queue: list[tuple[str, str]], settings: Any
) -> None:
    settings.INGEST_PARALLEL = 3
    await asyncio.gather(*(upload(hr, company.alice, f"text {number}", f"{number}.txt") for number in range(10)))
    assert len(queue) == 3


async def test_a_task_that_the_broker_lost_is_published_again_and_nothing_twice_at_once(
    company: Company, hr: Department, queue: list[tuple[str, str]]
) -> None:
    version = await upload(hr, company.alice, LEAVE)
    assert await tasks.sweep_department(hr) == []
    await execute(hr, "UPDATE version SET queue_again_at = now()")  # a minute later
    assert await tasks.sweep_department(hr) == [version.id]
    assert len(queue) == 2
    await asyncio.gather(*(ingest_version(hr, version.id) for _ in queue))
    assert events(hr).count("document:live") == 1


async def test_progress_and_cost_are_noted_while_a_file_is_read(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "EMBED_AT_ONCE", 1)
    version = await upload(hr, company.alice, PARTS, "parts.md")
    embed, seen = ingest.embed, []

    async def look(*arguments: Any, **more: Any) -> Any:
        seen.append(await version_of(hr, version.id))
        return await embed(*arguments, **more)

    monkeypatch.setattr(ingest, "embed", look)
    await ingest_version(hr, version.id)
    assert [(each.embedded, each.foreseen) for each in seen] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    live = await version_of(hr, version.id)
    booked = AuditEvent.objects.filter(department_id=hr.pk, purpose="ingest", cost__isnull=False)
    assert live.cost == sum(event.cost for event in booked) > 0


async def test_time_left_is_told_once_enough_files_have_ended(company: Company, hr: Department) -> None:
    waiting = [await upload(hr, company.alice, f"wait {number}", f"w{number}.txt") for number in range(2)]
    async with open_store(hr) as store:
        queue = await look_at_queue(store, [version.id for version in waiting])
        assert (queue.working, queue.pace, queue.seconds_left) == (2, None, None)
    for number in range(3):
        await add(hr, company.alice, f"text {number}", f"{number}.txt")
    await execute(
        hr,
        "UPDATE version SET uploaded_at = now() - interval '1 hour', finished_at = now() - (row * interval '2 seconds')"
        " FROM (SELECT id AS finished, row_number() OVER () AS row FROM version WHERE state = 'live') AS ended"
        " WHERE id = finished",
    )
    async with open_store(hr) as store:
        queue = await look_at_queue(store, [version.id for version in waiting])
    assert queue.pace == pytest.approx(2)
    assert queue.seconds_left == pytest.approx(4)
    assert [queue.seconds_until(version.id) for version in waiting] == pytest.approx([2, 4])


async def test_hours_without_work_are_no_part_of_the_time_left(company: Company, hr: Department) -> None:
    for number in range(4):
        await add(hr, company.alice, f"text {number}", f"{number}.txt")
    # two ended four minutes ago; two came a moment ago and took two seconds each
    await execute(
        hr,
        "UPDATE version SET finished_at = now()"
        " - CASE row WHEN 1 THEN 0 WHEN 2 THEN 2 WHEN 3 THEN 240 ELSE 242 END * interval '1 second'"
        " FROM (SELECT id AS finished, row_number() OVER () AS row FROM version) AS ended WHERE id = finished",
    )
    await execute(
        hr,
        "UPDATE version SET uploaded_at = CASE WHEN finished_at > now() - interval '1 minute'"
        " THEN now() - interval '4 seconds' ELSE now() - interval '1 hour' END",
    )
    await upload(hr, company.alice, "one more", "more.txt")
    async with open_store(hr) as store:
        queue = await look_at_queue(store, [])
    assert queue.pace == pytest.approx(2, abs=0.2)


async def test_a_file_cancelled_while_it_is_read_does_not_go_live(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await upload(hr, company.alice, LEAVE)
    publish = ingest._publish_passages

    async def cancel_first(*arguments: Any) -> None:
        assert await cancel_document(hr, company.alice, version.document_id)
        await publish(*arguments)

    monkeypatch.setattr(ingest, "_publish_passages", cancel_first)
    await ingest_version(hr, version.id)
    cancelled = await version_of(hr, version.id)
    assert (cancelled.state, cancelled.is_current) == (State.CANCELLED, False)
    assert not (await find(hr, company.bob, "unused days")).passages
    assert await execute(hr, "SELECT ordinal FROM draft") == []
    assert not await cancel_document(hr, company.alice, version.document_id)


async def test_a_cancelled_new_version_leaves_the_old_one_in_use(company: Company, hr: Department) -> None:
    old = await add(hr, company.alice, LEAVE)
    new = await upload(hr, company.alice, LEAVE.replace("five", "six"), replaces=old.document_id)
    assert await cancel_document(hr, company.alice, new.document_id)
    found = await find(hr, company.bob, "unused days")
    assert [passage.version_id for passage in found.passages] == [old.id]


async def test_a_store_that_was_away_does_not_count_against_the_file(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await upload(hr, company.alice, LEAVE)

    async def away(*arguments: Any) -> None:
        raise StoreDown

    monkeypatch.setattr(ingest, "_publish_passages", away)
    with pytest.raises(StoreDown):
        await ingest_version(hr, version.id)
    waiting = await version_of(hr, version.id)
    assert (waiting.state, waiting.attempts) == (State.RECEIVED, 0)
    monkeypatch.undo()
    await ingest_version(hr, version.id)
    assert (await version_of(hr, version.id)).state is State.LIVE


async def test_a_quota_holds_when_files_come_at_the_same_time(company: Company, hr: Department) -> None:
    Department.objects.filter(pk=hr.pk).update(files_allowed=3)
    hr.refresh_from_db()
    sent = (upload(hr, company.alice, f"text {number}", f"{number}.txt") for number in range(8))
    answers = await asyncio.gather(*sent, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, UploadRefused)]
    assert len(refused) == 5
    assert len(await execute(hr, "SELECT id FROM version")) == 3


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Policies/2026", "Policies/2026"),
        ("../../etc", "etc"),
        ("C:\\Users\\Bo", "C:/Users/Bo"),
        ("/", ""),
        ("a\x00b/\u202ec", "ab/c"),
        ("x" * 150 + "/" + "y" * 150, ("x" * 150 + "/" + "y" * 150)[-200:]),
    ],
)
def test_a_folder_is_a_label_and_no_path(given: str, shown: str) -> None:
    assert clean_folder(given) == shown
