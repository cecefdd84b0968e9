"""Writes the tables of docs/record.md from the code: the fields of an event, and the events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from audit.events import CRITICAL, Event
from audit.leaves import FIELDS
from audit.models import AuditEvent

BEGIN, END = "<!-- {}: written by manage.py describe_record -->", "<!-- end of {} -->"
KINDS = {
    "uuid": "UUID",
    "time": "time, UTC",
    "text": "text",
    "json": "JSON",
    "int8": "number",
    "int4": "number",
    "bool": "yes or no",
    "decimal": "decimal, 8 places",
}


class Command(BaseCommand):
    help = "Brings the tables of a document, such as docs/record.md, up to date."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("document", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        document: Path = options["document"]
        document.write_text(described(document.read_text(encoding="utf-8")), encoding="utf-8")


def described(text: str) -> str:
    """The document's text with both tables as the code has them now."""
    for name, table in (("fields", field_table()), ("events", event_table())):
        before, _, rest = text.partition(BEGIN.format(name))
        _, _, after = rest.partition(END.format(name))
        text = f"{before}{BEGIN.format(name)}\n{table}\n{END.format(name)}{after}"
    return text


def field_table() -> str:
    rows = ["| field | kind | may be empty | meaning |", "|---|---|---|---|"]
    for field in AuditEvent._meta.concrete_fields:
        meaning = str(field.help_text) or field.name.replace("_", " ")
        empty = "yes" if field.null else ""
        rows.append(f"| `{field.name}` | {KINDS[FIELDS[field.name]]} | {empty} | {meaning} |")
    return "\n".join(rows)


def event_table() -> str:
    rows = ["| event | what happened | sealed |", "|---|---|---|"]
    rows += [
        f"| `{each.value}` | {each.label} | {'at once' if each in CRITICAL else 'by the minute'} |" for each in Event
    ]
    return "\n".join(rows)
