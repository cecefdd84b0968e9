"""A company as code: exported, planned, applied; the same file twice changes nothing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.console.recording import KINDS
from chatgrid.console.wanted.changes import Refused
from chatgrid.console.wanted.company import ORGANIZATION_FIELDS, export_company, plan_company
from departments.keys.models import ProviderProject
from departments.limits.models import Limit
from departments.models import Department, Organization
from departments.provisioning import DEPARTMENT_FIELDS, PROJECT_FIELDS, read_file
from tests.company import Company, set_limit


def run(company: Company, act: str, *arguments: str, **options: object) -> str:
    out = io.StringIO()
    call_command("company", act, company.organization.slug, *arguments, stdout=out, **options)
    return out.getvalue()


def document(company: Company) -> dict[str, object]:
    content = yaml.safe_load(export_company(Organization.objects.get(pk=company.organization.pk)))
    return content["organizations"][company.organization.slug]


def written(tmp_path: Path, company: Company, of_it: object) -> str:
    file = tmp_path / "company.yaml"
    file.write_text(yaml.safe_dump({"organizations": {company.organization.slug: of_it}}))
    return str(file)


def furnished(company: Company) -> None:
    company.hr.instructions = "Answer shortly.\nÜber Urlaub: freundlich."
    company.hr.query_policy = "hashed"
    company.hr.save()
    ProviderProject.objects.create(
        department=company.hr, name=f"p {company.hr.pk}", monthly_cents=5_000, alert_percents=[50, 100]
    )
    set_limit(company, tokens_per_day=90_000, money_per_month="99.50", person_answers_at_once=2)
    set_limit(company, department=company.hr, person=company.bob, tokens_per_day=1_000)
    set_limit(company, department=company.finance, model="gpt-6-luna", requests_per_minute=5)


def test_an_export_planned_again_finds_nothing_to_do(company: Company, tmp_path: Path) -> None:
    furnished(company)
    file = tmp_path / "company.yaml"
    file.write_text(run(company, "export"))
    assert "Nothing to change" in run(company, "plan", str(file))
    assert "Nothing to change" in run(company, "apply", str(file), reason="again")
    assert not AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.ADMIN_CHANGED).exists()


def test_an_export_makes_an_empty_company_the_same(company: Company, other_company: Company, tmp_path: Path) -> None:
    furnished(company)
    of_it = document(company)
    of_it["limits"] = [row for row in of_it["limits"] if "person" not in row]  # type: ignore[union-attr, attr-defined]
    Department.objects.filter(organization=other_company.organization).delete()
    run(other_company, "apply", written(tmp_path, other_company, of_it), reason="a copy")
    assert document(other_company)["limits"] == of_it["limits"]
    made = document(other_company)["departments"]
    for slug, fields in of_it["departments"].items():  # type: ignore[attr-defined]
        assert made[slug] == {name: fields[name] for name in DEPARTMENT_FIELDS}, slug  # type: ignore[index]


def test_a_plan_shows_every_difference_and_changes_nothing(
    company: Company, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    furnished(company)
    of_it = document(company)
    of_it["departments"]["hr"] |= {"query_policy": "redacted", "monthly_cents": 7_000}  # type: ignore[index]
    of_it["departments"]["legal"] = {"name": "Legal"}  # type: ignore[index]
    of_it["limits"] = [{"tokens_per_day": 70_000}, {"department": "legal", "tokens_per_day": 10}]
    of_it |= {"conversation_days": 30, "second_factor": "privileged", "record_days": 400}
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("company", "plan", company.organization.slug, written(tmp_path, company, of_it), stdout=out)
    assert ended.value.code == 2
    told = out.getvalue()
    for line in (
        "query_policy: hashed -> redacted",
        "monthly_cents: 9950 -> 7000",
        "+ legal",
        "conversation_days: none -> 30",
        "second_factor: off -> privileged",
        "days: 400",
        "tokens_per_day: 90000 -> 70000",
        "money_per_month: 99.5 -> none",
        "+ department Legal",
        f"- {company.bob.email} in Human Resources",
    ):
        assert line in told, line
    assert Department.objects.get(pk=company.hr.pk).query_policy == "hashed"
    assert Limit.objects.filter(organization=company.organization).count() == 3


def test_applying_does_it_once_and_records_each_change(company: Company, tmp_path: Path) -> None:
    furnished(company)
    of_it = document(company)
    of_it["departments"]["hr"]["typed_secrets"] = "block"  # type: ignore[index]
    of_it["departments"]["legal"] = {"name": "Legal", "monthly_cents": 100}  # type: ignore[index]
    of_it["limits"] = [{"tokens_per_day": 70_000}]
    file = written(tmp_path, company, of_it)
    told = run(company, "apply", file, reason="new year")
    assert "Not made here: store, project and key of legal" in told
    events = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.ADMIN_CHANGED)
    kinds = sorted((event.subject_kind, event.details["action"]) for event in events)
    assert kinds == [
        ("department", "added"),
        ("department", "changed"),
        ("limit", "changed"),
        ("limit", "deleted"),
        ("limit", "deleted"),
    ]
    assert {(event.actor_name, event.details["reason"]) for event in events} == {("manage.py", "new year")}
    count = events.count()
    assert "Nothing to change" in run(company, "apply", file, reason="new year")
    assert events.count() == count


def test_every_mistake_is_named_and_nothing_is_done(company: Company, tmp_path: Path) -> None:
    of_it = {
        "time_zone": "Europe/Nowhere",
        "second_factor": "sometimes",
        "record_days": 89,
        "departments": {"hr": {"query_policy": "none", "colour": "red"}, "finance": {"query_policy": "none"}},
        "limits": [{"department": "nowhere", "tokens_per_day": 5}, {"budget": 1}],
    }
    with pytest.raises(CommandError) as refused:
        run(company, "apply", written(tmp_path, company, of_it), reason="x")
    said = str(refused.value)
    for problem in (
        "Europe/Nowhere is not a time zone",
        "second_factor: Value 'sometimes' is not a valid choice",
        "record_days: days: The record is kept for at least 90 days",
        "hr: unknown: colour",
        "finance: query_policy",
        "there is no department nowhere",
        "unknown: budget",
    ):
        assert problem in said, problem
    assert Organization.objects.get(pk=company.organization.pk).time_zone == "Europe/Berlin"


def test_how_long_the_record_is_kept_is_part_of_the_file(company: Company, tmp_path: Path) -> None:
    assert document(company)["record_days"] == 365
    for days, told in ((365, "Nothing to change"), (120, "1 change\n"), (200, "days: 120 -> 200")):
        assert told in run(company, "apply", written(tmp_path, company, {"record_days": days}), reason="law")
    assert document(company)["record_days"] == 200
    events = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.ADMIN_CHANGED)
    assert [event.subject_kind for event in events] == ["retention", "retention"]


@pytest.mark.parametrize(
    ("of_it", "said"),
    [
        ({"conversation_days": True}, "conversation_days: must be a whole number"),
        ({"departments": {"hr": {"name": 3}}}, "name: must be text: put it in quotes"),
        ({"departments": {1: {}}}, "departments: 1 is no name. Put names in quotes"),
        ({"limits": [{1: 2}]}, "unknown: 1"),
    ],
)
def test_a_value_of_another_kind_is_named_and_nothing_is_done(
    company: Company, tmp_path: Path, of_it: dict[str, Any], said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        run(company, "apply", written(tmp_path, company, of_it), reason="x")
    assert Department.objects.get(pk=company.hr.pk).name == "Human Resources"


def test_a_file_of_another_company_and_a_missing_reason_are_refused(
    company: Company, other_company: Company, tmp_path: Path
) -> None:
    file = written(tmp_path, other_company, {"name": "Mine"})
    with pytest.raises(CommandError, match="not for"):
        run(company, "plan", file)
    with pytest.raises(CommandError, match="Say why"):
        run(other_company, "apply", file)
    with pytest.raises(CommandError, match="no organization"):
        call_command("company", "export", "nobody-at-all")
    with pytest.raises(CommandError, match="cannot be read"):
        run(company, "plan", str(tmp_path / "missing.yaml"))


def test_a_name_that_is_there_twice_is_refused_and_not_forgotten(company: Company) -> None:
    slug = company.organization.slug
    text = f"organizations:\n  {slug}:\n    departments:\n      hr: {{is_active: false}}\n      hr: {{name: People}}\n"
    with pytest.raises(Refused, match="hr is there twice"):
        plan_company(company.organization, text, "x")
    assert [
        each.place for each in plan_company(company.organization, text.replace("hr: {is", "finance: {is"), "x")
    ] == [
        "finance",
        "hr",
    ]


def test_what_is_not_named_stays(company: Company, tmp_path: Path) -> None:
    furnished(company)
    before = document(company)
    run(company, "apply", written(tmp_path, company, {"departments": {"hr": {"model": "gpt-6-luna"}}}), reason="x")
    assert document(company) == before


def test_the_same_file_is_read_by_provision_departments(company: Company, tmp_path: Path) -> None:
    furnished(company)
    file = tmp_path / "company.yaml"
    file.write_text(run(company, "export"))
    wanted = {each.department: each.fields for each in read_file(file)}
    assert set(wanted) == {"hr", "finance"}
    assert wanted["hr"]["monthly_cents"] == 9_950  # as the company's limit in money says


def test_what_can_be_set_by_a_file_is_recorded_when_it_is() -> None:
    assert set(ORGANIZATION_FIELDS) <= set(KINDS[Organization].fields)
    assert set(DEPARTMENT_FIELDS.values()) <= set(KINDS[Department].fields)
    assert set(PROJECT_FIELDS.values()) <= set(KINDS[ProviderProject].fields)


def test_a_plan_is_made_of_the_database_as_it_is(company: Company) -> None:
    text = export_company(Organization.objects.get(pk=company.organization.pk))
    Department.objects.filter(pk=company.hr.pk).update(name="People")
    (change,) = plan_company(company.organization, text, "x")
    assert change.differing == [("name", "People", "Human Resources")]
