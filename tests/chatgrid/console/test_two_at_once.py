"""Two of IT who have the same page open: nobody undoes in silence what the other has just saved."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.db.models import Model
from django.test import AsyncClient
from django.urls import reverse

from chatgrid.console.admin.base import CHANGED_MEANWHILE
from departments.limits.models import Limit
from departments.models import Department
from tests.chatgrid.console.test_keeping import department_form, organization_form
from tests.chatgrid.console.test_many_limits import acts, mine
from tests.company import Company, freshly_signed_in, set_limit


async def seen(client: AsyncClient, address: str) -> dict[str, str]:
    """What a browser sends back of the state it was shown."""
    page = (await client.get(address)).content.decode()
    (mark,) = re.findall(r'name="seen" value="([0-9a-f]{16})"', page)
    return {"seen": mark}


async def test_the_second_of_two_who_change_a_limit_is_told_and_nothing_is_undone(company: Company) -> None:
    limit = set_limit(company, department=company.hr, tokens_per_day=100)
    address = reverse("admin:limits_limit_change", args=[limit.pk])
    ivan, other = await freshly_signed_in(company.ivan), await freshly_signed_in(company.ivan)
    shown = await seen(ivan, address)
    assert await seen(other, address) == shown
    assert (await other.post(address, {"tokens_per_day": "50", "reason": "less", **shown})).status_code == 302
    form = {"tokens_per_day": "100", "requests_per_minute": "5", "reason": "a rate", **shown}
    page = unescape((await ivan.post(address, form)).content.decode())
    assert CHANGED_MEANWHILE in page
    assert 'name="requests_per_minute" value="5"' in page, "what was typed is still there"
    assert mine(company) == {"Human Resources": 50}
    assert len(acts(company)) == 1
    assert (await ivan.post(address, {**form, "tokens_per_day": "50", **await seen(ivan, address)})).status_code == 302
    assert Limit.objects.get(pk=limit.pk).requests_per_minute == 5


async def test_a_department_that_is_called_something_else_meanwhile_is_in_nobodys_way(company: Company) -> None:
    limit = set_limit(company, department=company.hr, tokens_per_day=100)
    address = reverse("admin:limits_limit_change", args=[limit.pk])
    ivan = await freshly_signed_in(company.ivan)
    shown = await seen(ivan, address)
    await Department.objects.filter(pk=company.hr.pk).aupdate(name="People")
    form = {"tokens_per_day": "50", "reason": "less", **shown}
    assert (await ivan.post(address, form)).status_code == 302
    assert mine(company) == {"People": 50}


@pytest.mark.parametrize(
    ("form_of", "thing"),
    [(organization_form, lambda company: company.organization), (department_form, lambda company: company.hr)],
)
async def test_every_page_knows_what_it_was_opened_with(
    company: Company, form_of: Callable[..., tuple[str, dict[str, Any]]], thing: Callable[[Company], Model]
) -> None:
    address, form = form_of(company)
    client = await freshly_signed_in(company.ivan)
    shown = await seen(client, address)
    subject = thing(company)
    await type(subject)._default_manager.filter(pk=subject.pk).aupdate(name="Meanwhile")
    page = unescape((await client.post(address, {**form, "name": "Mine", **shown})).content.decode())
    assert CHANGED_MEANWHILE in page
    await subject.arefresh_from_db()
    assert subject.name == "Meanwhile"  # type: ignore[attr-defined]


async def test_of_two_who_add_the_same_limit_the_second_is_told(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the first had saved between the second one's look and their saving."""
    set_limit(company, department=company.hr, tokens_per_day=100)
    monkeypatch.setattr(Limit, "validate_constraints", lambda *_, **__: None)
    client = await freshly_signed_in(company.ivan)
    form = {"department": str(company.hr.pk), "tokens_per_day": "7", "reason": "x"}
    page = (await client.post(reverse("admin:limits_limit_add"), form, follow=True)).content.decode()
    assert "Somebody has just saved the same. Nothing of yours was saved" in page
    assert mine(company) == {"Human Resources": 100}
    assert acts(company) == []


async def test_a_reason_with_a_nul_is_a_reason(company: Company) -> None:
    limit = set_limit(company, department=company.hr, tokens_per_day=100)
    client = await freshly_signed_in(company.ivan)
    await client.post(reverse("admin:live_pause", args=[company.hr.pk]), {"reason": "wrong\x00 file 報告"})
    (act,) = acts(company)
    assert act.details["reason"] == "wrong file 報告"
    assert Limit.objects.filter(pk=limit.pk).exists()
