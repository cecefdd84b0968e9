"""The console's lists: how many queries they cost, how the record is searched and paged, what the home page says."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from departments.keys.models import AdminKeyReference, KeyReference
from departments.limits.models import Spent
from departments.models import Department, Membership, Organization
from tests.chatgrid.console.rows import LISTED, STOCK, row_of
from tests.company import Company, give_key, set_limit, signed_in

RECORD = reverse("admin:audit_auditevent_changelist")


def write(company: Company, number: int, event: Event = Event.CALL_REFUSED, **columns: object) -> None:
    shared = {"organization_id": company.organization.pk, "organization_name": company.organization.name}
    for _ in range(number):
        record(Entry(event=event, **{**shared, "department_id": company.hr.pk, "department_name": "HR", **columns}))


def counted(person: User, address: str) -> list[str]:
    """The statements of one request.

    The synchronous client, for once: with it the view runs in this thread, on the connection that is listened to.
    """
    client = Client()
    client.force_login(person)
    with CaptureQueriesContext(connection) as capture:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in capture.captured_queries]


def grow(company: Company) -> None:
    """Thirty departments with a key, thirty people with a membership and a limit each."""
    for number in range(30):
        department = Department.objects.create(organization=company.organization, slug=f"d{number}", name=f"D {number}")
        name = f"{department.pk}"
        KeyReference.objects.create(department=department, secret_name=name, version="1", fingerprint="f" * 16)
        email = f"p{number}@{company.organization.slug}.example"
        person = User.objects.create_user(email, None, name=f"P {number}", organization=company.organization)
        Membership.objects.create(user=person, department=department)
        set_limit(company, person=person, tokens_per_day=number)
    write(company, 30, actor_id=company.bob.pk, actor_name="Bob")


MOST_QUERIES = 12
ONE_A_COMPANY = {Organization, AdminKeyReference}


@pytest.mark.parametrize("name", LISTED)
def test_a_list_costs_the_same_few_queries_however_long_it_is(company: Company, name: str) -> None:
    """Every list of the registry: a new one is in here by itself."""
    address = reverse(f"admin:{name}_changelist")
    row_of(name, company)  # a first row may bring a query of its own along
    few = counted(company.ivan, address)
    for _ in range(25):
        row_of(name, company)
    grow(company)
    many = counted(company.ivan, address)
    assert 0 < len(many) <= MOST_QUERIES, many
    assert len(many) <= len(few) + 1, many  # a first membership brings its departments along


@pytest.mark.parametrize("name", STOCK)
def test_a_list_has_pages_a_search_and_columns_that_say_more_than_a_name(name: str) -> None:
    page = LISTED[name]
    assert page.list_per_page <= 100
    assert page.list_max_show_all == 0, "no list is shown whole"
    assert page.show_full_result_count is False
    assert page.search_fields or page.model in ONE_A_COMPANY
    assert len(page.list_display) >= 3
    assert page.list_filter or page.model in ONE_A_COMPANY


@pytest.mark.parametrize("name", STOCK)
def test_a_search_and_each_filter_of_a_list_answer(company: Company, name: str) -> None:
    row_of(name, company)
    client = Client()
    client.force_login(company.ivan)
    address = reverse(f"admin:{name}_changelist")
    page = client.get(address)
    assert client.get(address, {"q": "o'Brien \\ %"}).status_code == 200
    for spec in page.context["cl"].filter_specs:
        for choice in list(spec.choices(page.context["cl"]))[:6]:
            assert client.get(address + choice["query_string"]).status_code == 200, (spec.title, choice)


def test_the_home_page_costs_the_same_few_queries_in_a_large_company(company: Company) -> None:
    few = len(counted(company.ivan, "/admin/"))
    grow(company)
    assert len(counted(company.ivan, "/admin/")) <= few <= 16


async def test_a_tile_asks_for_what_is_missing_and_is_quiet_when_it_is_there(company: Company) -> None:
    client = await signed_in(company.ivan)

    async def todo() -> dict[str, list[str]]:
        tiles = (await client.get("/admin/")).context["tiles"]
        return {tile.name: [fact.text for fact in tile.facts if fact.todo] for tile in tiles}

    missing = await todo()
    assert missing["Departments"] == ["No store yet: Finance, Human Resources"]
    assert missing["Keys"] == ["No key yet: Finance, Human Resources"]
    assert missing["Limits"] == ["The company has no ceiling of its own"]
    give_key(company.hr)
    give_key(company.finance)
    Department.objects.filter(organization=company.organization).update(store_ready=True)
    set_limit(company, tokens_per_day=1_000)
    assert not any((await todo()).values())
    long_ago = timezone.now() - timedelta(days=100)
    KeyReference.objects.filter(department=company.hr).update(state="broken", installed_at=long_ago)
    now = await todo()
    assert now["Keys"] == ["Refused by the provider: Human Resources"]
    assert now["Rotation"] == ["Oldest key: 3\N{NO-BREAK SPACE}months"]


async def test_the_home_page_counts_today_of_the_own_company(company: Company, other_company: Company) -> None:
    for each, tokens in ((company, 1_234), (other_company, 77)):
        today = timezone.localdate(timezone=ZoneInfo(each.organization.time_zone))
        Spent.objects.create(scope="organization", scope_id=each.organization.pk, day=today, tokens=tokens)
    write(company, 3)
    write(other_company, 1)
    page = (await (await signed_in(company.ivan)).get("/admin/")).content.decode()
    assert "1,234 tokens today" in page
    assert "3 calls refused today" in page
