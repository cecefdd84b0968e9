"""The pages of keys in a real browser: light and dark, on a desk and on a phone, without a finding of axe."""

from __future__ import annotations

import os
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from playwright.sync_api import Page

from departments.keys.models import AdminKeyReference, KeyReference
from departments.keys.provisioning import apply
from departments.keys.rotation import start
from departments.keys.rotation_models import Rotation
from departments.models import Organization
from tests.browser.conftest import FADED, Visitor
from tests.company import PASSWORD, Company
from tests.openai_admin import OpenAICompany
from tests.provider import Provider

SHOTS = os.environ.get("CHATGRID_SHOTS", "")  # a folder for pictures of what was looked at


def look(page: Page, name: str) -> None:
    for scheme in ("light", "dark"):
        for width in (1280, 320):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate(FADED)
            place = f"{name}, {scheme}, {width}"
            if SHOTS:
                page.screenshot(path=Path(SHOTS) / f"{name}-{scheme}-{width}.png", full_page=True)
            found = Axe().run(page)
            assert found.violations_count == 0, f"{place}: {found.generate_report()}"
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{place} is wider than the screen"


def enter(page: Page, email: str, address: str) -> None:
    page.goto(address)
    page.locator("input[type=email]").fill(email)
    page.locator("input[type=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{address}")


def until(page: Page, words: str) -> None:
    """Load the page again until it says so: a worker is at it."""
    for _ in range(240):
        if page.get_by_text(words).count():
            return
        page.wait_for_timeout(250)
        page.reload()
    raise AssertionError(f"{words!r} never came: {page.locator('main').inner_text()}")


def test_it_exchanges_a_key_at_once_and_looks_at_every_page_of_keys(
    office: Company, provider: Provider, visitor: Visitor
) -> None:
    OpenAICompany(provider.address).belongs_to(office.organization)
    apply(office.hr)
    page, key = visitor.page, KeyReference.objects.get(department=office.hr)
    address = reverse("admin:keys_keyreference_change", args=[key.pk])
    enter(page, office.ivan.email, address)
    page.get_by_role("button", name="Emergency").first.click()
    page.get_by_label("Reason").fill("seen in a repository")
    page.locator("main").get_by_role("button").first.click()
    page.wait_for_url(f"**{address}")
    done = Rotation.objects.get(department=office.hr)
    page.goto(reverse("admin:keys_rotation_change", args=[done.pk]))
    until(page, "Done: the old key is proven dead")
    page.goto(address)
    until(page, "The key works.")
    now = KeyReference.objects.get(pk=key.pk)
    assert (now.version, now.key_id != key.key_id) == (str(done.pk), True)
    assert page.get_by_text(now.fingerprint).count()
    under_way = start(office.hr, Rotation.Trigger.BUTTON)
    reference = AdminKeyReference.objects.get(organization=office.organization)
    places = {
        "key": address,
        "keys": reverse("admin:keys_keyreference_changelist"),
        "rotation": reverse("admin:keys_rotation_change", args=[under_way.pk]),
        "rotations": reverse("admin:keys_rotation_changelist"),
        "access": reverse("admin:keys_keyaccess_changelist"),
        "admin-keys": reverse("admin:keys_adminkeyreference_changelist"),
        "admin-key": reverse("admin:keys_adminkeyreference_change", args=[reference.pk]),
        "paste": reverse("admin:keys_keyreference_paste"),
        "project": reverse("admin:keys_providerproject_change", args=[office.hr.project.pk]),
    }
    for place in places.values():  # before axe comes, which asks for the imports of our styles where they are not
        page.goto(place)
        assert visitor.wrongs == [], place
    for name, place in places.items():
        page.goto(place)
        look(page, name)


def test_a_department_admin_looks_at_the_department_s_key(office: Company, visitor: Visitor) -> None:
    Organization.objects.filter(pk=office.organization.pk).update(admins_paste_keys=True)
    enter(visitor.page, office.alice.email, "/d/hr/key/")
    assert visitor.wrongs == []
    look(visitor.page, "department-key")
    visitor.page.get_by_role("link", name="Paste a new key").click()
    visitor.page.get_by_label("Key").fill("no key at all")
    visitor.page.get_by_label("Reason").fill("x")
    visitor.page.get_by_role("button", name="Store the key").click()
    look(visitor.page, "department-key-paste")
