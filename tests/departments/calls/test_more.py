"""Asking for more and granting it, through the page; it ends by itself, and all of it is in the record."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from departments.calls import grants, more
from departments.limits.alert_models import Notice
from departments.limits.budget import Granted, Refusal
from departments.limits.grant_models import Grant, MoreAsked
from departments.models import Department, Membership
from departments.roles import DepartmentRole
from tests.company import Company, set_limit, signed_in
from tests.departments.limits.reserving import reserve

ADDRESS = "/d/hr/budget/"
WHY = "The yearly report has to be done by Friday."


def more_events(company: Company) -> list[AuditEvent]:
    found = AuditEvent.objects.filter(organization_id=company.organization.pk, event__startswith="limit:more")
    return list(found.order_by("at"))


async def page(client: AsyncClient) -> str:
    return str((await client.get(ADDRESS)).content.decode())


async def ask(company: Company, reason: str = WHY) -> MoreAsked:
    bob = await signed_in(company.bob)
    assert (await bob.post(f"{ADDRESS}ask", {"reason": reason})).status_code == 302
    return await MoreAsked.objects.aget(person=company.bob)


async def test_a_person_asks_and_a_department_admin_grants_until_tonight(company: Company) -> None:
    set_limit(company, person_tokens_per_day=200)
    assert isinstance(await reserve(company), Granted)
    assert isinstance(await reserve(company), Refusal)
    asked = await ask(company)
    notice = await Notice.objects.aget(organization=company.organization)
    assert notice.address == company.alice.email
    assert WHY in notice.body

    alice = await signed_in(company.alice)
    shown = await page(alice)
    assert WHY in shown
    assert "Used 200 tokens of 200 tokens today" in shown
    answer = {"amount": "400", "end": "today"}
    assert (await alice.post(f"{ADDRESS}{asked.pk}", answer)).status_code == 302
    assert isinstance(await reserve(company), Granted)
    assert isinstance(await reserve(company), Granted)
    assert isinstance(await reserve(company), Refusal)

    grant = await Grant.objects.aget(person=company.bob)
    tonight = grant.ends_at.astimezone(ZoneInfo("Europe/Berlin"))
    assert (tonight.hour, tonight.minute) == (0, 0)
    assert timedelta(0) < tonight - timezone.now() <= timedelta(hours=25)
    assert "Alice gave you 400 tokens more a day" in await page(await signed_in(company.bob))
    asked_event, granted = more_events(company)
    assert (asked_event.event, asked_event.actor_name) == (Event.MORE_ASKED, "Bob")
    assert asked_event.details["reason"] == WHY
    assert (granted.event, granted.actor_name, granted.subject_id) == (
        Event.MORE_GRANTED,
        "Alice",
        str(company.bob.pk),
    )
    assert granted.details["amount"] == "400"
    assert granted.details["before"] == "200"


async def test_a_grant_ends_by_itself_and_its_end_is_recorded_once(company: Company) -> None:
    set_limit(company, person_tokens_per_day=200)
    asked = await ask(company)
    alice = await signed_in(company.alice)
    await alice.post(f"{ADDRESS}{asked.pk}", {"amount": "1000", "end": "week"})
    grants.record_ended()
    assert Event.MORE_ENDED not in [event.event for event in more_events(company)]
    assert isinstance(await reserve(company, prompt=500), Granted)
    await Grant.objects.filter(person=company.bob).aupdate(ends_at=timezone.now())
    assert isinstance(await reserve(company), Refusal)
    assert grants.record_ended() >= 1
    grants.record_ended()
    ended = [event for event in more_events(company) if event.event == Event.MORE_ENDED]
    assert [event.details["person"] for event in ended] == ["Bob"]


async def test_a_grant_is_ended_early_with_a_reason_and_counts_no_more(company: Company) -> None:
    set_limit(company, person_tokens_per_day=200)
    asked = await ask(company)
    alice = await signed_in(company.alice)
    await alice.post(f"{ADDRESS}{asked.pk}", {"amount": "1000", "end": "week"})
    grant = await Grant.objects.aget(person=company.bob)
    planned, end = grant.ends_at, f"{ADDRESS}grants/{grant.pk}/end"
    it_shows = reverse("admin:accounts_user_change", args=[company.bob.pk])
    ivan = await signed_in(company.ivan)
    assert "1,000 tokens more a day" in (await ivan.get(it_shows)).content.decode()
    assert "Write why" in (await alice.post(end, {"reason": "  "}, follow=True)).content.decode()
    for who, status in ((company.bob, 403), (company.dave, 404), (company.ivan, 404)):
        assert (await (await signed_in(who)).post(end, {"reason": "mine"})).status_code == status
    assert isinstance(await reserve(company, prompt=500), Granted)
    shown = await alice.post(end, {"reason": "The report is done"}, follow=True)
    assert "What Bob was granted has ended" in shown.content.decode()
    assert "Granted now" not in shown.content.decode()
    assert "gave you" not in await page(await signed_in(company.bob))
    assert "more a day" not in (await ivan.get(it_shows)).content.decode()
    assert isinstance(await reserve(company), Refusal)
    again = await alice.post(end, {"reason": "Once more"}, follow=True)
    assert "ended already" in again.content.decode()
    grants.record_ended()
    ends = more_events(company)[2:]
    assert [event.event for event in ends] == [Event.MORE_WITHDRAWN], "one end, and not also by itself"
    assert (ends[0].actor_name, ends[0].details["reason"]) == ("Alice", "The report is done")
    assert ends[0].details["would_have_ended_at"] == planned.isoformat()


async def test_a_request_is_answered_once_and_declining_gives_nothing(company: Company) -> None:
    set_limit(company, person_tokens_per_day=200)
    asked = await ask(company)
    alice = await signed_in(company.alice)
    assert (await alice.post(f"{ADDRESS}{asked.pk}", {"decline": "1"})).status_code == 302
    response = await alice.post(f"{ADDRESS}{asked.pk}", {"amount": "5", "end": "today"}, follow=True)
    assert "has answered this request already" in response.content.decode()
    assert not await Grant.objects.filter(person=company.bob).aexists()
    assert [event.event for event in more_events(company)] == [Event.MORE_ASKED, Event.MORE_DECLINED]
    await ask_again(company)


async def test_where_no_other_admin_is_there_it_is_told(company: Company) -> None:
    set_limit(company, person_tokens_per_day=200)
    alice = await signed_in(company.alice)
    assert "IT reads this" in await page(alice)
    response = await alice.post(f"{ADDRESS}ask", {"reason": WHY}, follow=True)
    assert "IT has been told." in response.content.decode()
    notice = await Notice.objects.aget(organization=company.organization)
    assert notice.address == company.ivan.email
    assert more.IT_CAN in notice.body
    await MoreAsked.objects.filter(person=company.alice).adelete()
    await Membership.objects.filter(user=company.bob, department=company.hr).aupdate(role=DepartmentRole.ADMIN)
    await alice.post(f"{ADDRESS}ask", {"reason": WHY})
    assert await Notice.objects.filter(organization=company.organization, address=company.bob.email).acount() == 1


@pytest.mark.parametrize("way", ["membership", "sign-in"])
async def test_nobody_is_asked_to_grant_more_to_who_has_left(company: Company, way: str) -> None:
    set_limit(company, person_tokens_per_day=200)
    asked = await ask(company)
    alice = await signed_in(company.alice)
    assert WHY in await page(alice)
    if way == "membership":
        await Membership.objects.filter(user=company.bob).adelete()
    else:
        await User.objects.filter(pk=company.bob.pk).aupdate(is_active=False)
    assert WHY not in await page(alice)
    answer = {"amount": "5", "end": "today"}
    assert (await alice.post(f"{ADDRESS}{asked.pk}", answer)).status_code == 404
    assert not await Grant.objects.filter(person=company.bob).aexists()


async def ask_again(company: Company) -> None:
    bob = await signed_in(company.bob)
    assert (await bob.post(f"{ADDRESS}ask", {"reason": "Once more, please."})).status_code == 302
    twice = await bob.post(f"{ADDRESS}ask", {"reason": "And again."})
    assert twice.status_code == 400
    assert "You asked on" in twice.content.decode()


async def test_nobody_grants_their_own_request_and_no_member_grants_any(company: Company) -> None:
    set_limit(company, person_tokens_per_day=200)
    asked = await ask(company)
    answer = {"amount": "5", "end": "today"}
    for who, status in ((company.bob, 403), (company.carol, 403), (company.dave, 404)):
        assert (await (await signed_in(who)).post(f"{ADDRESS}{asked.pk}", answer)).status_code == status
    await Membership.objects.filter(user=company.bob, department=company.hr).aupdate(role=DepartmentRole.ADMIN)
    bob = await signed_in(company.bob)
    assert "This is your own request" in await page(bob)
    assert (await bob.post(f"{ADDRESS}{asked.pk}", answer)).status_code == 403
    assert not await Grant.objects.filter(person=company.bob).aexists()


async def test_another_departments_and_another_companys_requests_are_not_there(
    company: Company, other_company: Company
) -> None:
    set_limit(company, person_tokens_per_day=200)
    asked = await ask(company)
    stranger = await signed_in(other_company.alice)
    assert (await stranger.post(f"{ADDRESS}{asked.pk}", {"decline": "1"})).status_code == 404
    await Membership.objects.acreate(user=company.alice, department=company.finance, role=DepartmentRole.ADMIN)
    alice = await signed_in(company.alice)
    assert (await alice.post(f"/d/finance/budget/{asked.pk}", {"decline": "1"})).status_code == 404
    assert WHY not in (await alice.get("/d/finance/budget/")).content.decode()
    await asked.arefresh_from_db()
    assert asked.state == MoreAsked.State.OPEN


AMOUNTS = ["", "0", "-5", "1.5", "20.000", "2,0", "1,2345", "abc", "NaN", "Infinity", "1e30", "1e2", "2001", "9" * 40]


@pytest.mark.parametrize("amount", AMOUNTS)
async def test_an_amount_that_makes_no_sense_grants_nothing(company: Company, amount: str) -> None:
    set_limit(company, person_tokens_per_day=200)
    asked = await ask(company)
    alice = await signed_in(company.alice)
    response = await alice.post(f"{ADDRESS}{asked.pk}", {"amount": amount, "end": "today"}, follow=True)
    assert "notice-error" in response.content.decode()
    assert not await Grant.objects.filter(person=company.bob).aexists()
    await asked.arefresh_from_db()
    assert asked.state == MoreAsked.State.OPEN


async def test_more_money_a_month_is_asked_for_where_that_is_in_the_way(company: Company) -> None:
    set_limit(company, department=company.hr, person_money_per_month=Decimal("0.0002"), person_tokens_per_day=100_000)
    prices = {"price_input": Decimal(1), "price_output": Decimal(1)}
    assert isinstance(await reserve(company, **prices), Granted)
    asked = await ask(company)
    assert (asked.measure, asked.period) == ("money", "month")
    alice = await signed_in(company.alice)
    assert "US dollars a month more" in await page(alice)
    await alice.post(f"{ADDRESS}{asked.pk}", {"amount": "0.001", "end": "month"})
    assert isinstance(await reserve(company, **prices), Granted)
    end = (await Grant.objects.aget(person=company.bob)).ends_at.astimezone(ZoneInfo("Europe/Berlin"))
    assert (end.day, end.hour) == (1, 0)


@pytest.mark.parametrize("amount", ["12,50", "1.234,5", "0.00001", "1e3", "-1", "9" * 30, "$5"])
async def test_an_amount_in_dollars_is_never_read_for_another_one(company: Company, amount: str) -> None:
    set_limit(company, person_money_per_month=Decimal(500))
    asked = await ask(company)
    alice = await signed_in(company.alice)
    response = await alice.post(f"{ADDRESS}{asked.pk}", {"amount": amount, "end": "today"}, follow=True)
    assert "such as 12.50" in response.content.decode()
    assert not await Grant.objects.filter(person=company.bob).aexists()
    await alice.post(f"{ADDRESS}{asked.pk}", {"amount": "1,234.50", "end": "today"})
    assert (await Grant.objects.aget(person=company.bob)).amount == Decimal("1234.5")


@pytest.mark.parametrize("amount", ["20000", "1e17", "9" * 12])
async def test_a_budget_that_was_lifted_meanwhile_gets_no_more(company: Company, amount: str) -> None:
    limit = set_limit(company, person_tokens_per_day=200)
    asked = await ask(company)
    await limit.adelete()
    alice = await signed_in(company.alice)
    response = await alice.post(f"{ADDRESS}{asked.pk}", {"amount": amount, "end": "today"}, follow=True)
    assert "notice-error" in response.content.decode()
    assert not await Grant.objects.filter(person=company.bob).aexists()
    await alice.post(f"{ADDRESS}{asked.pk}", {"decline": "1"})
    await asked.arefresh_from_db()
    assert asked.state == MoreAsked.State.DECLINED


async def test_a_reason_of_odd_characters_is_kept_as_far_as_a_database_can(company: Company) -> None:
    set_limit(company, person_tokens_per_day=200)
    bob = await signed_in(company.bob)
    assert (await bob.post(f"{ADDRESS}ask", {"reason": "für 報告 \x00\u202e<b>"})).status_code == 302
    assert (await MoreAsked.objects.aget(person=company.bob)).reason == "für 報告 \u202e<b>"


async def test_without_a_budget_of_ones_own_the_page_says_who_can_help(company: Company) -> None:
    set_limit(company, department=company.hr, tokens_per_day=1_000)
    bob = await signed_in(company.bob)
    assert "You have no budget of your own here" in await page(bob)
    assert (await bob.post(f"{ADDRESS}ask", {"reason": "x"})).status_code == 400
    assert (await bob.post(f"{ADDRESS}ask", {"reason": "  "})).status_code == 400


async def test_the_meter_leads_to_the_page_when_little_is_left(company: Company) -> None:
    set_limit(company, person_tokens_per_day=200)
    bob = await signed_in(company.bob)
    assert "Ask for more</a>" not in (await bob.get("/d/hr/")).content.decode()
    await reserve(company)
    shown = (await bob.get("/d/hr/")).content.decode()
    assert "Used up." in shown
    assert f"{ADDRESS}#ask-title" in shown


def test_an_end_is_a_midnight_of_the_organization(company: Company) -> None:
    department = Department.objects.select_related("organization").get(pk=company.hr.pk)
    ends: dict[str, datetime] = {name: more._end(department, name) for name in more.ENDS}
    assert ends["today"] < ends["week"]
    assert all((end.hour, end.minute) == (0, 0) for end in ends.values())
    assert ends["month"].day == 1
