"""What a question finds, in whose store, and when it should say that it found nothing."""

from __future__ import annotations

import math
import random

import pytest
from django.conf import LazySettings
from pgvector import HalfVector

from audit.events import Event
from audit.models import AuditEvent
from departments.calls.caller import Caller, CallFailed, CallRefused
from departments.documents import search as searching
from departments.documents import store as storing
from departments.documents.search import index_reach, search, search_by_vector, text_reach
from departments.documents.store import open_store
from departments.models import Department
from tests.company import Company, give_store, set_limit
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, execute, find, ready, upload
from tests.provider import Provider


@pytest.fixture
def hr(company: Company, provider: Provider) -> Department:
    return ready(company.hr)


@pytest.fixture
def finance(company: Company, provider: Provider) -> Department:
    return ready(company.finance)


def calls(department: Department) -> int:
    return AuditEvent.objects.filter(department_id=department.pk, event=Event.CALL_REQUESTED).count()


async def test_an_empty_store_is_answered_without_a_call(company: Company, hr: Department) -> None:
    await upload(hr, company.alice, LEAVE)  # waiting, so there is nothing to search
    result = await find(hr, company.bob, "How many days?")
    assert (result.passages, result.confident, calls(hr)) == ([], False, 0)


async def test_a_question_goes_through_the_door_in_the_name_of_who_asks(company: Company, hr: Department) -> None:
    await add(hr, company.alice, LEAVE)
    await find(hr, company.bob, "unused days")
    asked = AuditEvent.objects.get(department_id=hr.pk, event=Event.CALL_REQUESTED, purpose="search")
    assert asked.actor_name == "Bob"


async def test_a_budget_stops_a_search(company: Company, hr: Department) -> None:
    await add(hr, company.alice, LEAVE)
    set_limit(company, person=company.bob, tokens_per_day=1)
    with pytest.raises(CallRefused):
        await find(hr, company.bob, "How many unused days may I carry over into the next year?")


async def test_without_a_key_there_is_no_search(company: Company, hr: Department, provider: Provider) -> None:
    give_store(company.finance)
    await execute(company.finance, "UPDATE corpus SET passages = 1")
    with pytest.raises(CallFailed):
        await find(company.finance, company.carol, "days")


async def test_no_question_finds_another_departments_passage(
    company: Company, hr: Department, finance: Department
) -> None:
    mine = await add(hr, company.alice, LEAVE)
    await add(finance, company.carol, TRAVEL)
    for question in ("meals on a journey", "receipts 40 EUR", "' OR true --", "everything you have"):
        found = await find(hr, company.carol, question)
        assert {passage.version_id for passage in found.passages} == {mine.id}


async def test_a_question_is_not_asked_in_a_store_of_another_department(
    company: Company, hr: Department, finance: Department
) -> None:
    async with open_store(hr) as store:
        with pytest.raises(ValueError, match="own store"):
            await search(store, finance, Caller(company.carol.pk, "Carol"), "meals")


async def test_it_is_confident_of_what_is_there_and_not_of_what_is_not(company: Company, hr: Department) -> None:
    await add(hr, company.alice, LEAVE)
    await add(hr, company.alice, TRAVEL, "travel.md")
    assert (await find(hr, company.bob, "Up to how much are meals refunded?")).confident
    assert not (await find(hr, company.bob, "Which dress code holds for the summer gala in Tokyo?")).confident


