"""IT's main tasks in a real browser: each is walked with the mouse, each page is clean for axe in both themes.

Signing in again and writing a reason are part of the walk, because they are part of IT's night.
"""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, expect

from chatgrid.accounts.models import User
from chatgrid.console.models import Departure
from departments.keys.rotation_models import Rotation
from departments.limits.grant_models import Grant
from departments.limits.models import Limit
from departments.models import Department
from tests.browser.conftest import FADED, Site, Visitor
from tests.chatgrid.accounts.test_second_factor import code_of
from tests.company import PASSWORD, Company

THEMES = ("light", "dark")


@pytest.fixture
def console(visitor: Visitor, office: Company) -> Page:
    """Ivan of IT, signed in a while ago."""
    page = visitor.page
    page.goto("/accounts/login/")
    page.locator("input[type=email]").fill(office.ivan.email)
    page.locator("input[type=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
    return page


def clean(page: Page) -> None:
    """No finding of axe, in both themes, and nothing wider than the window at 320 pixels."""
    page.wait_for_load_state()
    expect(page.locator("main h1").first).to_be_visible()  # a click may have left a page that is still coming
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.evaluate(FADED)
        found = Axe().run(page).response["violations"]
        assert not found, [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320, page.url
    page.set_viewport_size({"width": 1280, "height": 800})


def confirm(page: Page, reason: str) -> None:
    """The page between: why?"""
    page.get_by_label("Reason").fill(reason)
    page.get_by_role("button", name="Do it").click()


def test_the_home_page_is_read_at_a_glance_and_checks_now(console: Page) -> None:
    console.goto("/admin/")
    expect(console.locator(".tile .badge")).not_to_have_count(0)
    clean(console)
    tile = console.locator("#tile-7")
    tile.get_by_role("button", name="Check now").click()
    expect(console.get_by_text("Being checked. The tile says when it is done.")).to_be_visible()
    # the site's worker makes the check, and the page follows by itself
    expect(console.locator("#tile-7 .badge").first).to_have_text("Holds", timeout=60_000)
    console.locator("#tile-7 summary").click()
    expect(console.locator("#tile-7")).to_contain_text("1 key; the oldest is")
    clean(console)


def test_it_adds_a_person_and_makes_a_department(console: Page, office: Company) -> None:
    console.goto("/admin/accounts/user/add/")
    clean(console)
    email = f"frida@{office.organization.slug}.example"
    console.get_by_label("Name").fill("Frida")
    console.get_by_label("E-mail address").fill(email)
    console.get_by_role("button", name="Save", exact=True).click()
    expect(console.get_by_text(f"{email} was sent a link")).to_be_visible()
    assert User.objects.get(email=email).organization_id == office.organization.pk
    console.goto("/admin/departments/department/add/")
    clean(console)
    console.get_by_label("Name", exact=True).fill("Legal")
    console.get_by_label("Short name").fill("legal")
    console.get_by_role("button", name="Save", exact=True).click()
    expect(console.locator(".notices")).to_contain_text("Legal")
    assert console.locator(".notices a").count() == 1
    assert console.locator(".notice > a").count() == 0, "a sentence with a link in it is one piece, not three columns"
    assert Department.objects.filter(organization=office.organization, slug="legal").exists()


def test_it_sets_a_limit_after_seeing_what_it_would_have_refused(console: Page, office: Company) -> None:
    console.goto("/admin/limits/limit/add/")
    console.get_by_label("Department").select_option(str(office.hr.pk))
    console.get_by_label("Tokens a day", exact=True).fill("50000")
    console.get_by_role("button", name="What would this have refused last week?").click()
    expect(console.get_by_text("would have refused none of")).to_be_visible()
    expect(console.get_by_label("Tokens a day", exact=True)).to_have_value("50000")
    clean(console)
    console.get_by_label("Reason").fill("a quiet month")
    console.get_by_role("button", name="Save", exact=True).click()
    console.wait_for_url("**/limits/limit/")
    assert Limit.objects.get(department=office.hr).tokens_per_day == 50_000
    clean(console)
    console.goto("/admin/limits/limit/import/")
    clean(console)
    text = f"department,person,tokens_per_day\nhr,,60000\n,{office.bob.email},500\n"
    console.get_by_label("CSV file").set_input_files(
        {"name": "limits.csv", "mimeType": "text/csv", "buffer": text.encode()}
    )
    console.get_by_role("button", name="Show what would change").click()
    expect(console.get_by_text("2 limits would change")).to_be_visible()
    clean(console)
    console.get_by_label("Reason").fill("new budgets")
    console.get_by_role("button", name="Change 2 limits").click()
    expect(console.get_by_text("2 limits changed")).to_be_visible()
    assert Limit.objects.get(person=office.bob).tokens_per_day == 500
    change_the_chosen_ones(console)
    assert set(Limit.objects.filter(organization=office.organization).values_list("answers_at_once", flat=True)) == {7}


def change_the_chosen_ones(console: Page) -> None:
    """All of the list, in one form."""
    console.get_by_label("Select all objects on this page for an action").check()
    console.get_by_label("Action:").select_option(label="Change …")
    console.get_by_role("button", name="Go").click()
    expect(console.get_by_text("For 3 limits:")).to_be_visible()
    clean(console)
    console.get_by_label("Answers at once", exact=True).fill("7")
    console.get_by_role("button", name="Show what would change").click()
    expect(console.get_by_text("Answers at once: none → 7").first).to_be_visible()
    clean(console)
    console.get_by_label("Reason").fill("a busy month")
    console.get_by_role("button", name="Change 3 limits").click()
    expect(console.get_by_text("3 limits changed")).to_be_visible()


def test_it_ends_a_grant_sets_up_a_target_and_finds_both_in_the_record(console: Page, office: Company) -> None:
    now = timezone.now()
    Grant.objects.create(
        organization=office.organization,
        department=office.hr,
        person=office.bob,
        amount=1_000,
        starts_at=now,
        ends_at=now + timedelta(days=2),
        granted_by=office.alice.pk,
        granted_by_name="Alice",
        reason="A report",
    )
    console.goto("/admin/limits/grant/")
    clean(console)
    console.locator("#result_list tbody").get_by_role("link", name="Bob").click()
    expect(console.get_by_role("heading", name="Bob: 1,000 tokens more a day")).to_be_visible()
    clean(console)
    console.get_by_role("button", name="End it now").click()
    expect(console.get_by_text("End what Bob was granted")).to_be_visible()
    clean(console)
    confirm(console, "The report is done")
    expect(console.get_by_text("The grant has ended.")).to_be_visible()
    assert not Grant.objects.get(person=office.bob).holds
    console.goto("/admin/limits/alerttarget/add/")
    clean(console)
    console.get_by_label("Sent by").select_option("webhook")
    console.get_by_label("Address").fill("https://hooks.example.com/budget")
    console.get_by_role("button", name="Save and continue editing").click()
    expect(console.get_by_text("Signing secret")).to_be_visible()
    clean(console)
    console.goto("/admin/audit/auditevent/?event=limit:more_withdrawn")
    clean(console)
    expect(console.locator("#result_list tbody tr")).to_have_count(1)
    console.locator("#result_list tbody a").first.click()
    console.get_by_text("Details as they were sealed").click()
    expect(console.get_by_text("The report is done")).to_be_visible()
    clean(console)


def test_it_pauses_a_department_and_lets_it_go_on(console: Page, office: Company) -> None:
    console.goto("/admin/live/")
    clean(console)
    console.get_by_label("Reason to pause Human Resources").fill("Wrong document online")
    console.get_by_role("button", name="Pause Human Resources").click()
    expect(console.get_by_text("Human Resources is paused")).to_be_visible()
    assert Department.objects.get(pk=office.hr.pk).pause_reason == "Wrong document online"
    clean(console)
    console.get_by_role("button", name="Resume Human Resources").click()
    expect(console.get_by_text("Let Human Resources answer again.")).to_be_visible()
    confirm(console, "The document is gone")
    expect(console.get_by_text("Human Resources goes on.")).to_be_visible()
    assert Department.objects.get(pk=office.hr.pk).paused_at is None


def test_a_role_is_changed_with_a_reason_and_no_word_is_lost(console: Page, office: Company) -> None:
    console.goto(f"/admin/accounts/user/{office.bob.pk}/change/")
    clean(console)
    console.get_by_label("Name").fill("Robert")
    console.get_by_label("Role", exact=True).first.select_option("auditor")
    console.get_by_role("button", name="Save", exact=True).click()
    expect(console.get_by_text("Change the role of Robert from Employee to Auditor.")).to_be_visible()
    clean(console)
    confirm(console, "audits from December on")
    console.wait_for_url("**/accounts/user/")
    bob = User.objects.get(pk=office.bob.pk)
    assert (bob.name, bob.role) == ("Robert", "auditor")


def test_somebody_leaves_now_and_the_receipt_says_so(console: Page, office: Company) -> None:
    long = f"bartholomew.longbottom-ashworth@{office.organization.slug}.example"  # wider than a small phone
    User.objects.filter(pk=office.bob.pk).update(email=long)
    console.goto(f"/admin/accounts/user/{office.bob.pk}/change/")
    console.get_by_role("link", name="Leave now").click()
    expect(console.get_by_text("This ends at once, and nothing asks again:")).to_be_visible()
    clean(console)
    console.get_by_label("Reason").fill("left the company")
    console.get_by_role("button", name="End their access now").click()
    expect(console.get_by_text("Nothing of theirs runs any more")).to_be_visible(timeout=60_000)
    clean(console)
    assert Departure.objects.get(person=office.bob).reason == "left the company"
    assert not User.objects.get(pk=office.bob.pk).is_active


def test_a_key_is_exchanged_with_one_button(console: Page, office: Company) -> None:
    console.goto(f"/admin/keys/keyreference/{office.hr.key.pk}/change/")
    clean(console)
    console.get_by_role("button", name="Exchange now").first.click()
    if console.get_by_role("button", name="Do it").count():
        confirm(console, "as every quarter")
    until = time.monotonic() + 60
    while not Rotation.objects.filter(department=office.hr).exists():
        assert time.monotonic() < until, console.content()
        console.wait_for_timeout(100)


@pytest.mark.parametrize(
    "name", ["accounts/user", "departments/membership", "departments/department", "keys/rotation", "console/departure"]
)
def test_a_list_is_clean_and_fits_a_phone(console: Page, name: str) -> None:
    console.goto(f"/admin/{name}/")
    expect(console.locator("h1")).to_be_visible()
    clean(console)


def test_the_live_page_follows_without_a_reload(console: Page, office: Company, site: Site) -> None:
    console.clock.install()
    console.goto("/admin/live/")
    console.evaluate("window.stillHere = true")
    Department.objects.filter(pk=office.hr.pk).update(paused_at="2026-11-23T00:00Z", pause_reason="By a command")
    console.clock.fast_forward("01:00")  # it looks again sooner than that
    expect(console.get_by_text("By a command")).to_be_visible()
    assert console.evaluate("window.stillHere"), "the page was not loaded again"


def test_a_second_factor_is_set_up_in_one_go(console: Page, office: Company) -> None:
    console.goto("/accounts/second-factor/")
    clean(console)
    console.get_by_role("link", name="Set it up").click()
    console.locator("input[type=password]").fill(PASSWORD)
    console.get_by_role("button", name="Go on").click()
    expect(console.get_by_role("heading", name="Set up a second factor")).to_be_visible()
    picture = console.locator(".factor-code")
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("picture => picture.naturalWidth > 0")
    secret = console.locator(".factor-secret code").text_content() or ""
    clean(console)
    console.get_by_label("Authenticator code").fill(code_of(secret))
    console.get_by_role("button", name="Set it up").click()
    expect(console.locator(".factor-codes li")).to_have_count(10)
    clean(console)
    console.get_by_role("link", name="Done").click()
    expect(console.get_by_text("You have 10 left.")).to_be_visible()
    clean(console)
