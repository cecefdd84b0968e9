"""A department's assistant in a real browser: rules written, the request shown, a trial run by the worker."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from departments.calls.models import Trial
from departments.calls.tasks import run_trials
from tests.browser.conftest import Visitor, sign_in
from tests.browser.test_main_job import accessible
from tests.company import Company


def write_rules(page: Page) -> None:
    page.get_by_label("What it is for").fill("Answer about leave and travel in two sentences.")
    page.get_by_label("What it must not discuss").fill("salaries of the directors")
    page.get_by_label("Members may read these rules").check()


def test_rules_are_written_previewed_and_tried(visitor: Visitor, office: Company) -> None:
    page = visitor.page
    sign_in(page, office.alice.email)
    page.get_by_role("link", name="Assistant", exact=True).click()
    write_rules(page)
    page.get_by_label("A question").fill("How many days of leave are there?")
    page.get_by_role("button", name="Show the request").click()
    expect(page.locator(".messages pre").first).to_contain_text("salaries of the directors")
    page.get_by_text("The whole request").click()
    accessible(page)
    page.get_by_role("button", name="Save the rules").click()
    expect(page.get_by_text("The rules are saved.")).to_be_visible()
    page.get_by_role("button", name="Start a trial").click()
    expect(page.get_by_role("heading", name="Trial of")).to_be_visible()
    run_trials.delay()  # what the clock does every ten seconds
    finished(page, office)
    page.reload()
    expect(page.locator(".tried-held")).to_have_count(19)
    accessible(page)
    page.get_by_role("link", name="The assistant of Human Resources").click()
    accessible(page)
    assert visitor.wrongs == []


def finished(page: Page, office: Company) -> None:
    for _ in range(240):
        if Trial.objects.filter(department=office.hr, state=Trial.State.FINISHED).exists():
            return
        page.wait_for_timeout(250)
    raise AssertionError(Trial.objects.filter(department=office.hr).values())


def test_a_member_reads_what_is_public(visitor: Visitor, office: Company) -> None:
    office.hr.instructions, office.hr.rules_public = "Answer about leave.", True
    office.hr.save()
    page = visitor.page
    sign_in(page, office.bob.email)
    page.get_by_role("link", name="Assistant", exact=True).click()
    expect(page.get_by_text("Answer about leave.")).to_be_visible()
    accessible(page)
    assert visitor.wrongs == []
