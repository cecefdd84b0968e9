"""The auditor's tasks in a real browser: find an entry, understand its proof, see the charts, verify, export, read."""

from __future__ import annotations

import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterator

import pytest
from django.core.management import call_command
from playwright.sync_api import Page, expect

from audit.events import Event
from audit.models import AuditEvent, LegalHold
from tests.browser.conftest import Visitor
from tests.browser.test_main_job import accessible
from tests.chatgrid.console.recording import call, nobody_verifies, seal, write
from tests.company import PASSWORD, Company, make_company

RECORD = "/admin/audit/auditevent/"


@pytest.fixture
def audited() -> Company:
    """A company with a little history: calls of three people, refusals, uploads; sealed and summed up."""
    company = make_company()
    for person, department in ((company.bob, company.hr), (company.alice, company.hr), (company.dave, company.finance)):
        for number in range(3):
            columns = {"department_id": department.pk, "department_name": department.name}
            call(company, person, f"How many days of leave are left, {number}?", **columns)
    write(company, 4, Event.CALL_REFUSED, actor_id=company.bob.pk, actor_name="Bob", model_asked="gpt-6-luna")
    columns = {"actor_id": company.alice.pk, "actor_name": "Alice", "details": {"filename": "a.pdf"}}
    write(company, 60, Event.DOCUMENT_LIVE, **columns)
    seal()
    return company


