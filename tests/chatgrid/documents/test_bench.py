"""The test bench as a department admin uses it: try, keep, measure, prepare, compare, switch, go back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import AsyncClient
from django.urls import reverse

from audit.events import Event
from audit.models import AuditEvent
from departments.documents import golden, tasks
from departments.documents.store import open_store
from tests.company import Company, set_limit, signed_in
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, execute, ready
from tests.provider import Provider

QUESTION = "How many unused days may I carry over into the next year?"
RECIPE = {"model": "text-embedding-3-small", "dimensions": "256", "passage_tokens": "60"}


@pytest.fixture
async def admin(company: Company, provider: Provider) -> AsyncClient:
    """Alice's browser; her department has two documents."""
    ready(company.hr)
    await add(company.hr, company.alice, LEAVE)
    await add(company.hr, company.alice, TRAVEL, "travel.md")
    return await signed_in(company.alice)


async def send(client: AsyncClient, name: str, arguments: list[Any] | None = None, **fields: Any) -> str:
    """A form, and the page it ends on."""
    response = await client.post(reverse(f"documents:{name}", args=["hr", *(arguments or [])]), fields)
    return await page(client) if response.status_code == 302 else response.content.decode()


async def page(client: AsyncClient) -> str:
    return (await client.get(reverse("documents:bench", args=["hr"]))).content.decode()


def first_passage(html: str) -> dict[str, str]:
    """What the first button "This answers it" sends."""
    form = html.split('class="bench-passage"')[1].split("<form")[1].split("</form>")[0]
    return dict(re.findall(r'name="(question|version|ordinal)" value="([^"]*)"', form))


def written(company: Company) -> list[str]:
    events = AuditEvent.objects.filter(organization_id=company.organization.pk, event__startswith="search:")
    return list(events.order_by("at").values_list("event", flat=True))


async def test_a_question_shows_its_passages_with_their_places(company: Company, admin: AsyncClient) -> None:
    html = await send(admin, "try", question=QUESTION)
    assert "Confident: the chat would answer" in html
    shown = html.split('class="bench-passage"')[1]
    assert "You may carry five unused days" in shown
    assert [word in shown for word in ("by meaning", "by words", "of 100")] == [True] * 3
    assert written(company) == [Event.SEARCH_TESTED]


async def test_what_nothing_answers_is_said(admin: AsyncClient) -> None:
    html = await send(admin, "try", question="Which dress code holds for the summer gala in Tokyo?")
    assert "No confident match" in html


async def test_a_question_is_kept_measured_drawn_and_removed(company: Company, admin: AsyncClient) -> None:
    await send(admin, "keep", **first_passage(await send(admin, "try", question=QUESTION)))
    await send(admin, "keep", question="Which dress code holds for the gala in Tokyo?")
    html = await send(admin, "measure")
    assert "2 of 2 questions found what they should." in html
    assert "Found, place 1" in html
    assert "Nothing found, as it should" in html
    assert 'aria-label="Hit rates: 100 %"' in html
    async with open_store(company.hr) as store:
        kept = await golden.list_questions(store)
    assert QUESTION not in await send(admin, "forget", [kept[0].id])
    asked, added, removed = Event.SEARCH_GOLDEN_ASKED, Event.SEARCH_GOLDEN_ADDED, Event.SEARCH_GOLDEN_REMOVED
    assert written(company) == [Event.SEARCH_TESTED, added, added, asked, removed]


async def test_the_threshold_is_explained_with_what_it_did_to_the_golden_questions(admin: AsyncClient) -> None:
    before = await page(admin)
    assert "From 28 % the search is confident. Below 10 % the assistant gets no passages." in before
    assert "Your golden questions, as last asked" not in before
    html = await send(admin, "try", question=QUESTION)
    await send(admin, "keep", **first_passage(html))
    await send(admin, "keep", question="What is the boiling point of tungsten?")
    await send(admin, "keep", question=QUESTION.replace("How many", "So how many"))  # which is answered, in truth
    after = await send(admin, "measure")
    assert "Answered here: 1</dt><dd>1 confident, 0 read in doubt, 0 turned away" in after
    assert "Answered nowhere here: 2</dt><dd>1 said to have no match, 1 taken for confident" in after


@pytest.mark.parametrize(
    ("model", "curves", "says"),
    [
        ("somebodys-model", {}, "Nobody has measured somebodys-model yet"),
        ("somebodys-model", {"somebodys-model": (9.0, 4.0, -5.0)}, "is counted as this company has measured it"),
        ("all-MiniLM-L6-v2", {}, "was measured on labelled questions"),
    ],
)
async def test_the_threshold_says_what_it_rests_on(
    company: Company, admin: AsyncClient, settings: LazySettings, model: str, curves: dict[str, Any], says: str
) -> None:
    settings.SIMULATED, settings.SEARCH_CALIBRATION = False, curves
    await execute(company.hr, "UPDATE corpus SET model = %s", model)
    assert says in await page(admin)


async def test_a_department_that_goes_on_with_an_older_model_is_told_so(
    admin: AsyncClient, settings: LazySettings
) -> None:
    assert "IT has chosen" not in await page(admin)
    settings.EMBEDDING_MODEL = "text-embedding-3-large"
    html = await page(admin)
    assert "IT has chosen text-embedding-3-large for new departments" in html
    assert "Embed everything anew" in html


