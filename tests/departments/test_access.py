"""Who has a department, and for how long."""

from __future__ import annotations

import pytest

from departments.access import (
    Forbidden,
    NotFound,
    aaccess_department,
    access_department,
    astanding,
    departments_of,
)
from departments.models import Membership
from departments.roles import Right
from tests.company import Company


async def both(company: Company, person: str, slug: str, right: Right) -> list[object]:
    """What the page's way and the chat path's way say; they must say the same."""
    who = getattr(company, person)
    said: list[object] = []
    for way in (access_department, aaccess_department):
        try:
            found = way(who, slug, right)
            said.append((await found if way is aaccess_department else found).pk)
        except (NotFound, Forbidden) as refused:
            said.append(type(refused))
    return said


async def test_a_member_has_the_department_with_its_company(company: Company) -> None:
    assert await both(company, "bob", "hr", Right.CHAT) == [company.hr.pk] * 2
    department = await aaccess_department(company.bob, "hr", Right.CHAT)
    assert department.organization.time_zone == "Europe/Berlin"


async def test_a_member_without_the_right_knows_that_it_is_there(company: Company) -> None:
    assert await both(company, "bob", "hr", Right.MANAGE_DOCUMENTS) == [Forbidden] * 2
    assert await both(company, "alice", "hr", Right.MANAGE_DOCUMENTS) == [company.hr.pk] * 2


@pytest.mark.parametrize("person", ["dave", "ivan", "ada"])
async def test_somebody_else_does_not(company: Company, person: str) -> None:
    assert await both(company, person, "hr", Right.CHAT) == [NotFound] * 2
    assert await both(company, person, "no-such", Right.CHAT) == [NotFound] * 2


@pytest.mark.parametrize("change", ["left", "closed person", "closed department", "moved company"])
async def test_a_right_ends_at_once(company: Company, other_company: Company, change: str) -> None:
    assert (await astanding(company.bob.pk, company.hr.pk)).is_member
    if change == "left":
        Membership.objects.filter(user=company.bob).delete()
    elif change == "closed person":
        company.bob.is_active = False
        company.bob.save()
    elif change == "closed department":
        company.hr.is_active = False
        company.hr.save()
    else:
        company.bob.organization = other_company.organization
        company.bob.save()
    assert await both(company, "bob", "hr", Right.CHAT) == [NotFound] * 2
    assert not (await astanding(company.bob.pk, company.hr.pk)).is_member
    assert not departments_of(company.bob).exists()
