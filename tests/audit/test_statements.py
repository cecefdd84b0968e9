"""Statements compiled once give what the queryset would give, for any parameters."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.db.models import QuerySet

from audit.database import connection, numbered
from audit.statements import Statement
from departments.models import Department
from tests.company import Company


def departments(organization_id: UUID, slug: str) -> QuerySet[Department, tuple[str]]:
    return Department.objects.filter(organization_id=organization_id, slug=slug, is_active=True).values_list("name")


async def test_it_gives_the_rows_of_each_set_of_parameters(company: Company, other_company: Company) -> None:
    statement = Statement(departments, UUID, str)
    for organization in (company.organization, other_company.organization):
        assert await statement.rows(organization.pk, "hr") == [("Human Resources",)]
        assert await statement.rows(organization.pk, "finance") == [("Finance",)]
    assert await statement.rows(uuid4(), "hr") == []


async def test_a_parameter_is_data_and_never_sql(company: Company) -> None:
    statement = Statement(departments, UUID, str)
    assert await statement.rows(company.organization.pk, "hr' OR '1'='1") == []


async def test_it_sees_what_was_changed_since(company: Company) -> None:
    statement = Statement(departments, UUID, str)
    assert await statement.rows(company.organization.pk, "hr") == [("Human Resources",)]
    Department.objects.filter(pk=company.hr.pk).update(is_active=False)
    assert await statement.rows(company.organization.pk, "hr") == []


async def test_a_numbered_statement_takes_its_parameters_in_their_order() -> None:
    statement = numbered("SELECT %s::text, %s::int, %s::text")
    async with connection() as held:
        cursor = await held.execute_numbered(statement, ["a", 2, "%s $1"])
        assert await cursor.fetchone() == ("a", 2, "%s $1")


def test_a_percent_sign_that_is_no_placeholder_cannot_be_numbered() -> None:
    with pytest.raises(ValueError, match="Only %s"):
        numbered("SELECT 5 % %s")


async def test_a_queryset_that_changes_its_parameter_is_refused(company: Company) -> None:
    def upper(slug: str) -> QuerySet[Department, tuple[str]]:
        return Department.objects.filter(slug=slug.upper()).values_list("name")

    with pytest.raises(TypeError, match="does not use its parameters"):
        await Statement(upper, str).rows("hr")
