"""Models and migrations agree."""

from __future__ import annotations

from io import StringIO

from django.core.management import call_command


def test_no_migration_is_missing() -> None:
    said = StringIO()
    try:
        call_command("makemigrations", check=True, dry_run=True, stdout=said)
    except SystemExit:
        raise AssertionError(f"Run `manage.py makemigrations`:\n{said.getvalue()}") from None


def test_the_system_check_is_clean() -> None:
    call_command("check", fail_level="WARNING")
