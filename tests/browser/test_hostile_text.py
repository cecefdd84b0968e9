"""Hostile text wherever text is shown, in a real browser: no script runs, nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from chatgrid.chat.models import Conversation, Message
from departments.documents.store import open_store
from departments.loop import run
from tests.browser.conftest import Visitor, sign_in
from tests.company import PASSWORD, Company, give_key
from tests.departments.documents.shelf import add
from tests.provider import Provider

ELSEWHERE = "https://elsewhere.example"
HOSTILE = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    f"<img src={ELSEWHERE}/a.png>",
    "\"><svg/onload=window.ran=1>",
    "' autofocus onfocus='window.ran = 1' x='",
    f"</textarea></title></style><iframe src={ELSEWHERE}/></iframe>",
    f"<style>@import '{ELSEWHERE}/x.css'; body {{ background: url({ELSEWHERE}/b.png) }}</style>",
    f"<link rel=stylesheet href={ELSEWHERE}/y.css><base href={ELSEWHERE}/>",
    f"<meta http-equiv=refresh content='0;url={ELSEWHERE}'>",
    f"![x]({ELSEWHERE}/i.png?d=secret) [x](javascript:window.ran=1) <a href='javascript:window.ran=1'>y</a>",
    f"![x][r]\n\n[r]: {ELSEWHERE}/r.png",
    f"<form action={ELSEWHERE}><button autofocus>ok</button></form>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=window.ran=1>",
    f"<video src={ELSEWHERE}/v.mp4 autoplay poster={ELSEWHERE}/p.png onloadstart=window.ran=1></video>",
    "{{ 7*7 }} {% debug %} ${window.ran=1} `${window.ran=1}`",
    f"```html\n<script>window.ran = 1</script>\n<img src={ELSEWHERE}/c.png>\n```",
]  # fmt: skip
EVERYTHING = " ".join(HOSTILE)


def assert_untouched(visitor: Visitor, where: str) -> None:
    page = visitor.page
    page.wait_for_load_state()
    page.wait_for_timeout(200)  # what would load does so after a moment
    assert page.evaluate("window.ran") is None, where
    assert page.locator("main img:not([src^='/static/']), iframe, object, embed, base, main style").count() == 0, where
    assert visitor.wrongs == [], where


@pytest.fixture
def poisoned(office: Company) -> tuple[Company, dict[str, Any]]:
    """Hostile text as the name of everybody and everything, and in everything that was ever said or uploaded."""
    for thing, size in ((office.bob, 120), (office.hr, 120), (office.organization, 120)):
        type(thing).objects.filter(pk=thing.pk).update(name=EVERYTHING[:size])
    version = run(add(office.hr, office.bob, f"# {HOSTILE[0]} {HOSTILE[1]}\n\n{EVERYTHING}\n", f"{HOSTILE[1]}.md"))
    cited = {"number": 1, "document": str(version.document_id), "version": str(version.id), "ordinal": 0,
             "title": EVERYTHING, "headings": [EVERYTHING], "locator": {"sheet": EVERYTHING}, "quote": EVERYTHING,
             "uploader": EVERYTHING, "uploaded_at": EVERYTHING}  # fmt: skip
    found = Conversation.objects.create(department=office.hr, owner=office.bob, title=EVERYTHING[:80])
    for text in HOSTILE:
        Message.objects.create(conversation=found, role="person", text=text)
        Message.objects.create(conversation=found, role="assistant", text=f"{text} [1]", citations=[cited])
    Message.objects.create(conversation=found, role="assistant", state="failed", problem=EVERYTHING)
    return office, {"conversation": found.pk, "document": version.document_id}


def test_no_text_in_any_place_runs_or_loads_anything(
    visitor: Visitor, poisoned: tuple[Company, dict[str, Any]]
) -> None:
    office, ids = poisoned
    page = visitor.page
    sign_in(page, office.bob.email)
    for address in ("/d/hr/", f"/c/{ids['conversation']}/", "/d/hr/documents/", f"/d/hr/documents/{ids['document']}/",
                    "/d/hr/documents/?q=%3Cscript%3Ewindow.ran=1%3C/script%3E", "/accounts/password/change/",
                    "/accounts/logout/"):  # fmt: skip
        page.goto(address)
        assert_untouched(visitor, address)
    page.goto(f"/c/{ids['conversation']}/")
    citation = page.locator(".prose .citation").last
    citation.scroll_into_view_if_needed()
    page.wait_for_timeout(300)  # scrolling closes the card
    citation.hover()
    page.locator("#citation-card").wait_for(timeout=5_000)
    assert_untouched(visitor, "the card over a citation")


def test_no_text_in_the_console_runs_or_loads_anything(
    visitor: Visitor, poisoned: tuple[Company, dict[str, Any]]
) -> None:
    office, _ = poisoned
    page = visitor.page
    page.goto("/accounts/login/")
    page.locator("input[type=email]").fill(office.ivan.email)
    page.locator("input[type=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "login" not in url)
    for address in ("/admin/", "/admin/accounts/user/", f"/admin/accounts/user/{office.bob.pk}/change/",
                    "/admin/departments/department/", f"/admin/departments/department/{office.hr.pk}/change/",
                    "/admin/departments/membership/", "/admin/departments/organization/", "/admin/keys/keyreference/",
                    "/admin/audit/auditevent/", "/admin/limits/limit/"):  # fmt: skip
        page.goto(address)
        assert_untouched(visitor, address)


def test_an_answer_that_streams_runs_and_loads_nothing_at_any_moment(
    visitor: Visitor, office: Company, provider: Provider
) -> None:
    page, key = visitor.page, give_key(office.hr)
    sign_in(page, office.alice.email)
    page.goto("/d/hr/")
    for shape in (lambda text: [text], lambda text: [text[at : at + 3] for at in range(0, len(text), 3)]):
        ask(page, provider, key, shape, "\n\n".join(HOSTILE))
        assert_untouched(visitor, "a streamed answer")


def ask(page: Page, provider: Provider, key: Any, shape: Callable[[str], list[str]], answer: str) -> None:
    before = page.locator("article.message-assistant[data-state=complete]").count()
    provider.misbehave(key, "scripted", times=1, chunks=shape(answer))
    page.get_by_role("textbox").last.fill("What is there? <script>window.ran = 1</script>")
    page.keyboard.press("Enter")
    expect(page.locator("article.message-assistant[data-state=complete]")).to_have_count(before + 1, timeout=20_000)


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
    expect(page.get_by_text("Answer complete")).to_be_attached(timeout=20_000)
    assert Conversation.objects.filter(owner=office.alice).exists()


def test_the_store_holds_what_was_typed_and_not_what_was_shown(poisoned: tuple[Company, dict[str, Any]]) -> None:
    """Escaping happens on the way out: what is kept is the text itself."""
    office, ids = poisoned

    async def texts() -> str:
        async with open_store(office.hr) as store:
            detail = await store.get_document(ids["document"])
            assert detail is not None
            passages = await store.list_passages(detail.versions[0].id, offset=0, limit=50)
        return " ".join(passage.text for passage in passages)

    assert "&lt;" not in run(texts())
    assert Message.objects.filter(conversation_id=ids["conversation"], text=HOSTILE[0]).exists()
