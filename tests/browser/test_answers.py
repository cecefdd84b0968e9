"""Where an answer comes from, in a real browser; and the bench on which a department admin tests the search."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor, sign_in
from tests.browser.test_main_job import accessible
from tests.company import Company, give_key
from tests.provider import Provider

POLICY = """# Annual leave

## Carry over

Everybody who works in the office may carry five unused days of annual leave into the next year.

## Meals

Meals on a journey are refunded up to 40 EUR a day against the receipts.
"""
QUESTION = "How many unused days of leave may I carry into the next year?"
WRONG = "You may carry five unused days into the next year [1]. Nine more days can be sold [1]. See also [7]."


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "annual-leave.md"
    path.write_text(POLICY, encoding="utf-8")
    return path


def upload(page: Page, path: Path) -> None:
    page.goto("/d/hr/documents/")
    page.set_input_files("input[type=file]", path)
    expect(page.locator(".state-live").first).to_be_visible(timeout=60_000)


def ask(page: Page, question: str) -> None:
    page.goto("/d/hr/")
    page.locator("#question").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator(".message-assistant:not(.writing)").last).to_be_visible()


def test_a_citation_shows_its_passage_and_opens_it_and_what_is_not_confirmed_is_marked(
    visitor: Visitor, office: Company, policy: Path, provider: Provider
) -> None:
    page = visitor.page
    key = give_key(office.hr)
    sign_in(page, office.alice.email)
    upload(page, policy)
    provider.misbehave(key, "scripted", times=1, text=WRONG)
    ask(page, QUESTION)

    first, doubtful = page.locator(".prose .citation").nth(0), page.locator(".prose .citation-doubtful")
    expect(doubtful).to_have_count(1)
    expect(doubtful).to_have_text("1?")
    expect(page.get_by_text("[7: no such source]")).to_be_visible()
    expect(page.get_by_text("Not confirmed: source 1.")).to_be_visible()
    expect(page.locator(".source-facts").first).to_contain_text("Version 1, added by Alice")

    first.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    expect(page.locator(".citation-card")).to_contain_text("five unused days")
    expect(page.locator(".citation-card")).to_contain_text("added by Alice")
    page.keyboard.press("Escape")
    accessible(page)

    first.click()
    page.wait_for_url(re.compile(r"/documents/[0-9a-f-]+/\?version=.*#passage-0"))
    expect(page.locator(".passage:target")).to_contain_text("five unused days")
    assert not visitor.wrongs


def test_a_question_that_nothing_answers_shows_the_nearest_passages(
    visitor: Visitor, office: Company, policy: Path
) -> None:
    page = visitor.page
    sign_in(page, office.alice.email)
    upload(page, policy)
    ask(page, "Which dress code holds for the summer gala in Tokyo?")
    expect(page.get_by_text("No confident match in these documents.")).to_be_visible()
    expect(page.locator(".nearest a").first).to_have_attribute("href", re.compile("passage="))
    accessible(page)
    assert not visitor.wrongs


def test_a_department_admin_tests_the_search_and_embeds_everything_anew(
    visitor: Visitor, office: Company, policy: Path
) -> None:
    page = visitor.page
    sign_in(page, office.alice.email)
    upload(page, policy)
    page.get_by_role("link", name="Test bench").click()
    page.get_by_label("Question", exact=True).fill(QUESTION)
    page.get_by_role("button", name="Try").click()
    expect(page.get_by_text("Confident: the chat would answer")).to_be_visible()
    expect(page.locator(".bench-passage").first).to_contain_text("five unused days")
    accessible(page)

    page.get_by_role("button", name="This answers it").first.click()
    page.get_by_role("button", name="Ask them all now").click()
    expect(page.get_by_text("1 of 1 questions found what they should.")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Hit rates: 100 %"))).to_be_visible()

    page.get_by_text("Embed everything anew").click()
    page.get_by_label("Longest passage").fill("80")
    page.get_by_role("button", name="Prepare it").click()
    ready = page.get_by_role("heading", name="Ready to switch")
    for _ in range(240):
        if ready.is_visible():
            break
        page.wait_for_timeout(250)
        page.reload()
    expect(ready).to_be_visible()
    accessible(page)
    page.get_by_role("button", name="Ask the golden questions of it").click()
    page.get_by_role("button", name="Switch to it").click()
    expect(page.get_by_text("passages of up to 80 tokens;")).to_be_visible()
    page.get_by_role("button", name="Go back to it").click()
    expect(page.get_by_text("passages of up to 400 tokens;")).to_be_visible()
    assert not visitor.wrongs
