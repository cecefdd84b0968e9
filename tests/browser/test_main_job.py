"""The main job in a real browser: sign in, upload, ask, watch, open the source, stop, sign out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from fpdf import FPDF
from playwright.sync_api import Page, expect

from departments.keys.reader import current_vault, key_name
from departments.keys.secret import Secret
from tests.browser.conftest import FADED, Visitor, sign_in
from tests.company import Company, give_key
from tests.provider import Provider

POLICY = (
    "Everybody who works in the office may carry five unused days of annual leave into the next year. "
    "They have to be taken before the end of April; what is left then is lost without pay."
)
QUESTION = "How many unused days of leave may I carry into the next year?"
WIDTHS = {"desk": 1280, "phone": 320}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("helvetica", size=20)
    pdf.cell(text="Annual leave", new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("helvetica", size=11)
    pdf.multi_cell(0, text=POLICY)
    path = tmp_path / "annual-leave.pdf"
    pdf.output(str(path))
    return path


def accessible(page: Page) -> None:
    """axe finds nothing, in both themes, on a desk and on a phone; nothing is wider than the phone."""
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # no half-way colours
        for width in WIDTHS.values():
            page.set_viewport_size({"width": width, "height": 800})
            page.evaluate(FADED)
            found = Axe().run(page)
            assert found.violations_count == 0, f"{page.url} {theme} {width}px\n{found.generate_report()}"
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{page.url} is {overflow}px too wide at {width}px"
    page.set_viewport_size({"width": 1280, "height": 800})


def upload(page: Page, path: Path) -> None:
    page.goto("/d/hr/documents/")
    page.set_input_files("input[type=file]", path)
    expect(page.locator(".cell-state", has_text="Ready").first).to_be_visible(timeout=60_000)


def ask(page: Page, question: str) -> None:
    page.get_by_role("textbox").last.fill(question)
    page.keyboard.press("Enter")


def test_the_main_job(visitor: Visitor, office: Company, provider: Provider, policy: Path) -> None:
    page = visitor.page
    key = _key_of(office)
    sign_in(page, office.alice.email)
    upload(page, policy)
    page.goto("/d/hr/")
    ask(page, QUESTION)
    answer = page.locator("article").last
    expect(answer).to_contain_text("five unused days")
    expect(page).to_have_url(re.compile(r"/c/[0-9a-f-]{36}/"))
    expect(page.get_by_text("Answer complete")).to_be_attached()

    answer.get_by_role("link", name=re.compile("Annual leave|annual-leave")).first.click()
    expect(page).to_have_url(re.compile(r"/documents/.*#passage-\d+"))
    expect(page.locator(":target")).to_contain_text("five unused days")
    page.go_back()

    provider.misbehave(key, "long", tokens_per_second=20)
    ask(page, "Tell me everything about leave, please.")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped").first).to_be_attached()
    provider.behave()

    page.locator("details.person summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/accounts/login/**")
    page.goto("/d/hr/")
    expect(page).to_have_url(re.compile("/accounts/login/"))
    assert visitor.wrongs == []


def test_no_word_is_lost_to_a_long_paste_or_a_session_that_ended(visitor: Visitor, office: Company) -> None:
    page, box = visitor.page, visitor.page.locator("#question")
    sign_in(page, office.bob.email)
    page.goto("/d/hr/")
    pasted = "many words " * 2_727 + "end"
    ask(page, pasted)
    expect(page.get_by_text("longer than 16,000 characters")).to_be_visible()
    expect(box).to_have_value(pasted)

    page.context.clear_cookies(name="chatgrid_session")
    ask(page, QUESTION)
    expect(page.get_by_text("You are signed out")).to_be_visible()
    expect(box).to_have_value(QUESTION)
    other_tab = page.context.new_page()
    sign_in(other_tab, office.bob.email)
    box.press("Enter")
    expect(page.get_by_text("Answer complete")).to_be_attached()
    expect(box).to_have_value("")


def test_every_page_is_accessible_in_both_themes_and_on_a_phone(
    visitor: Visitor, office: Company, policy: Path
) -> None:
    page = visitor.page
    pages: list[Callable[[], object]] = [
        lambda: page.goto("/accounts/login/"),
        lambda: page.goto("/accounts/password/reset/"),
        lambda: sign_in(page, office.alice.email),
        lambda: upload(page, policy),
        lambda: page.get_by_role("link", name=re.compile("Annual leave|annual-leave")).first.click(),
        lambda: page.goto("/d/hr/"),
        lambda: (ask(page, QUESTION), page.get_by_text("Answer complete").wait_for(state="attached")),
        lambda: page.reload(),
        lambda: page.goto("/accounts/password/change/"),
        lambda: page.goto("/c/00000000-0000-0000-0000-000000000000/"),
    ]
    for visit in pages:
        visit()
        page.wait_for_load_state()
        accessible(page)


def test_it_works_without_javascript(browser: object, site: object, office: Company, policy: Path) -> None:
    context = browser.new_context(  # type: ignore[attr-defined]
        base_url=site.address,
        java_script_enabled=False,  # type: ignore[attr-defined]
    )
    page = context.new_page()
    sign_in(page, office.alice.email)
    page.goto("/d/hr/documents/")
    page.set_input_files("input[type=file]", policy)
    page.get_by_role("button", name=re.compile("Upload")).click()
    for _ in range(120):
        if page.locator(".cell-state", has_text="Ready").count():
            break
        page.wait_for_timeout(500)
        page.goto("/d/hr/documents/")
    page.goto("/d/hr/")
    page.get_by_role("textbox").last.fill(QUESTION)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("article").last).to_contain_text("five unused days")
    context.close()


def _key_of(office: Company) -> Secret:
    """The key the simulator will see from this HR: a new one, so that it can be told to misbehave for it alone."""
    assert current_vault().get_current(key_name(office.hr))
    return give_key(office.hr)
