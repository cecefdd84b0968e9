"""Between confidence and nothing: the assistant reads passages that the search is in doubt of, and is told so."""

from __future__ import annotations

import pytest

from chatgrid.chat.models import Message
from departments.documents import search as searching
from tests.chatgrid.chat.test_asking import ask_streaming
from tests.company import Company, signed_in
from tests.departments.documents.shelf import LEAVE, add, execute
from tests.departments.documents.shelf import ready as made_ready
from tests.provider import Provider

STATED = "May I carry unused days into the next year until the end of April?"
NEAR = "May I carry unused sick days into the next school year?"


@pytest.fixture
async def hr(company: Company, provider: Provider) -> Company:
    made_ready(company.hr)
    await add(company.hr, company.alice, LEAVE)
    return company


async def answer_of(hr: Company, question: str) -> Message:
    await ask_streaming(await signed_in(hr.bob), "/d/hr/ask", question)
    return await Message.objects.aget(conversation__owner=hr.bob, role="assistant")


def thresholds(monkeypatch: pytest.MonkeyPatch, least: float, enough: float) -> None:
    monkeypatch.setattr(searching, "LEAST", least)
    monkeypatch.setattr(searching, "ENOUGH", enough)


async def test_in_doubt_a_passage_that_states_the_answer_is_cited(hr: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds(monkeypatch, least=0, enough=2)
    answer = await answer_of(hr, STATED)
    assert [each["title"] for each in answer.citations] == ["Leave"]
    assert "nearest" not in answer.citation_check
    assert await execute(hr.hr, "SELECT 1 FROM unanswered") == []


async def test_in_doubt_nothing_near_is_made_an_answer_of_and_the_person_sees_what_is_near(
    hr: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    thresholds(monkeypatch, least=0, enough=2)
    answer = await answer_of(hr, NEAR)
    assert answer.citations == []
    assert [each["title"] for each in answer.citation_check["nearest"]] == ["Leave"]
    assert len(await execute(hr.hr, "SELECT 1 FROM unanswered")) == 1


async def test_without_doubt_the_same_question_is_answered_from_what_is_there(
    hr: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    thresholds(monkeypatch, least=0, enough=0)
    assert (await answer_of(hr, NEAR)).citations != []


async def test_below_both_the_assistant_reads_nothing(hr: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds(monkeypatch, least=2, enough=2)
    answer = await answer_of(hr, STATED)
    assert answer.citations == []
    assert [each["title"] for each in answer.citation_check["nearest"]] == ["Leave"]
