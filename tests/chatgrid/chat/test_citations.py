"""What a citation has to stand up to, when the answer is whole."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.test import AsyncClient
from django.urls import reverse

from chatgrid.chat.citations import Check, check, is_supported
from chatgrid.chat.markdown import cited_statements, render
from chatgrid.chat.models import Message
from departments.documents.deletion import delete_document
from departments.documents.ingest import ingest_version
from departments.keys.secret import Secret
from tests.chatgrid.chat.test_asking import ask_streaming
from tests.company import Company, give_key, give_store, signed_in
from tests.departments.documents.shelf import LEAVE, add, upload
from tests.provider import Provider

PASSAGE = "Leave policy\nCarry over\nYou may carry five unused days into the next year, until the end of April."
OTHER = "Travel\nMeals on a journey are refunded up to 1,500 EUR a year against the receipts."


@pytest.mark.parametrize(
    "statement",
    [
        "You may carry five unused days into the next year",
        "Up to 5 days can be carried over into next year",
        "Unused days: five, until the end of April",
        "Yes",
        "**Carry over** ends in April",
    ],
)
def test_a_statement_whose_words_stand_in_the_passage_is_supported(statement: str) -> None:
    assert is_supported(statement, PASSAGE)


@pytest.mark.parametrize(
    "statement",
    [
        "You may carry seven unused days into the next year",
        "You may carry 5.5 unused days into the next year",
        "The canteen serves breakfast from half past seven",
        "Employees in Ghent receive a company bicycle",
    ],
)
def test_a_wrong_figure_or_another_subject_is_not(statement: str) -> None:
    assert not is_supported(statement, PASSAGE)


def test_figures_are_compared_however_they_are_written() -> None:
    assert is_supported("Meals are refunded up to 1500 EUR a year", OTHER)
    assert is_supported("Meals are refunded up to 1,500 EUR a year", OTHER)
    assert not is_supported("Meals are refunded up to 1,600 EUR a year", OTHER)


@pytest.mark.parametrize(
    ("passage", "right", "wrong"),
    [
        ("未用完的年假最多5天可以结转。", "年假最多5天可以结转", "年假最多7天可以结转"),
        ("社員は年間20日の有給休暇を取得できます。", "社員は年間２０日の有給休暇", "社員は年間２５日の有給休暇"),
        ("Meals are refunded up to 40.00 EUR", "Meals are refunded up to EUR40", "Meals are refunded up to EUR45"),
    ],
)
def test_a_figure_is_compared_wherever_it_stands(passage: str, right: str, wrong: str) -> None:
    assert is_supported(right, passage)
    assert not is_supported(wrong, passage)


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("公司在2019年成立。未用完的年假最多五天 [1]。食堂七点开门 [1]。", (1,)),
        ("According to [1], you may carry five unused days into the next year.", ()),
        ("According to [1], you may carry seven unused days into the next year.", (0,)),
        ("- [1] You may carry seven unused days\n- [1][2] Unused days end in April", (0, 2)),
        ("Carry over [1]\nBreakfast is free", ()),
    ],
)
def test_a_statement_is_the_sentence_in_which_a_number_stands(text: str, doubtful: tuple[int, ...]) -> None:
    assert check(text, {1: f"{PASSAGE} 未用完的年假最多五天。", 2: OTHER}) == Check(doubtful)


def test_a_range_of_numbers_cites_each_and_only_where_all_exist() -> None:
    text = "Unused days end in April [1-2]. From [1-9] and [2-1] and [10-12] people."
    assert cited_statements(text, {1, 2}) == [("Unused days end in April", 1), ("Unused days end in April", 2)]
    assert "[1-9] and [2-1] and [10-12] people" in render(text, {1, 2}, doubtful=[])


def test_a_language_without_spaces_is_compared_by_its_signs() -> None:
    assert is_supported("年假可以结转五天", "员工的年假可以结转五天到下一年")
    assert not is_supported("餐厅早上七点开门", "员工的年假可以结转五天到下一年")


def test_each_citation_is_held_against_its_own_sentence() -> None:
    text = (
        "You may carry five unused days into the next year [1]. Meals are refunded up to 1,500 EUR a year [2].\n\n"
        "- Unused days end in April [1][2]\n- Breakfast is free [1]\n"
    )
    assert check(text, {1: PASSAGE, 2: OTHER}) == Check(doubtful=(3, 4))


def test_a_number_that_nobody_gave_is_found_and_code_is_not_read() -> None:
    assert check("It is so [4], and `list[5]`.\n\n```\nx[6]\n```", {1: PASSAGE}) == Check(missing=(4,))


@pytest.mark.parametrize(
    "text",
    [
        "Leave [1]. Then [2, 1] and [3](https://x.example) [1].",
        "| a [1] | b |\n|---|---|\n| c [2] | **d [1]** |",
        "![see [1]](https://x.example/a.png) and [1]",
        "> quoted [2]\n\n# Heading [1]\n\n1. one [1] two [2]",
        "[a link [1]](https://x.example) then [2]",
    ],
)
def test_what_is_checked_is_what_is_shown(text: str) -> None:
    places = [number for _, number in cited_statements(text, {1, 2}) if number in {1, 2}]
    for place, number in enumerate(places):
        marked = render(text, {1, 2}, doubtful=[place])
        assert marked.count("citation-doubtful") <= 1
        if "citation-doubtful" in marked:
            assert f">{number}?</a>" in marked


def test_a_citation_is_not_marked_before_it_was_checked() -> None:
    assert render("So it is [9].", {1}) == "<p>So it is [9].</p>\n"
    assert "[9: no such source]" in render("So it is [9].", {1}, doubtful=[])


@pytest.fixture
async def key(company: Company, provider: Provider) -> Secret:
    """HR with one document that can be asked about."""
    made = give_key(company.hr)
    give_store(company.hr)
    version = await upload(company.hr, company.alice, LEAVE)
    await ingest_version(company.hr, version.id)
    return made


async def answered(company: Company, provider: Provider, key: Secret, text: str) -> tuple[AsyncClient, Message]:
    """An answer of exactly these words, and the browser that asked for it."""
    provider.misbehave(key, "scripted", times=1, text=text)
    client = await signed_in(company.bob)
    await ask_streaming(client, "/d/hr/ask", "How many unused days may I carry over into the next year?")
    return client, Message.objects.get(conversation__owner=company.bob, role="assistant")


async def page_of(client: AsyncClient, answer: Message) -> str:
    return (await client.get(reverse("chat:conversation", args=[answer.conversation_id]))).content.decode()


async def test_an_unsupported_citation_is_marked_in_the_message_and_on_the_page(
    company: Company, provider: Provider, key: Secret
) -> None:
    text = "You may carry five unused days into the next year [1]. Nine more days can be sold [1]. See also [7]."
    client, answer = await answered(company, provider, key, text)
    assert answer.citation_check == {"doubtful": [1], "missing": [7]}
    page = await page_of(client, answer)
    assert page.count("citation-doubtful") == 1
    assert "Not confirmed: source 1." in page
    assert "names source 7, which it was not given" in page
    assert "Version 1, added by Alice on" in page


async def test_a_supported_answer_carries_no_doubt(company: Company, provider: Provider, key: Secret) -> None:
    client, answer = await answered(company, provider, key, "You may carry five unused days into the next year [1].")
    assert answer.citation_check == {"doubtful": [], "missing": []}
    assert "Not confirmed" not in await page_of(client, answer)


async def test_an_old_answer_opens_the_version_that_it_cited(company: Company, provider: Provider, key: Secret) -> None:
    client, answer = await answered(company, provider, key, "You may carry five unused days into the next year [1].")
    (citation,) = answer.citations
    newer = LEAVE.replace("five unused", "nine unused")
    await add(company.hr, company.alice, newer, replaces=citation["document"])
    page = await page_of(client, answer)
    address = page.split('class="source"')[1].split('href="')[1].split('"')[0].replace("&amp;", "&")
    assert f"version={citation['version']}" in address
    opened = (await client.get(address.split("#")[0])).content.decode()
    assert "carry five unused days" in opened
    assert "The chat answers from version 2" in opened
    await delete_document(company.hr, company.alice, UUID(citation["document"]))
    gone = await client.get(address.split("#")[0])
    assert gone.status_code == 404
    assert "the document has been deleted since" in gone.content.decode()
    assert "carry five unused days" in await page_of(client, answer)  # what it cited stays with the answer
    never = await client.get(reverse("documents:detail", args=["hr", uuid4()]))
    assert [line for line in never.content.decode().splitlines() if "nonce" not in line] == [
        line for line in gone.content.decode().splitlines() if "nonce" not in line
    ]