async def test_a_question_that_is_kept_twice_is_one_with_the_passage_named_last(
    company: Company, admin: AsyncClient
) -> None:
    passage = first_passage(await send(admin, "try", question=QUESTION))
    await send(admin, "keep", **passage)
    await send(admin, "keep", **passage)
    html = await send(admin, "keep", question=f" {QUESTION.upper()} ")
    assert html.count("None: nothing here answers it") == 1
    async with open_store(company.hr) as store:
        [kept] = await golden.list_questions(store)
    assert (kept.question, kept.document_id, kept.quote) == (QUESTION, None, "")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"question": ""}, 400),
        ({"question": " \t "}, 400),
        ({"question": "nul \x00 inside"}, 400),
        ({"question": "q" * 1_001}, 400),
        ({"question": "<b>bold</b> {{ x }} %s' OR 1=1 --"}, 302),
        ({"question": "\u202e你好 🦊"}, 302),
        ({"question": QUESTION, "version": "no-such-id"}, 404),
        ({"question": QUESTION, "version": "", "ordinal": "7"}, 302),
        ({"question": QUESTION, "version": "0b0e7a52-7f0a-4b52-a5a5-6f4c3f6b3c11", "ordinal": "0"}, 404),
        ({"question": QUESTION, "version": "0b0e7a52-7f0a-4b52-a5a5-6f4c3f6b3c11", "ordinal": "9" * 40}, 404),
        ({"question": QUESTION, "ordinal": "-1"}, 404),
    ],
)
async def test_odd_questions_are_kept_or_refused_in_words(
    admin: AsyncClient, fields: dict[str, str], status: int
) -> None:
    response = await admin.post(reverse("documents:keep", args=["hr"]), fields)
    assert response.status_code == status
    if status == 400:
        assert "field-error" in response.content.decode()
    if status == 302:
        html = await send(admin, "measure")
        assert "<b>bold</b>" not in html
        assert " of 1 questions found what they should." in html


async def test_documents_are_embedded_anew_compared_switched_and_brought_back(
    company: Company, admin: AsyncClient
) -> None:
    await send(admin, "keep", **first_passage(await send(admin, "try", question=QUESTION)))
    assert "Being prepared" in await send(admin, "rebuild", **RECIPE)
    await tasks.rebuild_one(company.hr.pk)
    assert "Ready to switch" in await page(admin)
    assert "1 of 1 questions" in await send(admin, "measure", shadow="1")
    assert "256 numbers per vector, passages of up to 60 tokens" in await send(admin, "change", act="switch")
    assert "1,536 numbers per vector" in await send(admin, "change", act="undo")
    changes = [Event.SEARCH_REBUILD_STARTED, Event.SEARCH_GOLDEN_ASKED, Event.SEARCH_SWITCHED]
    assert written(company)[2:] == [*changes, Event.SEARCH_SWITCHED_BACK]


async def test_what_is_prepared_can_be_given_up(company: Company, admin: AsyncClient) -> None:
    await send(admin, "rebuild", **RECIPE)
    assert "thrown away" in await send(admin, "change", act="give_up")
    assert await execute(company.hr, "SELECT to_regclass('passage_shadow') AS there") == [{"there": None}]
    assert written(company) == [Event.SEARCH_REBUILD_STARTED, Event.SEARCH_REBUILD_GIVEN_UP]


async def test_a_switch_before_it_is_ready_is_refused_in_words(admin: AsyncClient) -> None:
    await send(admin, "rebuild", **RECIPE)
    assert "It is not ready" in await send(admin, "change", act="switch")
    assert "1,536 numbers per vector" in await page(admin)


@pytest.mark.parametrize(
    "wrong",
    [{"passage_tokens": "3"}, {"dimensions": "9000"}, {"model": "somebody-elses"}, {"dimensions": ""}],
)
async def test_a_recipe_that_cannot_be_is_refused(company: Company, admin: AsyncClient, wrong: dict[str, str]) -> None:
    response = await admin.post(reverse("documents:rebuild", args=["hr"]), RECIPE | wrong)
    assert response.status_code == 400
    assert "field-error" in response.content.decode()
    assert written(company) == []


async def test_a_budget_is_said_with_the_question_still_in_the_box(company: Company, admin: AsyncClient) -> None:
    set_limit(company, person=company.alice, tokens_per_day=1)
    response = await admin.post(reverse("documents:try", args=["hr"]), {"question": QUESTION})
    assert response.status_code == 429
    assert f'value="{QUESTION}"' in response.content.decode()
    assert "field-error" in response.content.decode()


async def test_a_passage_of_another_department_cannot_be_kept(company: Company, admin: AsyncClient) -> None:
    foreign = await add(ready(company.finance), company.carol, "# Rates\n\nThe rate is four percent.\n", "rates.md")
    fields = {"question": QUESTION, "version": str(foreign.id), "ordinal": "0"}
    assert (await admin.post(reverse("documents:keep", args=["hr"]), fields)).status_code == 404
    assert written(company) == []
