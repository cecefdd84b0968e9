"""docs/record.md says what the code does."""

from __future__ import annotations

from pathlib import Path

from audit.events import Event
from audit.leaves import FIELDS
from audit.management.commands.describe_record import described
from audit.models import AuditEvent

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "record.md"


def test_the_tables_of_the_record_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert described(text) == text, "Run `manage.py describe_record docs/record.md`."


def test_every_field_and_every_event_is_in_them() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in FIELDS)
    assert all(f"| `{event.value}` |" in text for event in Event)


def test_every_column_of_an_event_is_sealed() -> None:
    assert list(FIELDS) == [field.attname for field in AuditEvent._meta.concrete_fields]
