"""The console's lists: how many queries they cost, how the record is searched and paged, what the home page says."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from departments.keys.models import KeyReference
from departments.limits.models import Spent
from departments.models import Department, Membership
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


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("accounts_user", 8),
        ("departments_membership", 7),
        ("departments_department", 6),
        ("keys_keyreference", 8),
        ("limits_limit", 7),
        ("audit_auditevent", 7),
        ("calls_cataloguemodel", 9),
        ("departments_organization", 6),
    ],
)
def test_a_list_costs_the_same_few_queries_however_long_it_is(company: Company, name: str, most: int) -> None:
    address = reverse(f"admin:{name}_changelist")
    few = counted(company.ivan, address)
    grow(company)
    many = counted(company.ivan, address)
    assert 0 < len(many) <= most, many
    assert len(many) <= len(few) + 1, many  # a first membership brings its departments along


def test_the_home_page_costs_the_same_few_queries_in_a_large_company(company: Company) -> None:
    few = len(counted(company.ivan, "/admin/"))
    grow(company)
    assert len(counted(company.ivan, "/admin/")) <= few <= 16


def test_the_record_is_never_counted(company: Company) -> None:
    counts = [sql for sql in counted(company.ivan, RECORD) if "COUNT(" in sql]
    assert counts, "the list asks how many pages to offer"
    assert all("LIMIT 2001" in sql for sql in counts), counts


async def test_the_record_goes_on_after_its_last_page(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatgrid.console.admin.record.MOST_ROWS", 100)
    client = await signed_in(company.ivan)
    write(company, 130)
    first = await client.get(RECORD)
    older = first.context["cl"].older_url
    assert "until=" in older
    rest = await client.get(RECORD + older)
    shown = [row.pk for page in (first, rest) for row in page.context["cl"].result_list]
    ours = AuditEvent.objects.filter(organization_id=company.organization.pk)
    assert set(shown) == set(ours.values_list("pk", flat=True))
    assert rest.context["cl"].older_url == ""


async def test_the_record_is_filtered_by_event_department_person_and_period(company: Company) -> None:
    client = await signed_in(company.ivan)
    write(company, 2, Event.CALL_REFUSED, actor_id=company.bob.pk, actor_name="Bob")
    write(company, 1, Event.DOCUMENT_LIVE, department_id=company.finance.pk, actor_id=company.dave.pk)

    async def shown(**query: object) -> int:
        return len((await client.get(RECORD, query)).context["cl"].result_list)

    assert await shown(event="call:refused") == 2
    assert await shown(department=str(company.finance.pk)) == 1
    assert await shown(person=str(company.bob.pk)) == 2
    assert await shown(event="call:refused", period="hour") == 2
    assert await shown(q="Bob") == 2
    assert await shown(q=company.dave.email) == 1
    assert await shown(q="nobody at all") == 0
    assert await shown(q=str(uuid4())) == 0
    until = (timezone.now() - timedelta(days=1)).isoformat()
    assert await shown(until=until) == 0


@pytest.mark.parametrize(
    "query", ["until=yesterday", "until=2026-99-99T00:00", "person=x", "event=x", "q=%00", "p=9999"]
)
async def test_made_up_parameters_do_no_harm(company: Company, query: str) -> None:
    client = await signed_in(company.ivan)
    assert (await client.get(f"{RECORD}?{query}")).status_code in {200, 302}


async def test_an_event_is_shown_whole_and_has_no_way_to_change(company: Company) -> None:
    write(company, 1, Event.CALL_REFUSED, details={"reason": "limit"}, actor_name="Bob")
    event = AuditEvent.objects.filter(organization_id=company.organization.pk).order_by("-at").first()
    client = await signed_in(company.ivan)
    address = reverse("admin:audit_auditevent_change", args=[event.pk])
    page = (await client.get(address)).content.decode()
    assert "&quot;reason&quot;: &quot;limit&quot;" in page
    assert (await client.post(address, {"actor_name": "Nobody"})).status_code == 403
    delete = reverse("admin:audit_auditevent_delete", args=[event.pk])
    assert (await client.post(delete, {"post": "yes"})).status_code == 403
    assert (await client.get(reverse("admin:audit_auditevent_add"))).status_code == 403


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
