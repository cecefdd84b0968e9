"""IT of one company finds nothing of another at any address of the console: list, filter, search, choice, object.

All of it comes from the registry and the routes, so a page that is added is in here by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import uuid4

import pytest
from django.contrib.admin import ModelAdmin
from django.db.models import Model
from django.test import AsyncClient
from django.urls import URLPattern, reverse

from chatgrid.accounts.models import User
from chatgrid.console.site import _patterns, site
from departments.models import Department
from tests.chatgrid.console.rows import LISTED, OWN_PAGES, row_of
from tests.chatgrid.console.test_access import OF_NOBODY
from tests.chatgrid.console.test_live import under_way
from tests.company import Company, freshly_signed_in, give_key

WORDS = ("rotate", "emergency", "rotate-store", "give-up", "confirm-deletion", "look-again", "nonsense")
SAME = {404, 405}
OTHERWISE = {
    "live_stop": {302, 405},  # an answer that is not there has ended: the same sentence for both
    "audit_auditevent_question": {403},  # an auditor's alone: IT is told so, whatever the address
}


def rows_of(company: Company) -> dict[str, Model]:
    """A row of every list that has rows of a company."""
    give_key(company.hr)
    return {name: row_of(name, company) for name in LISTED if name not in OF_NOBODY}


def marks(company: Company, rows: dict[str, Model]) -> set[str]:
    """What must not be read by anybody else: ids of all rows, names and addresses of departments and people."""
    departments = Department.objects.filter(organization=company.organization)
    people = User.objects.filter(organization=company.organization)
    names = {f"{each}" for each in departments if each.name.startswith("D ")}
    ids = {str(row.pk) for row in rows.values()} | {str(each.pk) for each in departments}
    return ids | names | {each.email for each in people} | {company.organization.name, company.organization.slug}


def shown(page: str, asked: str) -> str:
    """The page without what its reader has typed: the search box and the links of the filters repeat it."""
    for word in {asked, escape(asked), quote(asked), quote_plus(asked), quote(quote_plus(asked))} - {""}:
        page = page.replace(word, "")
    return page


@pytest.mark.parametrize("name", LISTED)
async def test_a_list_its_filters_and_its_search_hold_nothing_of_another_company(
    company: Company, other_company: Company, name: str
) -> None:
    rows = rows_of(company)
    secret = marks(company, rows)
    client = await freshly_signed_in(other_company.ivan)
    address = reverse(f"admin:{name}_changelist")
    row = rows.get(name)
    queries: list[dict[str, str]] = [{}, {"q": company.bob.email}, {"department": str(company.hr.pk)}, {"all": ""}]
    queries += [{"q": str(row)}, {"q": str(row.pk)}] if row else []
    for query in queries:
        response = await client.get(address, query)
        page = response.content.decode()
        for asked in query.values():
            page = shown(page, asked)
        found = [page[max(0, page.index(word) - 90) :][:200] for word in secret if word in page]
        assert not found, (query, response.status_code)
    assert not [word for word in secret if word in (await client.get("/admin/")).content.decode()]


async def test_no_choice_of_any_form_names_another_company(company: Company, other_company: Company) -> None:
    secret = marks(company, rows_of(company))
    client = await freshly_signed_in(other_company.ivan)
    for name in LISTED:
        if name in OWN_PAGES:
            continue
        text = (await client.get(reverse(f"admin:{name}_add"))).content.decode()
        assert not [word for word in secret if word in text], name
    for app, model, field in choosing_fields():
        query = {"app_label": app, "model_name": model, "field_name": field}
        for term in ("", "Bob", company.bob.email, "D "):
            response = await client.get(reverse("admin:autocomplete"), {**query, "term": term})
            assert response.status_code in {200, 403}
            assert not [word for word in secret if word in response.content.decode()], query


def choosing_fields() -> Iterator[tuple[str, str, str]]:
    """Every field of the registry that leads to another model: what the search for choices can be asked for."""
    for model in site._registry:
        for field in model._meta.get_fields():
            if getattr(field, "remote_field", None) and field.concrete:
                yield model._meta.app_label, str(model._meta.model_name), field.name


async def test_every_address_with_an_object_of_another_company_finds_nothing(
    company: Company, other_company: Company
) -> None:
    rows = rows_of(company)
    call = under_way(company)
    client: AsyncClient = await freshly_signed_in(other_company.ivan)
    tried = set()
    for pattern in _patterns(site.get_urls()):
        for given in arguments(pattern, company, rows, str(call.pk)):
            address = reverse(f"admin:{pattern.name}", kwargs=given) if pattern.name else ""
            if not address:
                continue
            tried.add(pattern.name)
            for method in ("get", "post"):
                response = await getattr(client, method)(address, {"post": "yes", "reason": "mine", "_save": "1"})
                assert response.status_code in OTHERWISE.get(pattern.name, SAME), (pattern.name, method, given)
    stock = {name for name in rows if name not in OWN_PAGES}
    assert tried >= {f"{name}_{page}" for name in stock for page in ("change", "delete", "history")}
    assert tried >= {"live_stop", "live_pause", "accounts_user_leave", "limits_grant_end", "keys_rotation_do"}
    call.refresh_from_db()
    assert not call.stop_requested
    assert all(type(row)._default_manager.filter(pk=row.pk).exists() for row in rows.values())


def arguments(pattern: URLPattern, company: Company, rows: dict[str, Model], call: str) -> Iterator[dict[str, Any]]:
    """What an address of an object takes, filled with the company's; nothing for one without an object."""
    taken = set(pattern.pattern.converters)
    listed = next((name for name in sorted(rows, key=len, reverse=True) if (pattern.name or "").startswith(name)), "")
    known = {"department_id": str(company.hr.pk), "call_id": call}
    if listed:
        known |= dict.fromkeys(("object_id", "event_id", "pk"), str(rows[listed].pk))
    if not taken & set(known):
        return
    for word in WORDS if "button" in taken else [""]:
        yield {name: word if name == "button" else known.get(name, str(uuid4())) for name in taken}


async def test_a_csv_of_limits_holds_ones_own(company: Company, other_company: Company) -> None:
    rows = rows_of(company)
    client = await freshly_signed_in(other_company.ivan)
    text = (await client.get(reverse("admin:limits_limit_csv"))).content.decode()
    assert len(text.splitlines()) == 1
    chosen = {"action": "download_chosen", "_selected_action": [str(rows["limits_limit"].pk)], "select_across": "1"}
    page = await client.post(reverse("admin:limits_limit_changelist"), chosen)
    assert not [word for word in marks(company, rows) if word in page.content.decode()]


def test_every_list_is_a_page_of_the_console_and_none_of_django_s_own() -> None:
    from chatgrid.console.admin.base import ConsoleAdmin

    assert all(isinstance(page, ConsoleAdmin) for page in site._registry.values() if isinstance(page, ModelAdmin))