@pytest.mark.parametrize(
    ("question", "cosine", "confident", "worth_reading"),
    [
        ("How many unused days may I carry over?", 0.55, True, True),
        ("Do holidays that I did not take expire?", 0.50, True, True),  # not one word of the passage
        ("Do holidays that I did not take expire?", 0.40, False, True),
        ("Which dress code holds for the summer gala in Tokyo?", 0.12, False, False),
        ("Which bus goes to the airport next Friday?", 0.20, False, False),
    ],
)
async def test_a_single_document_is_judged_by_a_model_that_nobody_measured(
    company: Company,
    hr: Department,
    settings: LazySettings,
    question: str,
    cosine: float,
    confident: bool,
    worth_reading: bool,
) -> None:
    """The vectors are given, so this is the same on every machine; 0.5 and 0.12 are usual of OpenAI's models."""
    await add(hr, company.alice, LEAVE)
    settings.SIMULATED = False
    direction = [1.0] + [0.0] * 1535
    await execute(hr, "UPDATE passage SET embedding = %s", HalfVector(direction))
    asked = [cosine, math.sqrt(1 - cosine**2)] + [0.0] * 1534
    async with open_store(hr) as store:
        result = await search_by_vector(store, question, asked, recipe=await store.recipe())
    assert len(result.passages) == 1
    assert result.passages[0].similarity == pytest.approx(cosine, abs=0.01)
    assert (result.confident, result.worth_reading) == (confident, worth_reading)


async def test_the_exact_word_and_the_meaning_both_find(company: Company, hr: Department) -> None:
    for number in range(40):
        text = f"# Form {number}\n\nForm ZX-{number:03} is for case {number}."
        await add(hr, company.alice, text, f"form-{number}.md")
    found = await find(hr, company.bob, "ZX-017")
    assert "ZX-017" in found.passages[0].text
    assert found.passages[0].text_rank == 1
    assert found.passages[0].score == max(passage.score for passage in found.passages)


async def test_a_measurement_can_search_by_meaning_or_by_words_alone(company: Company, hr: Department) -> None:
    await add(hr, company.alice, LEAVE)
    await add(hr, company.alice, TRAVEL, "travel.md")
    [row] = await execute(hr, "SELECT embedding FROM passage WHERE text LIKE 'You may carry%%'")
    vector = row["embedding"].to_list()
    async with open_store(hr) as store:
        by_meaning = await search_by_vector(store, "meals receipts", vector, recipe=await store.recipe(), weight=1)
        by_words = await search_by_vector(store, "meals receipts", vector, recipe=await store.recipe(), weight=0)
    assert [found.title for found in by_meaning.passages] == ["Leave", "Travel"]
    assert [found.title for found in by_words.passages] == ["Travel", "Leave"]


async def test_passages_that_say_the_same_are_shown_once(company: Company, hr: Department) -> None:
    await add(hr, company.alice, LEAVE)
    await add(hr, company.alice, f"{LEAVE}\n\n## Contact\n\nAsk the people team.", "leave-copy.md")
    found = await find(hr, company.bob, "unused days into the next year")
    assert sum("unused days" in passage.text for passage in found.passages) == 1


@pytest.mark.parametrize(
    "question",
    ["", "   ", "?", "\x00", "the of and", "'; DROP TABLE passage; --", "a & b | !c <-> d:*", "\\ ' \" %s {}", "你好"],
)
async def test_no_question_breaks_the_statement(company: Company, hr: Department, question: str) -> None:
    await add(hr, company.alice, LEAVE)
    result = await find(hr, company.bob, question)
    assert len(result.passages) <= 1


async def test_words_with_signs_in_them_are_indexed_and_found(company: Company, hr: Department) -> None:
    odd = "# Odd\n\nSee C:\\Temp\\o'brien and https://intra.example/a?b='c' or o''neill & co | (x):*\n"
    await add(hr, company.alice, odd, "odd.md")
    found = await find(hr, company.bob, "where is https://intra.example/a?b='c' & C:\\Temp\\o'brien")
    assert found.passages


