"""The charts of the record: what they count, that nothing but sums is read for them, and that they are one's own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from chatgrid.console.charts import Chart
from departments.models import Department
from tests.chatgrid.console.recording import asealed, call, seal, write
from tests.company import Company, signed_in

CHARTS = reverse("admin:audit_auditevent_charts")


def rows(chart: Chart) -> dict[str, list[str]]:
    return {row.label: list(row.cells) for row in chart.rows if any(cell not in {"0", "US$0.00"} for cell in row.cells)}


async def drawn(company: Company, **query: Any) -> dict[str, dict[str, list[str]]]:
    response = await (await signed_in(company.ada)).get(CHARTS, query)
    assert response.status_code == 200
    return {chart.title: rows(chart) for chart in response.context.get("charts", [])}


async def test_calls_tokens_and_cost_are_drawn_by_day_department_model_and_person(company: Company) -> None:
    for person in (company.bob, company.bob, company.alice):
        call(company, person)
    call(company, company.dave, department_id=company.finance.pk, department_name="Finance", model_asked="gpt-6-sol")
    write(company, 2, Event.CALL_REFUSED, actor_id=company.bob.pk, model_asked="gpt-6-luna")
    await asealed()
    today = timezone.now().date().isoformat()
    assert await drawn(company) == {
        "Tokens by day": {today: ["3,200", "400", "240"]},
        "Tokens by department": {"Human Resources": ["2,400", "300", "180"], "Finance": ["800", "100", "60"]},
        "Tokens by model": {"gpt-6-luna": ["2,400", "300", "180"], "gpt-6-sol": ["800", "100", "60"]},
        "Tokens by person": {
            "Bob": ["1,600", "200", "120"],
            "Alice": ["800", "100", "60"],
            "Dave": ["800", "100", "60"],
        },
    }
    calls = await drawn(company, of="calls")
    assert calls["Calls by person"] == {"Bob": ["2", "2"], "Alice": ["1", "0"], "Dave": ["1", "0"]}
    cost = await drawn(company, of="cost")
    assert cost["Cost by department"] == {"Human Resources": ["US$0.0369"], "Finance": ["US$0.0123"]}


async def test_a_name_narrows_every_chart_to_itself(company: Company) -> None:
    call(company, company.bob)
    call(company, company.dave, department_id=company.finance.pk, department_name="Finance", model_asked="gpt-6-sol")
    await asealed()
    for narrowed in (
        {"department": str(company.finance.pk)},
        {"person": str(company.dave.pk)},
        {"person": company.dave.email},
        {"model": "gpt-6-sol"},
    ):
        found = await drawn(company, of="calls", **narrowed)
        assert found["Calls by person"] == {"Dave": ["1", "0"]}, narrowed
        assert found["Calls by department"] == {"Finance": ["1", "0"]}, narrowed
        assert found["Calls by model"] == {"gpt-6-sol": ["1", "0"]}, narrowed


async def test_the_links_of_a_chart_lead_to_what_they_say(company: Company) -> None:
    call(company, company.bob)
    await asealed()
    client = await signed_in(company.ada)
    response = await client.get(CHARTS, {"of": "calls"})
    [person] = response.context["charts"][3].rows
    narrowed = await client.get(CHARTS + person.url)
    assert rows(narrowed.context["charts"][3]) == {"Bob": ["1", "0"]}
    entries = await client.get(narrowed.context["events_url"])
    assert {line.event.actor_id for line in entries.context["lines"]} == {company.bob.pk}


async def test_somebody_who_is_gone_keeps_the_name_the_record_last_saw(company: Company) -> None:
    gone = Department.objects.create(organization=company.organization, slug="gone", name="Gone")
    call(company, company.bob, department_id=gone.pk, department_name="Research as it was called")
    gone.delete()
    await asealed()
    assert "Research as it was called" in (await drawn(company))["Tokens by department"]


async def test_a_day_without_calls_is_drawn_as_one_and_a_long_time_by_months(company: Company) -> None:
    call(company, company.bob)
    await asealed()
    client = await signed_in(company.ada)
    response = await client.get(CHARTS)
    assert len(response.context["charts"][0].rows) == 30
    since = timezone.now().date() - timedelta(days=400)
    year = (await client.get(CHARTS, {"since": since.isoformat()})).context["charts"][0]
    assert year.title == "Tokens by month"
    assert 13 <= len(year.rows) <= 15
    assert list(rows(year)) == [f"{timezone.now():%Y-%m}"]


@pytest.mark.parametrize(
    "query",
    [
        {"since": "2026-05-01", "until": "2026-04-01"},
        {"since": "2000-01-01"},
        {"person": "nobody at all"},
        {"of": "secrets"},
        {"department": "x"},
        {"since": "yesterday"},
        {"until": "0001-01-01"},
        {"until": "9999-12-31"},
    ],
)
async def test_what_cannot_be_drawn_says_why_and_draws_nothing(company: Company, query: dict[str, str]) -> None:
    response = await (await signed_in(company.ada)).get(CHARTS, query)
    assert response.status_code == 200
    assert "charts" not in response.context
    assert response.context["form"].errors


async def test_the_page_says_up_to_which_seal_it_counts(company: Company) -> None:
    call(company, company.bob)
    await asealed()
    response = await (await signed_in(company.ada)).get(CHARTS)
    assert f"up to seal {response.context['state'].seal}" in response.content.decode()
    call(company, company.bob)
    assert (await drawn(company, of="calls"))["Calls by person"] == {"Bob": ["1", "0"]}


def statements(company: Company, query: dict[str, str]) -> list[str]:
    client = Client()
    client.force_login(company.ada)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(CHARTS, query).status_code == 200
    return [each["sql"] for each in captured.captured_queries]


@pytest.mark.parametrize("query", [{}, {"of": "cost"}, {"model": "gpt-6-luna"}, {"person": "Bob"}])
def test_the_charts_cost_a_few_statements_and_none_of_them_reads_an_event(
    company: Company, query: dict[str, str]
) -> None:
    call(company, company.bob)
    seal()
    few = statements(company, query)
    for number in range(25):
        department = Department.objects.create(organization=company.organization, slug=f"d{number}", name=f"D {number}")
        call(company, company.alice, department_id=department.pk, department_name=department.name)
    seal()
    many = statements(company, query)
    assert len(many) <= len(few) <= 16, many
    assert not [sql for sql in many if "audit_event" in sql or "audit_leaf" in sql]
