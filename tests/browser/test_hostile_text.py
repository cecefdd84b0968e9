"""Hostile text wherever text is shown, in a real browser: no script runs, nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from chatgrid.chat.models import Conversation, Message
from departments.documents.store import open_store
from departments.loop import run
from tests.browser.conftest import Visitor, sign_in
from tests.browser.hostile import HOSTILE, Poisoned, be, look, places, poison, wrongs_here
from tests.company import Company, give_key
from tests.provider import Provider


@pytest.fixture
def poisoned(office: Company) -> Poisoned:
    """Hostile text as the name of everybody and everything, and in everything that was ever said or uploaded."""
    return poison(office, HOSTILE)


@pytest.mark.timeout(420)
def test_no_text_in_any_place_runs_or_loads_anything(visitor: Visitor, poisoned: Poisoned) -> None:
    wrong = [f"{place.name}, {place.address}: {wrongs}" for place, wrongs in look(visitor, places(poisoned)) if wrongs]
    assert not wrong, "\n".join(wrong)
    page = visitor.page
    be(page, poisoned.office.bob)
    page.goto(f"/c/{poisoned.conversation.pk}/")
    for citation in page.locator(".prose .citation").all()[-len(HOSTILE) :: 3]:
        citation.scroll_into_view_if_needed()
        page.mouse.move(0, 0)
        page.wait_for_timeout(400)  # scrolling closes the card
        citation.focus()
        page.locator("#citation-card").wait_for()
        assert wrongs_here(visitor) == [], "the card over a citation"


def test_a_page_that_is_not_there_says_so_without_running_its_address(visitor: Visitor) -> None:
    for text in HOSTILE:
        visitor.page.goto(f"/nowhere/{quote(text, safe='')}/?next={quote(text)}")
        wrongs = [each for each in wrongs_here(visitor) if "404" not in each]
        assert wrongs == [], text


def test_an_answer_that_streams_runs_and_loads_nothing_at_any_moment(
    visitor: Visitor, office: Company, provider: Provider
) -> None:
    page, key = visitor.page, give_key(office.hr)
    sign_in(page, office.alice.email)
    page.goto("/d/hr/")
    for shape in (lambda text: [text], lambda text: [text[at : at + 3] for at in range(0, len(text), 3)]):
        ask(page, provider, key, shape, "\n\n".join(HOSTILE))
        assert wrongs_here(visitor) == [], "a streamed answer"
    ask(page, provider, key, lambda text: [text], "[\u202ehttps://bank.example/](https://evil.example/)")
    assert page.evaluate(READ_FROM_LEFT) == "(evil.example)", "an override before a host turned it round"


# the letters of the last host that stands behind a link, in the order in which they are drawn
READ_FROM_LEFT = """() => {
  const text = [...document.querySelectorAll(".link-host")].at(-1).firstChild;
  const letters = [...text.data].map((letter, at) => {
    const range = document.createRange();
    range.setStart(text, at);
    range.setEnd(text, at + 1);
    return [range.getBoundingClientRect().left, letter];
  });
  return letters.sort((one, other) => one[0] - other[0]).map(([, letter]) => letter).join("");
}"""


def ask(page: Page, provider: Provider, key: Any, shape: Callable[[str], list[str]], answer: str) -> None:
    before = page.locator("article.message-assistant[data-state=complete]").count()
    provider.misbehave(key, "scripted", times=1, chunks=shape(answer))
    page.get_by_role("textbox").last.fill("What is there? <script>window.ran = 1</script>")
    page.keyboard.press("Enter")
    expect(page.locator("article.message-assistant[data-state=complete]")).to_have_count(before + 1)


def test_a_secret_in_a_question_is_asked_about_before_it_is_sent(visitor: Visitor, office: Company) -> None:
    page = visitor.page
    sign_in(page, office.alice.email)
    page.goto("/d/hr/")
    page.get_by_role("textbox").last.fill("Is 4111 1111 1111 1111 a card of ours?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("a card number")
    assert not Conversation.objects.filter(owner=office.alice).exists()
    expect(page.get_by_role("textbox").last).to_have_value("Is 4111 1111 1111 1111 a card of ours?")
    page.get_by_role("button", name="Send anyway").click()
    expect(page.get_by_text("Answer complete")).to_be_attached()
    assert Conversation.objects.filter(owner=office.alice).exists()


def test_the_store_holds_what_was_typed_and_not_what_was_shown(poisoned: Poisoned) -> None:
    """Escaping happens on the way out: what is kept is the text itself."""

    async def texts() -> str:
        async with open_store(poisoned.office.hr) as store:
            passages = await store.list_passages(poisoned.documents[0].id, offset=0, limit=50)
        return " ".join(passage.text for passage in passages)

    assert "&lt;" not in run(texts())
    assert Message.objects.filter(conversation=poisoned.conversation, text=HOSTILE[0]).exists()
