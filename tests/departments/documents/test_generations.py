"""Embedding everything anew beside the running search: built, compared, switched, undone, and killed in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.utils import timezone

from departments.calls.caller import Caller
from departments.documents import generations, golden, tasks
from departments.documents.deletion import delete_document
from departments.documents.extract import Extracted, extract
from departments.documents.records import DocumentVersion, Recipe
from departments.documents.store import open_store
from tests.company import Company, set_limit
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, execute, find, ready
from tests.provider import Provider

QUESTION = "How many unused days may I carry over into the next year?"
SMALLER = Recipe(0, "text-embedding-3-small", 256, 60)


@pytest.fixture
async def leave(company: Company, provider: Provider) -> DocumentVersion:
    ready(company.hr)
    await add(company.hr, company.alice, TRAVEL, "travel.md")
    return await add(company.hr, company.alice, LEAVE)


def alice(company: Company) -> Caller:
    return Caller(company.alice.pk, "Alice")


async def start(company: Company, wanted: Recipe = SMALLER) -> None:
    async with open_store(company.hr) as store:
        await generations.start(store, alice(company), wanted)


async def switch(company: Company) -> None:
    async with open_store(company.hr) as store:
        await generations.switch(store, alice(company))


async def recipe(company: Company) -> Recipe:
    async with open_store(company.hr) as store:
        return await store.recipe()


async def test_the_search_goes_on_as_before_until_the_switch_and_is_another_after_it(
    company: Company, leave: DocumentVersion
) -> None:
    before = await recipe(company)
    await start(company)
    await tasks.rebuild_one(company.hr.pk)
    assert await recipe(company) == before
    async with open_store(company.hr) as store:
        shadow = await generations.shadow_of(store)
    assert shadow is not None
    assert (shadow.is_ready, shadow.done, shadow.documents) == (True, 2, 2)
    await switch(company)
    after = await recipe(company)
    assert (after.dimensions, after.passage_tokens, after.generation) == (256, 60, before.generation + 1)
    assert (await find(company.hr, company.bob, QUESTION)).passages[0].title == "Leave"


async def test_scans_are_read_again_in_the_languages_of_the_setting(
    company: Company, leave: DocumentVersion, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OCR_LANGUAGES = "deu+eng"
    asked: list[str] = []

    def noted(path: Path, filename: str, *, ocr_languages: str) -> Extracted:
        asked.append(ocr_languages)
        return extract(path, filename, ocr_languages=ocr_languages)

    monkeypatch.setattr(generations, "extract", noted)
    await start(company)
    await tasks.rebuild_one(company.hr.pk)
    assert asked == ["deu+eng"] * 2


async def test_what_is_uploaded_after_a_switch_is_embedded_in_the_new_way(
    company: Company, leave: DocumentVersion
) -> None:
    await start(company)
    await tasks.rebuild_one(company.hr.pk)
    await switch(company)
    added = await add(company.hr, company.alice, "# Parking\n\nThe garage is behind the gate.\n", "parking.md")
    assert added.is_current
    assert (await find(company.hr, company.bob, "Where is the garage?")).passages[0].title == "Parking"
    [row] = await execute(
        company.hr, "SELECT vector_dims(embedding) AS size FROM passage WHERE version_id = %s", added.id
    )
    assert row["size"] == 256


async def test_both_can_be_asked_the_golden_questions(company: Company, leave: DocumentVersion) -> None:
    async with open_store(company.hr) as store:
        await golden.add(
            store, alice(company), QUESTION, leave.document_id, "You may carry five unused days into the next year"
        )
        await start(company)
        await tasks.rebuild_one(company.hr.pk)
        shadow = await generations.shadow_of(store)
        assert shadow is not None
        run = await golden.measure(store, alice(company), "Compared", recipe=shadow.recipe, tables="_shadow")
    assert run is not None
    assert (run.generation, run.passage_tokens, run.found) == (shadow.recipe.generation, 60, 1)


async def test_a_document_that_comes_meanwhile_is_read_before_the_switch(
    company: Company, leave: DocumentVersion
) -> None:
    await start(company)
    await tasks.rebuild_one(company.hr.pk)
    await add(company.hr, company.alice, "# Parking\n\nThe garage is behind the gate.\n", "parking.md")
    with pytest.raises(generations.NotNow, match="not ready"):
        await switch(company)
    await tasks.rebuild_one(company.hr.pk)
    await switch(company)
    assert (await find(company.hr, company.bob, "Where is the garage?")).passages[0].title == "Parking"


async def test_a_document_deleted_meanwhile_is_nowhere_after_the_switch(
    company: Company, leave: DocumentVersion
) -> None:
    await start(company)
    await tasks.rebuild_one(company.hr.pk)
    await delete_document(company.hr, company.alice, leave.document_id)
    await switch(company)
    found = await find(company.hr, company.bob, QUESTION)
    assert {passage.title for passage in found.passages} == {"Travel"}
    counted = await execute(company.hr, "SELECT word, passages FROM lexeme ORDER BY word")
    there = "SELECT lexeme AS word, count(*) AS passages FROM passage, unnest(lexemes) WHERE searchable"
    assert counted == await execute(company.hr, f"{there} GROUP BY 1 ORDER BY 1")


async def test_an_old_answer_still_opens_what_it_cited(company: Company, leave: DocumentVersion) -> None:
    cited = (await find(company.hr, company.bob, QUESTION)).passages[0]
    await start(company)
    await tasks.rebuild_one(company.hr.pk)
    await switch(company)
    async with open_store(company.hr) as store:
        opened = await store.get_passage(cited.version_id, cited.ordinal, cited.generation)
        shown = await store.list_passages(cited.version_id, generation=cited.generation)
    assert opened is not None
    assert opened.text == cited.text
    assert [passage.generation for passage in shown] == [cited.generation]


async def test_the_way_back_is_immediate_where_nothing_changed(company: Company, leave: DocumentVersion) -> None:
    before = await recipe(company)
    await start(company)
    await tasks.rebuild_one(company.hr.pk)
    await switch(company)
    async with open_store(company.hr) as store:
        assert await generations.kept_of(store) == before
        assert await generations.undo(store, alice(company))
    assert await recipe(company) == before
    assert (await find(company.hr, company.bob, QUESTION)).passages[0].title == "Leave"


async def test_the_way_back_brings_along_what_came_since(company: Company, leave: DocumentVersion) -> None:
    await start(company)
    await tasks.rebuild_one(company.hr.pk)
    await switch(company)
    await add(company.hr, company.alice, "# Parking\n\nThe garage is behind the gate.\n", "parking.md")
    async with open_store(company.hr) as store:
        assert not await generations.undo(store, alice(company))
    await tasks.rebuild_one(company.hr.pk)
    await switch(company)
    assert (await recipe(company)).dimensions == 1536
    assert (await find(company.hr, company.bob, "Where is the garage?")).passages[0].title == "Parking"


async def test_a_worker_that_died_is_followed_by_another_that_pays_for_nothing_twice(
    company: Company, leave: DocumentVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(company)
    prepared = []
    whole = generations._prepare

    async def dies_at_the_second(*arguments: object) -> None:
        if prepared:
            raise KeyboardInterrupt
        prepared.append(arguments)
        await whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(generations, "_prepare", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        await tasks.rebuild_one(company.hr.pk)
    monkeypatch.setattr(generations, "_prepare", whole)
    async with open_store(company.hr) as store:
        assert not await generations.build(store)  # the dead worker's lease still runs
        await execute(company.hr, "UPDATE shadow SET lease_until = now() - interval '1 second'")
        assert await generations.is_due(store)
        assert await generations.build(store)
        shadow = await generations.shadow_of(store)
    assert shadow is not None
    assert (shadow.is_ready, shadow.done) == (True, 2)
    twice = "SELECT version_id FROM passage_shadow WHERE searchable GROUP BY version_id, ordinal HAVING count(*) > 1"
    assert await execute(company.hr, twice) == []


async def test_a_budget_makes_it_wait_with_its_sentence(company: Company, leave: DocumentVersion) -> None:
    await start(company)
    limit = set_limit(company, person=company.alice, tokens_per_day=1)
    await tasks.rebuild_one(company.hr.pk)
    async with open_store(company.hr) as store:
        waiting = await generations.shadow_of(store)
        assert waiting is not None
        assert waiting.sentence
        assert waiting.retry_at is not None
        assert waiting.retry_at > timezone.now() + timedelta(seconds=1)
        limit.delete()
        await execute(company.hr, "UPDATE shadow SET retry_at = now()")
        assert await generations.build(store)


async def test_only_one_at_a_time_and_it_can_be_given_up(company: Company, leave: DocumentVersion) -> None:
    await start(company)
    with pytest.raises(generations.NotNow, match="under way"):
        await start(company)
    async with open_store(company.hr) as store:
        assert await generations.give_up(store, alice(company))
        assert not await generations.give_up(store, alice(company))
        assert await generations.shadow_of(store) is None
        with pytest.raises(generations.NotNow, match="nothing to go back to"):
            await generations.undo(store, alice(company))
    await start(company, replace(SMALLER, passage_tokens=100))


async def test_a_file_that_was_being_read_during_the_switch_is_read_again(
    company: Company, leave: DocumentVersion
) -> None:
    await start(company)
    await tasks.rebuild_one(company.hr.pk)
    await execute(company.hr, "UPDATE version SET embedding_model = 'older' WHERE id = %s", leave.id)
    await execute(
        company.hr, "UPDATE version SET state = 'embedding', claimed_by = gen_random_uuid() WHERE id = %s", leave.id
    )
    [row] = await execute(
        company.hr, "SELECT publish(id, claimed_by, 0) AS published FROM version WHERE id = %s", leave.id
    )
    assert not row["published"]