@pytest.fixture
def sealer() -> Iterator[None]:
    """What the sealer does, every moment: an export's receipt waits for it."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.2):
            call_command("seal_audit", stdout=io.StringIO())

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


def enter(page: Page, email: str) -> None:
    page.goto("/accounts/login/")
    page.locator("input[type=email]").fill(email)
    page.locator("input[type=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "login" not in url)


def test_an_auditor_finds_an_entry_and_follows_its_proof(visitor: Visitor, audited: Company) -> None:
    page = visitor.page
    enter(page, audited.ada.email)
    page.goto(RECORD)
    page.get_by_label("Event", exact=True).select_option("call:refused")
    page.get_by_label("Person").fill("Bob")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(4)
    page.get_by_label("Name for this search").fill("Refused to Bob")
    page.get_by_role("button", name="Save search").click()
    expect(page.get_by_text("Saved as “Refused to Bob”.")).to_be_visible()
    page.goto(RECORD)
    expect(page.locator("#result_list tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("link", name="Newer")).to_be_visible()
    page.get_by_role("link", name="Refused to Bob").click()
    page.locator("#result_list tbody a").first.click()
    expect(page.get_by_text("This entry is exactly as it was sealed.")).to_be_visible()
    steps = page.locator("ol.proof > li h3")
    expect(steps).to_have_text([re.compile(": yes$")] * 5)
    page.locator("ol.proof summary").nth(1).click()
    expect(page.locator("ol.proof dd code").filter(has_text=re.compile("^[0-9a-f]{64}$")).first).to_be_attached()
    assert visitor.wrongs == []


def test_an_auditor_asks_for_a_verification_and_sees_its_result(visitor: Visitor, audited: Company) -> None:
    nobody_verifies()
    page = visitor.page
    enter(page, audited.ada.email)
    page.goto(f"{RECORD}seals/")
    expect(page.get_by_text("The record is being sealed.")).to_be_visible()
    page.get_by_role("button", name="Verify now").click()
    page.wait_for_url("**/verifications/**")
    # by itself: the page looks again until the worker is done
    expect(page.get_by_text("Seals checked")).to_be_visible(timeout=60_000)
    assert AuditEvent.objects.filter(actor_id=audited.ada.pk, event=Event.RECORD_VERIFIED).exists()
    assert visitor.wrongs == []


def test_an_auditor_draws_charts_and_narrows_them(visitor: Visitor, audited: Company) -> None:
    page = visitor.page
    enter(page, audited.ada.email)
    page.goto(f"{RECORD}charts/")
    expect(page.locator("figure.chart")).to_have_count(4)
    expect(page.get_by_role("img", name="Tokens by day")).to_be_visible()
    page.get_by_label("Show", exact=True).select_option("calls")
    page.get_by_role("button", name="Draw").click()
    page.get_by_role("link", name="Finance").click()
    expect(page.locator("figure").filter(has_text="Calls by person").locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="See these entries").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(6)
    assert visitor.wrongs == []


def test_an_auditor_exports_with_a_fresh_sign_in(visitor: Visitor, audited: Company, sealer: None) -> None:
    page = visitor.page
    enter(page, audited.ada.email)
    page.goto(f"{RECORD}?event=call:refused")
    page.get_by_role("link", name="Export these").click()
    sign_in_again(page)
    expect(page.get_by_label("Event")).to_have_value("call:refused")
    page.get_by_label("Reason").fill("Audit of the year")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    archive = zipfile.ZipFile(download.value.path())
    assert len(archive.read("events.csv").splitlines()) == 5
    assert visitor.wrongs == []


def sign_in_again(page: Page) -> None:
    """Only where the sign-in is not fresh any more; here it is a few seconds old."""
    if "reauthenticate" in page.url:
        page.locator("input[type=password]").fill(PASSWORD)
        page.get_by_role("button", name="Go on").click()


def test_an_auditor_reads_a_question_with_a_reason_and_it_cannot(visitor: Visitor, audited: Company) -> None:
    page = visitor.page
    request = AuditEvent.objects.filter(organization_id=audited.organization.pk, event=Event.CALL_REQUESTED).first()
    assert request is not None
    enter(page, audited.ivan.email)
    page.goto(f"{RECORD}{request.pk}/change/")
    expect(page.get_by_text("Only an auditor may read it")).to_be_visible()
    page.context.clear_cookies()
    enter(page, audited.ada.email)
    page.goto(f"{RECORD}{request.pk}/change/")
    expect(page.get_by_text("days of leave are left")).to_have_count(0)
    page.get_by_role("button", name="Read the question").click()
    sign_in_again(page)
    page.get_by_label("Reason").fill("Complaint 17")
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_text("days of leave are left")).to_be_visible()
    assert AuditEvent.objects.filter(actor_id=audited.ada.pk, event=Event.QUESTION_READ).exists()
    assert visitor.wrongs == []


def test_every_page_of_the_auditor_is_accessible_in_both_themes_and_on_a_phone(
    visitor: Visitor, audited: Company
) -> None:
    page = visitor.page
    entry = AuditEvent.objects.filter(organization_id=audited.organization.pk, event=Event.CALL_REQUESTED).first()
    hold = LegalHold.objects.create(organization_id=audited.organization.pk, reason="Case 9", set_by="Ivan")
    assert entry is not None
    enter(page, audited.ada.email)
    pages: list[Callable[[], object]] = [
        lambda: page.goto(f"{RECORD}?event=call:refused"),
        lambda: page.goto(f"{RECORD}?since=yesterday"),
        lambda: page.goto(f"{RECORD}{entry.pk}/change/"),
        lambda: open_all(page),
        lambda: page.goto(f"{RECORD}charts/"),
        lambda: open_all(page),
        lambda: page.goto(f"{RECORD}seals/"),
        lambda: page.goto(f"{RECORD}questions/"),
        lambda: page.goto("/record/export/"),
        lambda: page.goto(f"/admin/audit/legalhold/{hold.pk}/change/"),
    ]
    for visit in pages:
        visit()
        page.wait_for_load_state()
        accessible(page)


def open_all(page: Page) -> None:
    page.evaluate("for (const each of document.querySelectorAll('main details')) each.open = true")


def test_it_s_forms_on_keeping_are_accessible(visitor: Visitor, audited: Company) -> None:
    page = visitor.page
    enter(page, audited.ivan.email)
    for address in (
        f"/admin/departments/organization/{audited.organization.pk}/change/",
        f"/admin/departments/department/{audited.hr.pk}/change/",
        "/admin/audit/legalhold/add/",
        "/admin/audit/legalhold/",
    ):
        page.goto(address)
        accessible(page)


def test_the_list_and_an_entry_work_without_javascript(browser: object, site: object, audited: Company) -> None:
    context = browser.new_context(  # type: ignore[attr-defined]
        base_url=site.address,  # type: ignore[attr-defined]
        java_script_enabled=False,
    )
    page = context.new_page()
    enter(page, audited.ada.email)
    page.goto(f"{RECORD}?event=call:refused")
    page.locator("#result_list tbody a").first.click()
    expect(page.get_by_text("This entry is exactly as it was sealed.")).to_be_visible()
    page.locator("ol.proof summary").first.click()
    expect(page.locator("ol.proof code").first).to_be_visible()
    page.goto(f"{RECORD}charts/")
    expect(page.locator("figure.chart")).to_have_count(4)
    context.close()
