"""Limits as spreadsheets and people really write them: semicolons, marks, empty rows, odd numbers, two at once."""

from __future__ import annotations

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from chatgrid.accounts.models import User
from chatgrid.console.wanted.changes import ChangedMeanwhile, Refused, apply_changes
from chatgrid.console.wanted.limits import Context, plan_limits, read_csv, write_csv
from departments.limits.models import Limit
from departments.models import Department
from tests.chatgrid.console.test_many_limits import APPLY, IMPORT, LIST, mine, shown_plan, upload
from tests.company import Company, freshly_signed_in, set_limit

TABLE = "department;tokens_per_day;money_per_day\nhr;1 500;12.50\nfinance;;\n"


def planned(company: Company, text: str) -> list[tuple[str, str]]:
    changes = plan_limits(Context(company.organization, "odd"), read_csv(text))
    return [(change.place, change.kind) for change in changes]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + TABLE,
        TABLE.replace(";", "\t"),
        TABLE.replace(";", ","),
        "sep=;\n" + TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        TABLE.replace("\n", ";;;\n"),
        TABLE.replace("1 500", "1\N{NARROW NO-BREAK SPACE}500"),
        TABLE.replace("hr", '"hr"'),
        TABLE.replace("department", " Department "),
        TABLE + ";;\n\n;;\n",
        TABLE.strip(),
    ],
)
def test_a_table_is_read_as_spreadsheets_write_it(company: Company, text: str) -> None:
    assert planned(company, text) == [("department Human Resources", "add")]
    (change,) = plan_limits(Context(company.organization, "odd"), read_csv(text))
    assert change.after is not None
    assert (change.after["tokens_per_day"], change.after["money_per_day"]) == (1_500, "12.5")


async def test_a_file_in_excels_own_unicode_is_read(company: Company) -> None:
    client = await freshly_signed_in(company.ivan)
    file = SimpleUploadedFile("limits.txt", TABLE.replace(";", "\t").encode("utf-16"), "text/plain")
    assert "1 limit would change" in (await client.post(IMPORT, {"file": file})).content.decode()


def test_an_empty_row_is_skipped_and_takes_no_limit_of_the_company_away(company: Company) -> None:
    set_limit(company, tokens_per_day=9_000)
    set_limit(company, department=company.hr, tokens_per_day=5)
    assert planned(company, "department,tokens_per_day\n,\nhr,5\n,\n") == []
    assert planned(company, "department,tokens_per_day\n,none\nhr,\n") == [
        ("the company", "remove"),
        ("department Human Resources", "remove"),
    ]


def test_rows_are_counted_as_the_spreadsheet_counts_them(company: Company) -> None:
    with pytest.raises(Refused, match=r"^row 5: there is no department nowhere"):
        planned(company, "department,tokens_per_day\nhr,1\n\n,\nnowhere,5\n")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (" \n\n", "The file is empty"),
        ("department,tokens_per_day\x00\n", "The file is no table"),
        ('department,tokens_per_day\nhr,"5\n', "line 2: this cannot be read as cells"),
        ("department,tokens_per_day\nhr," + "9" * 200_000, "cannot be read as cells"),
        ("department,tokens_per_day,tokens_per_day\nhr,1,2\n", "This column is there twice: tokens_per_day"),
        ("department,,tokens_per_day\nhr,,1\n", "Unknown column: (empty)"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, problem: str) -> None:
    with pytest.raises(Refused, match=re.escape(problem)):
        read_csv(text)


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("tokens_per_day", "-1", "greater than or equal to 0"),
        ("tokens_per_day", "1.5", "1.5 is no number. Write it as in 1500"),
        ("tokens_per_day", "1,5", "1,5 is no number"),
        ("tokens_per_day", "9" * 30, "less than or equal to 9223372036854775807"),
        ("tokens_per_day", "9" * 5_000, "is no number"),
        ("requests_per_minute", "9999999999", "less than or equal to 2147483647"),
        ("money_per_day", "0,50", "0,50 is no number. Write it as in 12.50"),
        ("money_per_day", "0.00001", "no more than 4 decimal places"),
        ("money_per_day", "99999999999.5", "no more than 10 digits before"),
        ("money_per_day", "NaN", "is no number"),
        ("money_per_day", "Infinity", "is no number"),
        ("money_per_day", "-0.01", "greater than or equal to 0"),
        ("model", "gpt-6-luna", "A model’s limit is a number of requests per minute"),
    ],
)
def test_a_number_that_is_none_is_said_with_its_row(company: Company, column: str, value: str, problem: str) -> None:
    row = {"department": "hr", "tokens_per_month": "1", column: value}
    with pytest.raises(Refused) as refused:
        plan_limits(Context(company.organization, "odd"), [row])
    assert problem in str(refused.value)
    assert str(refused.value).startswith("row 2")


