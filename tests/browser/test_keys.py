"""The pages of keys in a real browser: light and dark, on a desk and on a phone, without a finding of axe."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from playwright.sync_api import Page

from departments.keys.admin_key import store_admin_key
from departments.keys.models import KeyReference
from departments.keys.rotation import By, start_pasted
from departments.keys.rotation_models import Rotation
from departments.models import Organization
from tests.browser.conftest import Visitor
from tests.company import PASSWORD, Company, make_key
from tests.openai_admin import make_admin_key

SHOTS = os.environ.get("CHATGRID_SHOTS", "")  # a folder for pictures of what was looked at


def look(page: Page, name: str) -> None:
    for scheme in ("light", "dark"):
        for width in (1280, 320):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(250)  # colours fade from one theme to the other
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


def test_it_looks_at_keys_and_presses_the_button(office: Company, visitor: Visitor) -> None:
    page, key = visitor.page, KeyReference.objects.get(department=office.hr)
    start_pasted(office.hr, make_key(), By(office.ivan.pk, "Ivan"), reason="a new year")
    rotation = Rotation.objects.get(department=office.hr)
    reference = store_admin_key(office.organization, make_admin_key(), secrets.token_hex(16))
    address = reverse("admin:keys_keyreference_change", args=[key.pk])
    enter(page, office.ivan.email, address)
    places = {
        "keys": reverse("admin:keys_keyreference_changelist"),
        "rotation": reverse("admin:keys_rotation_change", args=[rotation.pk]),
        "rotations": reverse("admin:keys_rotation_changelist"),
        "access": reverse("admin:keys_keyaccess_changelist"),
        "admin-keys": reverse("admin:keys_adminkeyreference_changelist"),
        "admin-key": reverse("admin:keys_adminkeyreference_change", args=[reference.pk]),
        "paste": reverse("admin:keys_keyreference_paste"),
    }
    assert visitor.wrongs == []
    look(page, "key")
    for name, place in places.items():
        visitor.wrongs.clear()  # axe brings styles of its own along, which the policy refuses
        page.goto(place)
        assert visitor.wrongs == [], place
        look(page, name)
    page.goto(address)
    page.get_by_role("button", name="Emergency").first.click()
    page.get_by_label("Reason").fill("seen in a repository")
    page.locator("main").get_by_role("button").first.click()
    page.wait_for_url(f"**{address}")
    rotation.refresh_from_db()
    assert rotation.mode == Rotation.Mode.EMERGENCY


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
