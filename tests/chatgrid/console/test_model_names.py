"""A limit for a model that nobody asks: said on the form, in a CSV's plan and in a file's, and never in the way."""

from __future__ import annotations

import io
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.management import call_command
from django.urls import reverse

from chatgrid.console.model_names import doubts
from departments.calls.models import CatalogueModel
from departments.limits.models import Limit
from departments.models import Department
from tests.chatgrid.console.test_many_limits import upload
from tests.company import Company, freshly_signed_in, signed_in

ADD = reverse("admin:limits_limit_add")


def misspelt(company: Company) -> str:
    """A name of its own for each test: the list of models is shared."""
    name = f"house-{uuid4().hex[:12]}"
    Department.objects.filter(organization=company.organization).update(model=name)
    return f"{name}x".upper()


async def test_a_form_names_what_was_perhaps_meant_and_saves(company: Company) -> None:
    wrong = misspelt(company)
    right = wrong[:-1].lower()
    client = await signed_in(company.ivan)
    assert f"Departments ask {right}." in (await client.get(ADD)).content.decode()
    form = {"model": wrong, "requests_per_minute": "5", "reason": "few"}
    page = (await client.post(ADD, form, follow=True)).content.decode()
    assert f"its limit counts nothing. Was {right} meant?" in page
    assert Limit.objects.get(organization=company.organization).model == wrong
    form = {"model": right, "requests_per_minute": "5", "reason": "few"}
    assert "counts nothing" not in (await client.post(ADD, form, follow=True)).content.decode()


async def test_a_model_s_name_is_text_and_never_markup(company: Company) -> None:
    name = f"house-{uuid4().hex[:12]}<img src=x onerror=alert(1)>"
    Department.objects.filter(organization=company.organization).update(model=name)
    client = await freshly_signed_in(company.ivan)
    pages = [(await client.get(ADD)).content.decode()]
    form = {"model": f"{name}x", "requests_per_minute": "5", "reason": "few"}
    pages.append((await client.post(ADD, form, follow=True)).content.decode())
    pages.append(await upload(client, f"model,requests_per_minute\n{name}x,6\n"))
    for page in pages:
        assert "&lt;img src=x" in page
        assert "<img src=x" not in page


async def test_a_csv_says_it_before_it_is_done(company: Company) -> None:
    wrong = misspelt(company)
    client = await freshly_signed_in(company.ivan)
    page = await upload(client, f"model,requests_per_minute\n{wrong},5\n")
    assert f"Was {wrong[:-1].lower()} meant?" in page
    assert "counts nothing" not in await upload(client, f"model,requests_per_minute\n{wrong[:-1].lower()},5\n")


def test_a_file_says_it_and_knows_the_models_that_it_sets_itself(company: Company, tmp_path: Path) -> None:
    wrong = misspelt(company)
    file = tmp_path / "company.yaml"
    limits = f"limits: [{{model: {wrong}, requests_per_minute: 5}}]"
    head = f"organizations:\n  {company.organization.slug}:\n    {limits}\n"
    file.write_text(head, encoding="utf-8")
    out = io.StringIO()
    call_command("company", "apply", company.organization.slug, str(file), reason="x", stdout=out)
    assert f"Look: No department asks {wrong}" in out.getvalue()
    Limit.objects.filter(organization=company.organization).delete()
    file.write_text(f"{head}    departments: {{hr: {{model: {wrong}}}}}\n", encoding="utf-8")
    out = io.StringIO()
    call_command("company", "apply", company.organization.slug, str(file), reason="x", stdout=out)
    assert "Look:" not in out.getvalue()


@pytest.mark.parametrize("where", ["company", "department"])
def test_what_no_department_asks_is_told_apart(company: Company, where: str) -> None:
    listed = CatalogueModel.objects.filter(kind=CatalogueModel.Kind.CHAT).values_list("name", flat=True)[0]
    Department.objects.filter(pk=company.hr.pk).update(model="house-model")
    department = Department.objects.get(pk=company.hr.pk) if where == "department" else None
    limit = Limit(organization=company.organization, department=department, model=listed, requests_per_minute=5)
    told = doubts([limit], company.organization)
    assert told == (
        [] if department is None else [f"{department} asks house-model: its limit for {listed} counts nothing."]
    )
    limit.model = "house-model"
    assert doubts([limit], company.organization) == []
    limit.model = settings.EMBEDDING_MODEL
    assert "no questions" in doubts([limit], company.organization)[0]