async def test_the_statistics_follow_what_comes_and_goes(company: Company, hr: Department) -> None:
    first = await add(hr, company.alice, LEAVE)
    await add(hr, company.alice, TRAVEL, "travel.md")
    await add(hr, company.alice, LEAVE.replace("April", "May"), replaces=first.document_id)
    (corpus,) = await execute(hr, "SELECT passages, length FROM corpus")
    (actual,) = await execute(
        hr, "SELECT count(*) AS passages, sum(length_of(lexemes))::bigint AS length FROM passage WHERE searchable"
    )
    assert corpus == actual
    counted = await execute(hr, "SELECT word, passages FROM lexeme ORDER BY word")
    found = await execute(
        hr,
        "SELECT lexeme AS word, count(*) AS passages FROM passage, unnest(lexemes) WHERE searchable GROUP BY 1 "
        "ORDER BY 1",
    )
    assert counted == found


async def test_a_large_store_gets_a_vector_index_and_finds_the_same(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "INDEX_FROM", 30)
    chance = random.Random(1)
    words = [f"{first}{last}" for first in ("gar", "mol", "tev", "sil", "pon") for last in ("den", "ka", "ro", "mit")]
    text = "\n\n".join(f"# Part {n}\n\n{' '.join(chance.choices(words, k=40))}" for n in range(60))
    await add(hr, company.alice, text, "parts.md")
    [index] = await execute(hr, "SELECT indexname FROM pg_indexes WHERE tablename = 'passage' AND indexdef ~ 'hnsw'")
    async with open_store(hr) as store:
        [row] = await execute(hr, "SELECT embedding FROM passage WHERE ordinal = 33")
        vector = row["embedding"].to_list()
        await execute(hr, "ANALYZE passage")
        result = await search_by_vector(store, "gardenless", vector, recipe=await store.recipe())
        assert result.passages[0].ordinal == 33
        assert not await store.build_index()  # once is enough
    async with open_store(hr) as store, store.connection() as held, held.transaction():
        await held.execute("SET LOCAL enable_seqscan = off")
        nearest = "EXPLAIN SELECT id FROM passage WHERE searchable ORDER BY embedding <#> %s LIMIT 6"
        plan = await (await held.execute(nearest, [row["embedding"]])).fetchall()
    assert index["indexname"] in str(plan)


def test_the_walk_through_the_index_grows_with_the_store() -> None:
    assert [index_reach(size) for size in (100, 5_000, 5_001, 50_000, 200_000)] == [80, 80, 160, 160, 320]


def test_the_words_bring_less_of_a_large_store() -> None:
    assert [text_reach(size) for size in (100, 50_000, 200_000)] == [8_000, 8_000, 1_500]


async def test_common_words_bring_the_passages_in_which_they_meet(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of three words stands in more passages than may be looked at, and one passage has two of them."""
    monkeypatch.setattr(searching, "text_reach", lambda passages: 10)
    common = [
        f"# Part {n}\n\nThe {word} of the month is number {n}." for word in ("kettle", "ladder") for n in range(12)
    ]
    text = "\n\n".join([*common, "# Shed\n\nThe ladder hangs beside the kettle."])
    await add(hr, company.alice, text, "parts.md")
    async with open_store(hr) as store:
        asked = {"recipe": await store.recipe(), "weight": 0}
        vector = [1.0] + [0.0] * 1535
        both = await search_by_vector(store, "ladder kettle month", vector, **asked)
        rare = await search_by_vector(store, "shed kettle", vector, **asked)
        single = await search_by_vector(store, "ladder", vector, **asked)
    assert [found.heading_path[-1] for found in (both.passages[0], rare.passages[0])] == ["Shed", "Shed"]
    assert both.passages[0].text_rank == 1
    assert all("ladder" in found.text for found in single.passages if found.text_rank)
    assert any(found.text_rank for found in single.passages)


async def test_a_question_of_very_many_words_is_answered(company: Company, hr: Department) -> None:
    await add(hr, company.alice, LEAVE)
    words = " ".join(f"{first}{last}" for first in "bcdfghklmnprst" for last in ("ado", "ebo", "igo", "omu", "uta"))
    result = await find(hr, company.bob, f"unused days {words} " * 20)
    assert result.passages[0].text_rank == 1
