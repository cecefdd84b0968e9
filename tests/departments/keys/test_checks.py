"""The system checks for keys: they find one, name its place, and never repeat it."""

from __future__ import annotations

from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from departments.keys.checks import keys_in_database, keys_in_settings
from tests.company import Company, make_key


def test_settings_without_a_key_pass() -> None:
    assert keys_in_settings(None) == []


@pytest.mark.parametrize("wrap", [str, lambda key: {"url": [f"https://{key}@proxy.example"]}, lambda key: (key,), Path])
def test_a_key_in_a_setting_is_an_error_without_its_text(settings: Settings, wrap: object) -> None:
    key = make_key().reveal()
    settings.PROXY = wrap(key)  # type: ignore[operator]
    (error,) = keys_in_settings(None)
    assert error.id == "departments.E001"
    assert "PROXY" in error.msg
    assert key[8:] not in str(error)
    with pytest.raises(SystemCheckError):
        call_command("check")


@pytest.mark.parametrize("field", ["instructions", "name"])
def test_a_key_in_a_row_is_an_error_that_names_the_row(company: Company, field: str) -> None:
    key = make_key().reveal()[:90]
    setattr(company.hr, field, f"use {key} please")
    company.hr.save()
    try:
        errors = [e for e in keys_in_database(None, databases=["default"]) if str(company.hr.pk) in e.msg]
        assert [error.id for error in errors] == ["departments.E002"]
        assert key[8:] not in str(errors)
    finally:
        setattr(company.hr, field, "clean again")
        company.hr.save()


def test_a_key_in_a_table_of_a_library_is_found_too(company: Company) -> None:
    row = EmailAddress.objects.create(user=company.bob, email=f"{make_key().reveal()[:90]}@acme.example")
    found = [error.msg for error in keys_in_database(None, databases=["default"])]
    place = f"account_emailaddress, row {row.pk}: something that looks like a key."
    row.delete()
    assert place in found


def test_a_plain_check_does_not_read_the_database(company: Company) -> None:
    assert keys_in_database(None, databases=None) == []
    assert not [error for error in run_checks() if error.id == "departments.E002"]
