"""Limits: many at once, in and out as CSV, what one would have refused, and which of them holds for a person."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from chatgrid.console.precedence import limits_of
from chatgrid.console.wanted.changes import ChangedMeanwhile, Refused, apply_changes
from chatgrid.console.wanted.limits import Context, plan_limits, read_csv, write_csv
from departments.limits.models import Limit, Reservation
from tests.company import Company, freshly_signed_in, set_limit, signed_in

LIST = reverse("admin:limits_limit_changelist")
IMPORT = reverse("admin:limits_limit_import")
APPLY = reverse("admin:limits_limit_apply")


def mine(company: Company) -> dict[str, int | None]:
    rows = Limit.objects.filter(organization=company.organization).select_related("department", "person")
    return {str(limit): limit.tokens_per_day for limit in rows}


def acts(company: Company) -> list[AuditEvent]:
    events = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.ADMIN_CHANGED)
    return list(events.order_by("at"))


async def upload(client: AsyncClient, text: str) -> str:
    file = SimpleUploadedFile("limits.csv", text.encode(), "text/csv")
    return (await client.post(IMPORT, {"file": file})).content.decode()


def shown_plan(page: str) -> dict[str, str]:
    return {
        name: unescape(re.search(rf'name="{name}" value="([^"]*)"', page).group(1))  # type: ignore[union-attr]
        for name in ("csv", "digest")
    }


async def test_a_csv_is_shown_before_it_is_done_and_each_change_is_recorded(company: Company) -> None:
    set_limit(company, department=company.hr, tokens_per_day=100)
    set_limit(company, person=company.bob, tokens_per_day=5)
    text = (
        "department,person,model,tokens_per_day,money_per_month\n"
        ",,,9000,250.50\n"
        "hr,,,200,\n"
        f",{company.bob.email},,,\n"
        f"finance,{company.carol.email},,70,\n"
    )
    client = await freshly_signed_in(company.ivan)
    page = await upload(client, text)
    assert "4 limits would change. Nothing has changed yet." in page
    assert mine(company) == {"Human Resources": 100, "Bob": 5}
    done = await client.post(APPLY, {**shown_plan(page), "reason": "new budgets"})
    assert done.status_code == 302
    assert mine(company) == {"Human Resources": 200, str(company.organization): 9000, "Carol": 70}
    assert {event.details["action"] for event in acts(company)} == {"added", "changed", "deleted"}
    assert {event.details["reason"] for event in acts(company)} == {"new budgets"}
    changed = next(event for event in acts(company) if event.details["action"] == "changed")
    assert (changed.details["before"]["tokens_per_day"], changed.details["after"]["tokens_per_day"]) == (100, 200)
    again = await upload(client, text)
    assert "Nothing would change" in again


async def test_what_comes_out_goes_in_again_and_changes_nothing(company: Company) -> None:
    set_limit(company, tokens_per_day=9, money_per_month="12.5", person_requests_per_minute=3)
    set_limit(company, department=company.hr, person=company.bob, tokens_per_day=1)
    set_limit(company, model="gpt-6-luna", requests_per_minute=4)
    client = await signed_in(company.ada)
    text = (await client.get(reverse("admin:limits_limit_csv"))).content.decode()
    assert text == write_csv(Limit.objects.filter(organization=company.organization))
    assert plan_limits(Context(company.organization, "again"), read_csv(text)) == []
    assert plan_limits(Context(company.organization, "again"), read_csv(text.replace(",", ";"))) == []


async def test_every_problem_of_a_file_is_named_with_its_row_and_nothing_is_done(
    company: Company, other_company: Company
) -> None:
    text = (
        "department,person,tokens_per_day,answers_at_once\n"
        "nowhere,,5,\n"
        f",{other_company.bob.email},5,\n"
        "hr,,many,\n"
        "hr,,-3,\n"
        "finance,,1,\n"
        "finance,,2,\n"
    )
    page = unescape(await upload(await freshly_signed_in(company.ivan), text))
    for problem in (
        "row 2: there is no department nowhere",
        f"row 3: there is no person {other_company.bob.email}",
        "row 4: tokens_per_day: many is no number",
        "row 5, department Human Resources: tokens_per_day",
        "row 7: department Finance is in row 6 already",
    ):
        assert problem in page, problem
    assert mine(company) == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "The file is empty"),
        ("department,budget\nhr,5\n", "Unknown column: budget"),
        ("department,person\nhr,a,b\n", "row 2: it has another number of cells"),
        ("department,tokens_per_day\n" + "hr,1\n" * 10_001, "At most 10,000 rows"),
    ],
)
def test_a_file_that_is_no_table_of_limits_is_refused(text: str, problem: str) -> None:
    with pytest.raises(Refused, match=re.escape(problem)):
        read_csv(text)


@pytest.mark.parametrize("beginning", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
def test_a_cell_is_never_a_formula_in_a_spreadsheet(company: Company, beginning: str) -> None:
    User.objects.filter(pk=company.bob.pk).update(email=f"{beginning}cmd@{company.organization.slug}.example")
    set_limit(company, person=company.bob, tokens_per_day=1)
    text = write_csv(Limit.objects.filter(organization=company.organization))
    assert f",'{beginning}cmd@" in text
    assert plan_limits(Context(company.organization, "again"), read_csv(text)) == []


async def test_what_somebody_else_changed_meanwhile_is_not_overwritten(company: Company) -> None:
    limit = set_limit(company, department=company.hr, tokens_per_day=100)
    client = await freshly_signed_in(company.ivan)
    plan = shown_plan(await upload(client, "department,tokens_per_day\nhr,200\n"))
    Limit.objects.filter(pk=limit.pk).update(tokens_per_day=150)
    page = await client.post(APPLY, {**plan, "reason": "x"})
    assert "changed meanwhile" in page.content.decode()
    assert mine(company) == {"Human Resources": 150}
    changes = plan_limits(Context(company.organization, "x"), [{"department": "hr", "tokens_per_day": 5}])
    Limit.objects.filter(pk=limit.pk).update(tokens_per_day=151)
    with pytest.raises(ChangedMeanwhile):
        apply_changes(changes, lambda *_: None)


async def test_chosen_limits_are_changed_together(company: Company) -> None:
    chosen = [
        set_limit(company, department=company.hr, tokens_per_day=100, requests_per_minute=4),
        set_limit(company, person=company.bob, tokens_per_day=5, requests_per_minute=6),
    ]
    set_limit(company, department=company.finance, tokens_per_day=1)
    client = await freshly_signed_in(company.ivan)
    form = {"action": "change_chosen", "_selected_action": [str(limit.pk) for limit in chosen]}
    page = (await client.post(LIST, form)).content.decode()
    assert "For 2 limits:" in page
    form |= {"planning": "1", "tokens_per_day": "77", "lift_requests_per_minute": "on"}
    page = (await client.post(LIST, form)).content.decode()
    assert "2 limits would change" in page
    await client.post(APPLY, {**shown_plan(page), "reason": "the same for both"})
    assert mine(company) == {"Human Resources": 77, "Bob": 77, "Finance": 1}
    assert not Limit.objects.filter(pk__in=[limit.pk for limit in chosen]).exclude(requests_per_minute=None).exists()


async def test_many_at_once_needs_a_fresh_sign_in_a_reason_and_it(company: Company, other_company: Company) -> None:
    plan = shown_plan(await upload(await signed_in(company.ivan), "department,tokens_per_day\nhr,200\n"))
    assert (await (await signed_in(company.ivan)).post(APPLY, {**plan, "reason": "x"})).status_code == 302
    client = await freshly_signed_in(company.ivan)
    assert "Reason" in (await client.post(APPLY, plan)).content.decode()
    for person in (company.ada, company.alice):
        client = await freshly_signed_in(person)
        assert (await client.post(APPLY, {**plan, "reason": "x"})).status_code == 403
        assert (await client.get(IMPORT)).status_code == 403
    await (await freshly_signed_in(other_company.ivan)).post(APPLY, {**plan, "reason": "x"})
    assert mine(company) == {}


async def test_what_a_limit_would_have_refused_is_told_before_it_is_saved(company: Company) -> None:
    for minutes in range(3):
        at = timezone.now() - timedelta(days=1, minutes=minutes)
        Reservation.objects.create(
            call_id=uuid4(),
            organization_id=company.organization.pk,
            department_id=company.hr.pk,
            person_id=company.bob.pk,
            purpose="chat",
            day=at.date(),
            admitted_at=at,
            lease_until=at,
            settled_at=at + timedelta(seconds=2),
            tokens_prompt=1,
            tokens_reserved=40,
            tokens_used=40,
        )
    limit = set_limit(company, department=company.hr, tokens_per_day=1_000)
    client = await signed_in(company.ivan)
    change = reverse("admin:limits_limit_change", args=[limit.pk])
    form = {"tokens_per_day": "50", "reason": "", "_forecast": "1"}
    page = (await client.post(change, form)).content.decode()
    assert "would have refused <strong>" in page
    assert "of 3 calls since" in page
    assert 'value="50"' in page
    assert "Nothing is saved yet." in page
    assert "Please correct the error" not in page
    generous = (await client.post(change, {**form, "tokens_per_day": "5000"})).content.decode()
    assert "would have refused none of 3 calls" in generous
    added = {"department": str(company.finance.pk), "tokens_per_day": "5", "_forecast": "1"}
    assert "none of 0 calls" in (await client.post(reverse("admin:limits_limit_add"), added)).content.decode()
    assert mine(company) == {"Human Resources": 1_000}
    assert acts(company) == []
    text = "department,tokens_per_day\nhr,50\n"
    assert "would have refused <strong>" in await upload(client, text)


def test_the_nearest_limit_of_a_person_is_named_with_its_place(company: Company) -> None:
    set_limit(company, tokens_per_day=9_000, person_tokens_per_day=500, person_requests_per_minute=7)
    set_limit(company, department=company.hr, tokens_per_day=4_000, person_tokens_per_day=300)

    def told() -> dict[str, tuple[list[str], list[str]]]:
        (place,) = limits_of(company.bob)
        return {line.what: ([s.value for s in line.nearest], [s.value for s in line.above]) for line in place.lines}

    assert told() == {"tokens a day": (["300"], ["4,000", "9,000"]), "questions a minute": (["7"], [])}
    set_limit(company, person=company.bob, tokens_per_day=800)
    assert told()["tokens a day"] == (["800"], ["4,000", "9,000"])
    set_limit(company, department=company.hr, person=company.bob, tokens_per_day=600)
    assert told()["tokens a day"] == (["600", "800"], ["4,000", "9,000"]), "where there are both, both hold"


async def test_the_page_of_a_person_says_what_limits_them(company: Company) -> None:
    set_limit(company, department=company.hr, person_tokens_per_day=300)
    page = await (await signed_in(company.ivan)).get(reverse("admin:accounts_user_change", args=[company.bob.pk]))
    text = page.content.decode()
    assert "What limits Bob" in text
    assert "Human Resources, for each person" in text
