"""A person asks for more and a department admin grants it in two clicks, in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Page

from departments.limits.grant_models import Grant, MoreAsked
from tests.browser.conftest import Visitor, sign_in
from tests.browser.test_main_job import accessible
from tests.company import Company, set_limit

WHY = "The yearly report has to be done by Friday."


def test_asking_for_more_and_granting_it(visitor: Visitor, office: Company) -> None:
    page = visitor.page
    set_limit(office, department=office.hr, tokens_per_day=5_000_000, money_per_month=400)
    sign_in(page, office.bob.email)
    page.get_by_role("link", name="Budget").click()
    page.get_by_label("What do you need it for?").fill(WHY)
    look(page, "asking")
    page.get_by_role("button", name="Ask for more").click()
    page.get_by_text("Your department admin has been told.").first.wait_for()
    accessible(page)
    assert MoreAsked.objects.get(person=office.bob).reason == WHY
    page.context.clear_cookies()

    sign_in(page, office.alice.email)
    page.get_by_role("link", name="Budget").click()
    look(page, "granting")
    accessible(page)
    page.get_by_role("button", name="Grant", exact=True).click()
    page.get_by_text("Granted now").wait_for()
    look(page, "granted")
    grant = Grant.objects.get(person=office.bob)
    assert grant.amount == 100_000  # half of the budget is what the page suggests
    page.get_by_text("End it for Bob").click()
    look(page, "ending")
    accessible(page)
    page.get_by_label("Why does it end?").fill("The report is done.")
    page.get_by_role("button", name="End it now").click()
    page.get_by_text("What Bob was granted has ended").wait_for()
    assert not Grant.objects.get(person=office.bob).holds
    assert visitor.wrongs == []


def look(page: Page, name: str) -> None:
    """Pictures for whoever builds the page, where CHATGRID_TEST_PICTURES names a folder; and it fits a small phone."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width in (320, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if folder := os.environ.get("CHATGRID_TEST_PICTURES"):
                page.screenshot(path=Path(folder) / f"{name}-{scheme}-{width}.png", full_page=True)
