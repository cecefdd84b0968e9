"""What YAML makes of what somebody wrote is a value of the field, or it is refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from django.core.exceptions import ValidationError

from departments import file_values
from departments.file_values import set_values
from departments.keys.models import KEY_DAYS, ProviderProject
from departments.models import Department
from tests.company import Company, make_key


@pytest.mark.parametrize(
    ("field", "written", "said"),
    [
        ("monthly_cents", "yes", file_values.NUMBER),
        ("monthly_cents", ".inf", file_values.NUMBER),
        ("monthly_cents", "''", file_values.NUMBER),
        ("key_days", "null", file_values.NOTHING),
        ("alert_recipients", "[nobody]", file_values.ADDRESSES),
        ("alert_percents", "yes", file_values.PERCENTS),
        ("alert_percents", "[50, yes]", file_values.PERCENTS),
        ("alert_percents", "[0]", file_values.PERCENTS),
        ("alert_percents", "~", file_values.NOTHING),
        ("alert_recipients", "[3]", file_values.TEXTS),
        ("key_scopes", ".nan", file_values.TEXTS),
        ("allowed_models", '["\\0"]', file_values.CHARACTER),
        ("retention", "1", file_values.TEXT),
    ],
)
def test_a_project_takes_no_value_of_another_kind(field: str, written: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        set_values(ProviderProject(), {field: yaml.safe_load(written)})
    assert refused.value.message_dict == {field: [said]}


@pytest.mark.parametrize("days", [0, 14, 366])
def test_a_key_lives_as_long_as_openai_makes_one_and_longer_than_two_weeks(days: int) -> None:
    with pytest.raises(ValidationError) as refused:
        set_values(ProviderProject(), {"key_days": days})
    assert refused.value.message_dict["key_days"] == [KEY_DAYS]


@pytest.mark.parametrize(
    ("field", "written", "said"),
    [
        ("name", "2026-01-01", file_values.TEXT),
        ("name", '"\\ud800"', file_values.CHARACTER),
        ("is_active", "1", file_values.YES_OR_NO),
        ("instructions", "null", file_values.NOTHING),
        ("files_allowed", "1e3", file_values.NUMBER),
    ],
)
def test_neither_does_a_department(field: str, written: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        set_values(Department(), {field: yaml.safe_load(written)})
    assert refused.value.message_dict == {field: [said]}


def test_a_key_in_a_file_is_refused_without_a_character_of_it(company: Company) -> None:
    key = make_key().reveal()
    with pytest.raises(ValidationError) as refused:
        set_values(company.hr, {"instructions": f"use {key}"})
    assert refused.value.message_dict == {"instructions": [file_values.KEY]}


def test_what_fits_is_set_and_the_model_s_own_rules_still_hold(company: Company) -> None:
    fitting: dict[str, Any] = {"name": "People", "is_active": False, "files_allowed": None}
    set_values(company.hr, fitting)
    assert (company.hr.name, company.hr.is_active, company.hr.files_allowed) == ("People", False, None)
    with pytest.raises(ValidationError, match="name"):
        set_values(company.hr, {"name": "x" * 5_000})
