"""The documents pages in a real browser: a folder goes up, rows move by themselves, many are chosen and deleted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from departments.loop import run
from tests.browser.conftest import Visitor, sign_in
from tests.browser.test_main_job import accessible
from tests.chatgrid.documents.test_shelf import five_hundred
from tests.company import Company

PATIENCE = 90_000  # milliseconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve documents in two folders, one that is torn, one that is empty."""
    inner = tmp_path / "Policies" / "2026"
    inner.mkdir(parents=True)
    for number in range(12):
        (inner / f"policy-{number}.md").write_text(f"# Policy {number}\n\nText of policy {number} about the garden.")
    (tmp_path / "Policies" / "torn.pdf").write_text("%PDF-1.7 and then nothing")
    (tmp_path / "Policies" / "empty.txt").write_text("")
    return tmp_path / "Policies"


def settled(page: Page) -> None:
    """No row moves any more, without a reload."""
    expect(page.locator("tr[data-working]")).to_have_count(0, timeout=PATIENCE)


def fits(page: Page) -> None:
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width == 320, f"a phone has to be moved sideways on {page.url}"


def test_a_folder_is_uploaded_read_and_watched_without_a_reload(
    visitor: Visitor, office: Company, folder: Path
) -> None:
    page = visitor.page
    sign_in(page, office.alice.email)
    page.goto("/d/hr/documents/")
    page.evaluate("window.neverReloaded = true")
    page.set_input_files("#folder", folder)
    expect(page.get_by_text("13 of 14 uploaded, 1 not taken.")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("This file is empty")).to_be_visible()
    page.locator("#uploads").evaluate("list => { list.style.maxHeight = '2rem'; }")  # as where many were not taken
    refused = page.locator(".upload-failed")
    assert refused.evaluate("row => row.scrollHeight <= row.clientHeight + 1"), "its words stand outside its frame"
    expect(page.locator("#documents tbody tr")).to_have_count(13)
    settled(page)
    expect(page.get_by_text("Policies/2026/policy-3.md")).to_be_visible()
    torn = page.locator("tr", has_text="torn.pdf")
    expect(torn.get_by_text("upload it again")).to_be_visible()
    expect(page.locator("#summary")).to_contain_text("12 of 13 ready")
    expect(page.locator("#state option")).to_contain_text(["All (13)", "Ready (12)", "Working (0)", "Failed (1)"])
    page.set_viewport_size({"width": 320, "height": 800})
    fits(page)
    page.set_viewport_size({"width": 1280, "height": 800})
    torn.get_by_role("button", name="Try again").click()
    expect(torn.get_by_text("upload it again")).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("window.neverReloaded") is True
    page.set_input_files("#folder", folder)  # the same again: recognised by content
    # the torn one is here as long as it is still being tried again, and a new file once that has failed
    expect(page.get_by_text(re.compile("1[23] were here already"))).to_be_visible(timeout=PATIENCE)
    unexpected = [wrong for wrong in visitor.wrongs if "422" not in wrong]  # the empty file's refusal
    assert unexpected == []


def test_a_phone_is_never_moved_sideways_by_a_long_name_or_address(
    visitor: Visitor, office: Company, tmp_path: Path
) -> None:
    page = visitor.page
    file = tmp_path / f"{'Reisekostenrichtlinie_' * 6}2026.txt"
    file.write_text(f"Hotels cost at most 220 EUR a night: https://intranet.example.org/{'path/' * 20}index.html")
    sign_in(page, office.alice.email)
    page.set_viewport_size({"width": 320, "height": 800})
    page.goto("/d/hr/documents/")
    page.set_input_files("#files", file)
    expect(page.locator("#summary")).to_contain_text("1 of 1 ready", timeout=PATIENCE)
    fits(page)
    page.get_by_role("link", name="Reisekostenrichtlinie").click()
    expect(page.locator(".passage-text")).to_contain_text("Hotels cost")
    fits(page)
    page.goto("/d/hr/documents/test/")
    page.get_by_role("textbox", name="Question").fill("What may hotels cost?")
    page.keyboard.press("Enter")
    expect(page.locator(".bench-text").first).to_contain_text("Hotels cost")
    fits(page)


def test_many_rows_stay_quick_and_accessible_and_are_deleted_after_asking(visitor: Visitor, office: Company) -> None:
    page = visitor.page
    run(five_hundred(office))
    sign_in(page, office.alice.email)
    page.goto("/d/hr/documents/?per=500")
    expect(page.locator("#documents tbody tr")).to_have_count(500)
    took = page.evaluate("performance.getEntriesByType('navigation')[0].domComplete")
    assert took < 15_000, f"500 rows took {took} ms"
    page.get_by_label("All on this page").check()
    expect(page.get_by_text("500 chosen")).to_be_visible()
    page.get_by_label("All on this page").uncheck()
    page.goto("/d/hr/documents/?q=Copy+49&per=50")
    accessible(page)
    page.get_by_role("link", name="Use").click()
    expect(page.get_by_role("heading", name="Questions that found nothing")).to_be_visible()
    accessible(page)
    page.get_by_role("link", name="Least").click()
    expect(page.get_by_role("heading", name="Least cited")).to_be_visible()
    page.goto("/d/hr/documents/?q=Copy+49&per=50")
    page.get_by_label("All on this page").check()
    page.locator("#bulk").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete 11 documents?")).to_be_visible()
    accessible(page)
    page.get_by_role("button", name="Delete 11 for good").click()
    expect(page.get_by_text("11 documents are out of search")).to_be_visible()
    expect(page.locator("#summary")).to_contain_text("489")
    for address in ("deleted", "sources/"):
        page.goto(f"/d/hr/documents/{address}")
        accessible(page)
    assert visitor.wrongs == []
