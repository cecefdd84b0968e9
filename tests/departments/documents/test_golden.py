"""A department's own questions for its search: kept, asked, judged, and asked again after a change."""

from __future__ import annotations

from uuid import uuid4

import pytest

from audit.events import Event
from audit.models import AuditEvent
from departments.calls.caller import Caller
from departments.documents import golden, tasks
from departments.documents.deletion import delete_document
from departments.documents.records import DocumentVersion
from departments.documents.store import open_store
from departments.models import Department
from tests.company import Company
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, execute, ready
from tests.provider import Provider

QUESTION = "How many unused days may I carry over into the next year?"
QUOTE = "You may carry five unused days into the next year, until the end of April."
NOTHING = "Which dress code holds for the summer gala in Tokyo?"


@pytest.fixture
async def leave(company: Company, provider: Provider) -> DocumentVersion:
    """HR with two documents; this is the first."""
    ready(company.hr)
    await add(company.hr, company.alice, TRAVEL, "travel.md")
    return await add(company.hr, company.alice, LEAVE)


async def keep(company: Company, version: DocumentVersion) -> None:
    alice = Caller(company.alice.pk, "Alice")
    async with open_store(company.hr) as store:
        assert await golden.add(store, alice, QUESTION, version.document_id, QUOTE)
        assert await golden.add(store, alice, NOTHING, None, "")


async def measured(company: Company, reason: str = "Asked by hand") -> golden.GoldenRun:
    async with open_store(company.hr) as store:
        run = await golden.measure(store, Caller(company.alice.pk, "Alice"), reason, recipe=await store.recipe())
    assert run is not None
    return run


def embeddings_paid(department: Department) -> int:
    return AuditEvent.objects.filter(department_id=department.pk, event=Event.CALL_REQUESTED, purpose="search").count()


async def test_a_right_passage_is_found_and_nothing_is_right_where_nothing_answers(
    company: Company, leave: DocumentVersion
) -> None:
    await keep(company, leave)
    run = await measured(company)
    assert (run.questions, run.found, run.first, run.percent) == (2, 2, 2, 100)
    async with open_store(company.hr) as store:
        results = await golden.results_of(store, run.id)
        found, nothing = [results[question.id] for question in await golden.list_questions(store)]
    assert (found.rank, found.is_right) == (1, True)
    assert (nothing.confident, nothing.is_right) == (False, True)


async def test_a_new_version_that_says_something_else_shows_in_the_hit_rate(
    company: Company, leave: DocumentVersion
) -> None:
    await keep(company, leave)
    other = "# Leave\n\n## Carry over\n\nNothing is kept any longer beyond the thirty-first of December.\n"
    await add(company.hr, company.alice, other, replaces=leave.document_id)
    assert (await measured(company)).percent == 50


async def test_the_passage_is_known_again_in_a_newer_version_and_in_longer_text(
    company: Company, leave: DocumentVersion
) -> None:
    await keep(company, leave)
    await add(company.hr, company.alice, f"{LEAVE}\nAsk the people team first.\n", replaces=leave.document_id)
    assert (await measured(company)).found == 2


async def test_asking_again_costs_nothing(company: Company, leave: DocumentVersion) -> None:
    await keep(company, leave)
    await measured(company)
    assert embeddings_paid(company.hr) == 1
    await measured(company)
    assert embeddings_paid(company.hr) == 1


async def test_after_a_change_they_are_asked_by_themselves_once(company: Company, leave: DocumentVersion) -> None:
    await keep(company, leave)
    await tasks.ask_golden_one(company.hr.pk)
    await tasks.ask_golden_one(company.hr.pk)
    async with open_store(company.hr) as store:
        assert [run.reason for run in await golden.list_runs(store)] == [golden.AFTER_CHANGE]
        await add(company.hr, company.alice, "# Parking\n\nThe garage has a gate.\n", "parking.md")
        assert await golden.is_due(store)
        await tasks.ask_golden_one(company.hr.pk)
        assert len(await golden.list_runs(store)) == 2


async def test_nothing_is_measured_while_documents_are_being_read(company: Company, leave: DocumentVersion) -> None:
    await keep(company, leave)
    await execute(company.hr, "UPDATE version SET state = 'embedding' WHERE id = %s", leave.id)
    async with open_store(company.hr) as store:
        assert not await golden.is_due(store)


async def test_a_deleted_document_takes_its_questions_along(company: Company, leave: DocumentVersion) -> None:
    await keep(company, leave)
    await delete_document(company.hr, company.alice, leave.document_id)
    async with open_store(company.hr) as store:
        assert [question.question for question in await golden.list_questions(store)] == [NOTHING]


async def test_there_is_an_end_to_how_many_are_kept(
    company: Company, leave: DocumentVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "MOST_QUESTIONS", 1)
    alice = Caller(company.alice.pk, "Alice")
    async with open_store(company.hr) as store:
        assert await golden.add(store, alice, QUESTION, leave.document_id, QUOTE)
        assert not await golden.add(store, alice, NOTHING, None, "")
        assert not await golden.remove(store, alice, uuid4())
        [question] = await golden.list_questions(store)
        assert await golden.remove(store, alice, question.id)
        assert await golden.measure(store, alice, "Asked by hand", recipe=await store.recipe()) is None
