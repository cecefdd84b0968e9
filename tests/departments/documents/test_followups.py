"""What a question means that leans on the one before it, and what it finds."""

from __future__ import annotations

import pytest

from departments.documents.followups import leans_back, searched_text, with_earlier
from departments.models import Department
from tests.company import Company
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, find, ready
from tests.provider import Provider

FIRST = "How many unused days may I carry over into the next year?"
MEALS = "Up to how much are meals on a journey refunded?"


@pytest.mark.parametrize(
    "question",
    [
        "Until when?",
        "And for part-timers?",
        "What about people in the field crews and their unused shifts?",
        "Does it apply to interns?",
        "Why?",
        "Who approves that?",
        "how about meals",
        "Can they be paid out?",
        "more?",
    ],
)
def test_a_question_that_needs_the_one_before_is_known(question: str) -> None:
    assert leans_back(question)
    assert searched_text(question, [FIRST]) == f"{FIRST}\n{question}"


@pytest.mark.parametrize(
    "question",
    [
        FIRST,
        "Up to how much are meals refunded on a journey?",
        "Which form do I need for a new laptop?",
        "What is the deadline for submitting travel expenses in December?",
        "Is there a rule on whether an employee who has worked for this company for ten years can take unpaid leave?",
    ],
)
def test_a_question_that_stands_by_itself_is_searched_alone(question: str) -> None:
    assert searched_text(question, ["Something quite different"]) == question


def test_a_chain_is_followed_to_the_question_that_stands_by_itself() -> None:
    asked = ["What is the canteen's menu on Friday afternoons?", FIRST, "Until when?"]
    assert with_earlier("And for interns?", asked) == f"{FIRST}\nUntil when?\nAnd for interns?"


def test_the_first_question_of_all_is_searched_as_it_is() -> None:
    assert searched_text("Until when?", []) == "Until when?"


@pytest.fixture
async def hr(company: Company, provider: Provider) -> Department:
    department = ready(company.hr)
    await add(department, company.alice, LEAVE)
    await add(department, company.alice, TRAVEL, "travel.md")
    return department


async def test_a_follow_up_finds_what_the_conversation_is_about(company: Company, hr: Department) -> None:
    for first, title in ((FIRST, "Leave"), (MEALS, "Travel")):
        result = await find(hr, company.bob, "And who says that?", earlier=[first])
        assert result.passages[0].title == title
        assert result.confident


async def test_a_new_subject_leaves_the_old_one(company: Company, hr: Department) -> None:
    result = await find(hr, company.bob, MEALS, earlier=[FIRST])
    assert result.passages[0].title == "Travel"
    assert "unused" not in result.searched


async def test_words_that_no_rule_knows_are_searched_again_with_the_question_before(
    company: Company, hr: Department
) -> None:
    question = "Gilt das ebenso in unserer kleinen Niederlassung?"
    assert not (await find(hr, company.bob, question)).confident
    assert (await find(hr, company.bob, question, earlier=[FIRST])).passages[0].title == "Leave"
