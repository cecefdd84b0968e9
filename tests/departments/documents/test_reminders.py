"""Mails about documents whose day of review has come: to whom, when, and how often."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from departments.documents import tasks
from departments.documents.deletion import delete_document
from departments.documents.listing import set_review
from departments.documents.records import DocumentVersion
from departments.documents.reminders import TITLES_NAMED
from departments.documents.store import open_store
from departments.limits.alert_models import Notice
from departments.models import Membership
from departments.roles import DepartmentRole
from tests.company import Company
from tests.departments.documents.shelf import LEAVE, execute, ready, upload

DAY = date(2027, 3, 15)


@pytest.fixture
def hr(company: Company) -> Company:
    ready(company.hr)
    return company


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the time in Berlin, where the company is."""

    def set_to(day: date, hour: int) -> None:
        at = datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo("Europe/Berlin"))
        monkeypatch.setattr(timezone, "now", lambda: at)

    return set_to


async def due(company: Company, name: str, day: date | None = DAY) -> DocumentVersion:
    version = await upload(company.hr, company.alice, f"{LEAVE}{name}", name)
    async with open_store(company.hr) as store:
        await set_review(store, version.document_id, day)
    return version


async def mails(company: Company) -> list[tuple[str, str, str]]:
    found = Notice.objects.filter(organization=company.organization).order_by("address")
    return [row async for row in found.values_list("address", "subject", "body")]


async def test_the_admins_get_one_mail_for_all_that_came_due(hr: Company, clock: Any) -> None:
    await Membership.objects.filter(user=hr.carol, department=hr.hr).aupdate(role=DepartmentRole.ADMIN)
    await due(hr, "b-handbook.md")
    await due(hr, "a-prices.md", DAY - timedelta(days=400))
    await due(hr, "future.md", DAY + timedelta(days=1))
    await due(hr, "never.md", None)
    gone = await due(hr, "gone.md")
    await delete_document(hr.hr, hr.alice, gone.document_id)
    clock(DAY, 7)
    await tasks.tend_department(hr.hr)
    told = await mails(hr)
    assert [address for address, _, _ in told] == sorted([hr.alice.email, hr.carol.email])
    assert {subject for _, subject, _ in told} == {"2 documents of Human Resources to review"}
    body = told[0][2]
    assert body.index("- a-prices") < body.index("- b-handbook")
    assert [name in body for name in ("future", "never", "gone")] == [False] * 3


async def test_each_chosen_day_is_told_once_and_a_new_one_again(hr: Company, clock: Any) -> None:
    version = await due(hr, "prices.md")
    clock(DAY, 9)
    await tasks.tend_department(hr.hr)
    async with open_store(hr.hr) as store:
        await set_review(store, version.document_id, DAY)  # saved again without a change
    for day in (DAY, DAY + timedelta(days=1)):
        clock(day, 9)
        await tasks.tend_department(hr.hr)
    assert len(await mails(hr)) == 1
    async with open_store(hr.hr) as store:
        await set_review(store, version.document_id, DAY + timedelta(days=30))
    clock(DAY + timedelta(days=29), 9)
    await tasks.tend_department(hr.hr)
    assert len(await mails(hr)) == 1
    clock(DAY + timedelta(days=30), 9)
    await tasks.tend_department(hr.hr)
    assert len(await mails(hr)) == 2


async def test_the_day_is_the_organizations_and_begins_in_the_morning(hr: Company, clock: Any) -> None:
    hr.organization.time_zone = "Pacific/Auckland"  # twelve hours ahead of Berlin in March
    await hr.organization.asave()
    hr.hr.organization = hr.organization
    await due(hr, "prices.md")
    clock(DAY - timedelta(days=1), 18)  # six in the morning of the day, there
    await tasks.tend_department(hr.hr)
    assert await mails(hr) == []
    clock(DAY - timedelta(days=1), 19)
    await tasks.tend_department(hr.hr)
    assert len(await mails(hr)) == 1


async def test_switched_off_nothing_is_sent_and_nothing_is_marked(hr: Company, clock: Any, settings: Any) -> None:
    settings.REVIEW_MAILS = False
    await due(hr, "prices.md")
    clock(DAY, 9)
    await tasks.tend_department(hr.hr)
    assert await mails(hr) == []
    assert await execute(hr.hr, "SELECT reminded_of FROM document") == [{"reminded_of": None}]


async def test_a_department_without_an_admin_tells_the_next_one(hr: Company, clock: Any) -> None:
    alice = Membership.objects.filter(user=hr.alice, department=hr.hr)
    await alice.aupdate(role=DepartmentRole.MEMBER)
    await due(hr, "prices.md")
    clock(DAY, 9)
    await tasks.tend_department(hr.hr)
    assert await mails(hr) == []
    await alice.aupdate(role=DepartmentRole.ADMIN)
    await tasks.tend_department(hr.hr)
    assert [address for address, _, _ in await mails(hr)] == [hr.alice.email]


async def test_a_mail_that_cannot_be_written_is_tried_again(
    hr: Company, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await due(hr, "prices.md")
    clock(DAY, 9)
    with monkeypatch.context() as broken:
        broken.setattr("departments.documents.reminders.tell_people", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await tasks.tend_department(hr.hr)
    await tasks.tend_department(hr.hr)
    assert len(await mails(hr)) == 1


async def test_a_long_list_is_cut_and_says_so(hr: Company, clock: Any) -> None:
    await due(hr, "prices.md")
    await execute(
        hr.hr,
        "INSERT INTO document (id, title, filename, review_on)"
        " SELECT gen_random_uuid(), 'Note ' || n, 'note.md', '2027-01-01' FROM generate_series(1, 30) AS n",
    )
    clock(DAY, 9)
    await tasks.tend_department(hr.hr)
    [(_, subject, body)] = await mails(hr)
    assert subject.startswith("31 documents")
    assert body.count("\n- ") == TITLES_NAMED + 1
    assert f"and {31 - TITLES_NAMED} more" in body
