"""What admins learn from answers: which documents are cited, what found nothing; and who never stands beside it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import AsyncClient
from django.urls import reverse

from chatgrid.chat import ask as asking
from chatgrid.chat.models import Conversation
from departments.documents.store import StoreDown
from departments.documents.tasks import tend_department
from departments.models import QueryPolicy
from tests.chatgrid.chat.test_asking import ask_streaming
from tests.company import Company, signed_in
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, execute, ready
from tests.provider import Provider

ANSWERED = "How many unused days may I carry over into the next year?"
MISSED = "Which bicycle does the office in Ghent lend, and may robert@acme.example have it?"


@pytest.fixture
async def hr(company: Company, provider: Provider) -> Company:
    ready(company.hr)
    await add(company.hr, company.alice, LEAVE)
    await add(company.hr, company.alice, TRAVEL, "travel.md")
    return company


async def ask(person: Any, question: str, **more: str) -> None:
    await ask_streaming(await signed_in(person), "/d/hr/ask", question, **more)


async def page(client: AsyncClient, **choices: str) -> str:
    return (await client.get(reverse("documents:use", args=["hr"]), choices)).content.decode()


async def test_documents_are_listed_by_how_many_answers_cite_them(hr: Company) -> None:
    for _ in range(2):
        await ask(hr.bob, ANSWERED)
    client = await signed_in(hr.alice)
    most = await page(client)
    assert "cited by 2 answers" in most
    assert most.index("Leave</a>") < most.index("Travel</a>")
    least = await page(client, order="least", days="365")
    assert least.index("Travel</a>") < least.index("Leave</a>")
    assert "not cited" in least
    await execute(hr.hr, "UPDATE citing SET day = day - 40")
    assert "cited by 2" not in await page(client, days="30")
    assert "cited by 2" in await page(client, days="90")
    assert "cited by 2" not in await page(client, days="-1", order="up'", **{"from": "x"})


async def test_a_question_that_found_nothing_is_shown_without_who_asked_it(hr: Company) -> None:
    await ask(hr.bob, MISSED)
    await ask(hr.carol, MISSED.upper().replace(" ", "  "))
    await ask(hr.bob, ANSWERED)
    client = await signed_in(hr.alice)
    text = await page(client)
    assert "bicycle does the office in ghent" in text.lower()
    assert "2 times" in text
    assert "[e-mail]" in text
    for personal in ("robert@acme.example", hr.bob.name, hr.bob.email, str(hr.bob.pk), hr.carol.email):
        assert personal.lower() not in text.lower()
    assert "carry over" not in text
    # nothing in the store leads to a person either
    rows = await execute(hr.hr, "SELECT * FROM unanswered")
    assert {name for row in rows for name in row} == {"id", "day", "question", "narrowed"}
    # the link puts the question into the box of the test bench
    link = text.split('href="/d/hr/documents/test/?question=')[1].split('"')[0]
    bench = (await client.get(f"/d/hr/documents/test/?question={link}")).content.decode()
    assert 'value="which bicycle does the office in ghent' in bench.lower()


async def test_the_person_is_told_what_the_admins_see(hr: Company) -> None:
    await ask(hr.bob, MISSED)
    conversation = await Conversation.objects.aget(owner=hr.bob)
    answer = await (await signed_in(hr.bob)).get(reverse("chat:conversation", args=[conversation.pk]))
    assert "department&#x27;s admins see that this question found nothing" in answer.content.decode()


@pytest.mark.parametrize("before", [QueryPolicy.FULL, QueryPolicy.REDACTED])
async def test_where_the_record_keeps_hashes_only_a_number_is_kept(hr: Company, before: QueryPolicy) -> None:
    hr.hr.query_policy = before
    await hr.hr.asave()
    await ask(hr.bob, MISSED)
    client = await signed_in(hr.alice)
    assert "bicycle" in await page(client)
    hr.hr.query_policy = QueryPolicy.HASHED
    await hr.hr.asave()
    hidden = await page(client)
    assert "bicycle" not in hidden
    assert "1 question in 30 days" in hidden
    assert "keeps no text of questions" in hidden
    await tend_department(hr.hr)
    assert await execute(hr.hr, "SELECT question FROM unanswered") == [{"question": ""}]
    hr.hr.query_policy = QueryPolicy.FULL
    await hr.hr.asave()
    assert "cannot be shown" in await page(client)


async def test_counts_last_a_year_and_questions_as_long_as_conversations(hr: Company) -> None:
    await ask(hr.bob, MISSED)
    await ask(hr.bob, ANSWERED)
    hr.organization.conversation_days = 30
    hr.hr.organization = hr.organization
    await tend_department(hr.hr)
    assert len(await execute(hr.hr, "SELECT 1 FROM unanswered")) == 1
    await execute(hr.hr, "UPDATE unanswered SET day = day - 31")
    await execute(hr.hr, "UPDATE citing SET day = day - 31")
    await tend_department(hr.hr)
    assert await execute(hr.hr, "SELECT 1 FROM unanswered") == []
    assert len(await execute(hr.hr, "SELECT 1 FROM citing")) >= 1
    await execute(hr.hr, "UPDATE citing SET day = day - 340")
    await tend_department(hr.hr)
    assert await execute(hr.hr, "SELECT 1 FROM citing") == []


async def test_long_lists_come_in_pages_of_their_own(hr: Company) -> None:
    await execute(
        hr.hr,
        "INSERT INTO unanswered (day, question, narrowed)"
        " SELECT current_date, 'Question ' || n, n = 1 FROM generate_series(1, 30) AS n",
    )
    client = await signed_in(hr.alice)
    first = await page(client)
    assert first.count('class="use-words"') == 25
    second = await page(client, questions="25")
    assert second.count('class="use-words"') == 5
    assert "Leave</a>" in second
    assert (first + second).count("in a narrowed search") == 1


async def test_an_answer_does_not_suffer_where_its_use_cannot_be_noted(
    hr: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise StoreDown

    monkeypatch.setattr(asking, "note_citations", away)
    events = await ask_streaming(await signed_in(hr.bob), "/d/hr/ask", ANSWERED)
    assert events[-1][0] == "done"
    assert "cited by" not in await page(await signed_in(hr.alice))