def test_a_person_is_one_person_however_their_address_is_written(company: Company) -> None:
    loud = company.bob.email.upper()
    with pytest.raises(Refused, match=r"row 3: .* is in row 2 already"):
        planned(company, f"person,tokens_per_day\n{company.bob.email},1\n{loud},2\n")
    assert planned(company, f"person,tokens_per_day\n{loud},1\n") == [(company.bob.email, "add")]


def test_a_plan_of_many_rows_asks_the_database_no_more_often_than_one_of_few(company: Company) -> None:
    queries = []
    for number in (2, 40):
        people = [
            User(organization=company.organization, email=f"p{n}-{number}@{company.organization.slug}.example")
            for n in range(number)
        ]
        User.objects.bulk_create(people)
        text = "person,tokens_per_day\n" + "".join(f"{person.email},5\n" for person in people)
        with CaptureQueriesContext(connection) as captured:
            assert len(planned(company, text)) == number
        queries.append(len(captured))
    assert queries[0] == queries[1]


def test_a_person_has_no_default_for_each_person_in_no_way_in(company: Company) -> None:
    with pytest.raises(Refused, match="has no default for each person"):
        planned(company, f"person,person_tokens_per_day\n{company.bob.email},1\n")


def test_names_of_every_language_come_out_and_go_in(company: Company) -> None:
    company.bob.email = "жанна.müller@例え.example"
    company.bob.name = "Жанна ‮Müller"
    company.bob.save()
    Department.objects.filter(pk=company.hr.pk).update(name='Œuvres; "人事",\n部')
    set_limit(company, department=company.hr, person=company.bob, tokens_per_day=5)
    text = write_csv(Limit.objects.filter(organization=company.organization))
    assert planned(company, text) == []
    assert planned(company, text.replace(",5,", ",6,"))[0][1] == "change"


async def test_a_department_that_was_renamed_meanwhile_is_planned_anew(company: Company) -> None:
    client = await freshly_signed_in(company.ivan)
    plan = shown_plan(await upload(client, "department,tokens_per_day\nhr,200\n"))
    await Department.objects.filter(pk=company.hr.pk).aupdate(name="People")
    page = (await client.post(APPLY, {**plan, "reason": "x"})).content.decode()
    assert "This is the plan as it is now" in page
    assert mine(company) == {}
    done = await client.post(APPLY, {**shown_plan(page), "reason": "x"})
    assert done.status_code == 302
    assert mine(company) == {"People": 200}


def test_two_who_add_the_same_limit_at_once_are_told_so(company: Company) -> None:
    changes = plan_limits(Context(company.organization, "x"), [{"department": "hr", "tokens_per_day": 5}])
    set_limit(company, department=company.hr, tokens_per_day=7)
    with pytest.raises(ChangedMeanwhile, match="Nothing was done"):
        apply_changes(changes, lambda *_: None)
    assert mine(company) == {"Human Resources": 7}
    with pytest.raises(IntegrityError):  # what the database itself says
        set_limit(company, department=company.hr, tokens_per_day=8)


async def test_lifting_all_that_the_company_has_removes_its_limit(company: Company) -> None:
    limit = set_limit(company, tokens_per_day=100)
    client = await freshly_signed_in(company.ivan)
    form = {"action": "change_chosen", "_selected_action": [str(limit.pk)], "planning": "1"}
    page = (await client.post(LIST, {**form, "lift_tokens_per_day": "on"})).content.decode()
    assert "1 limit would change" in page
    await client.post(APPLY, {**shown_plan(page), "reason": "no ceiling"})
    assert mine(company) == {}


async def test_a_change_of_many_says_what_is_wrong_without_rows_that_nobody_sees(company: Company) -> None:
    limit = set_limit(company, person=company.bob, tokens_per_day=100)
    client = await freshly_signed_in(company.ivan)
    form = {"action": "change_chosen", "_selected_action": [str(limit.pk)], "planning": "1"}
    page = (await client.post(LIST, {**form, "person_tokens_per_day": "5"})).content.decode()
    assert f"{company.bob.email}: A person’s limit has no default for each person" in page
    assert "row 2" not in page
    page = (await client.post(LIST, {**form, "tokens_per_day": "1e3"})).content.decode()
    assert "100 → 1,000" in page
