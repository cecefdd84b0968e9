"""Who may open what of the record: every page x everybody, and never another company's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from django.test import AsyncClient
from django.urls import get_resolver, reverse

from audit.events import Event
from audit.models import VerificationRun
from chatgrid.console.models import SavedSearch
from tests.chatgrid.console.recording import asealed, call, own, write
from tests.chatgrid.console.test_access import operator
from tests.company import Company, signed_in


@dataclass(frozen=True)
class Row:
    """A page of the record and what each gets there. Whoever is not named gets 403; somebody signed out gets 302."""

    expected: dict[str, int]
    arguments: Callable[[Any], list[Any]] = lambda _: []
    method: str = "get"


EVERYBODY = {"ada": 200, "ivan": 200, "operator": 200, "strange_ada": 200, "strange_ivan": 200}
OWN = EVERYBODY | {"strange_ada": 404, "strange_ivan": 404}
# the question is an auditor's alone; with an old sign-in they are asked for it first
READING = {"ada": 302, "strange_ada": 302}
MATRIX = {
    "changelist": Row(EVERYBODY),
    "charts": Row(EVERYBODY),
    "seals": Row(EVERYBODY),
    "questions": Row({"ada": 200, "strange_ada": 200}),
    "change": Row(OWN, lambda things: [things["event"]]),
    "run": Row(OWN, lambda things: [things["run"]]),
    "question": Row(READING, lambda things: [things["event"]], "post"),
    "search_save": Row(dict.fromkeys(EVERYBODY, 302), method="post"),
    "search_remove": Row(dict.fromkeys(EVERYBODY, 404) | {"ada": 302}, lambda things: [things["search"]], "post"),
    "verify": Row(dict.fromkeys(EVERYBODY, 302), method="post"),
}
PEOPLE = ("alice", "bob", "dave", "ada", "ivan", "operator", "strange_ada", "strange_ivan", "strange_bob")


def person_of(company: Company, other: Company, name: str) -> Any:
    if name == "operator":
        return operator()
    owner = other if name.startswith("strange_") else company
    return getattr(owner, name.removeprefix("strange_"))


def test_every_page_of_the_record_has_a_row() -> None:
    [console] = [each for each in get_resolver().url_patterns if str(each.pattern) == "admin/"]
    [record] = [each for each in console.url_patterns if str(each.pattern) == "audit/auditevent/"]
    assert {each.name.removeprefix("audit_auditevent_") for each in record.url_patterns} == set(MATRIX)


@pytest.mark.parametrize("page", MATRIX)
async def test_each_person_gets_what_is_theirs_and_nothing_else(
    company: Company, other_company: Company, page: str
) -> None:
    row = MATRIX[page]
    things = {
        "event": call(company, company.bob),
        "run": VerificationRun.objects.create(organization_id=company.organization.pk, asked_by="Ada").pk,
        "search": SavedSearch.objects.create(owner=company.ada, name="Mine", query="period=week").pk,
    }
    address = reverse(f"admin:audit_auditevent_{page}", args=row.arguments(things))
    for name in sorted(PEOPLE, key=lambda each: row.expected.get(each, 403) < 400):
        client = await signed_in(person_of(company, other_company, name))
        response = await getattr(client, row.method)(address)
        assert response.status_code == row.expected.get(name, 403), f"{name} at {page}"
    assert (await getattr(AsyncClient(), row.method)(address)).status_code == 302


async def test_an_entry_of_another_company_and_one_that_never_was_look_the_same(
    company: Company, other_company: Company
) -> None:
    client = await signed_in(other_company.ada)
    [theirs] = write(company)
    pages = [
        (await client.get(reverse("admin:audit_auditevent_change", args=[each]))).content
        for each in (theirs, uuid4(), "no-id-at-all")
    ]
    assert len(set(pages)) == 1


async def test_no_page_shows_a_word_of_another_company(company: Company, other_company: Company) -> None:
    secret = f"only of {company.organization.slug}"
    write(company, 2, Event.CALL_REFUSED, actor_name=secret, department_name=secret, model_asked=secret)
    call(company, company.bob, secret, model_asked=secret)
    VerificationRun.objects.create(organization_id=company.organization.pk, asked_by=secret, findings=[])
    await asealed()
    for auditor in (other_company.ada, other_company.ivan):
        client = await signed_in(auditor)
        for page in ("changelist", "charts", "seals"):
            text = (await client.get(reverse(f"admin:audit_auditevent_{page}"))).content.decode()
            assert secret not in text, page
    ours = await signed_in(company.ada)
    assert secret in (await ours.get(reverse("admin:audit_auditevent_changelist"))).content.decode()
    assert secret in (await ours.get(reverse("admin:audit_auditevent_charts"))).content.decode()


async def test_filters_reach_no_other_company_s_events(company: Company, other_company: Company) -> None:
    [theirs] = write(other_company, actor_id=other_company.bob.pk)
    client = await signed_in(company.ada)
    address = reverse("admin:audit_auditevent_changelist")
    for query in ({"q": str(theirs)}, {"person": str(other_company.bob.pk)}, {"q": str(other_company.bob.pk)}):
        assert (await client.get(address, query)).context["lines"] == []
    assert (await client.get(address, {"department": str(other_company.hr.pk)})).context["lines"] == []


async def test_an_auditor_changes_nothing_by_any_of_these_pages(company: Company) -> None:
    client = await signed_in(company.ada)
    [event] = write(company)
    for page, arguments in (("changelist", []), ("charts", []), ("seals", []), ("change", [event])):
        address = reverse(f"admin:audit_auditevent_{page}", args=arguments)
        assert (await client.post(address, {"actor_name": "Nobody"})).status_code == 405, page
    assert [each.pk for each in own(company, Event.CALL_REFUSED)] == [event]
