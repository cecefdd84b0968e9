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

# what a field means, where its name alone does not say it and the model has no help text
MEANINGS = {
    "id": "the event's own",
    "organization_id": "the company",
    "organization_name": "its name as it was then",
    "department_id": "the department, where the event belongs to one",
    "department_name": "its name as it was then",
    "actor_id": "the person who acted; empty where a clock or a worker did",
    "client_address": "the address that the request came from",
    "subject_kind": "what was acted on, such as `document`, `secret` or `person`",
    "subject_id": "its id or name",
    "purpose": "what a call was for: `chat`, `search` (a question's embedding), `ingest`, `attack`, `moderation`",
    "model_asked": "the model that was asked for",
    "model_answered": "the model that the provider says it used",
    "tokens_input": "tokens of the prompt",
    "tokens_cached": "those of them that the provider read from its cache",
    "tokens_output": "tokens of the answer",
    "tokens_reasoning": "those of them that the model thought with",
    "first_token_ms": "milliseconds from the admission of the call to the first piece of its answer",
    "total_ms": "milliseconds from the admission to the end",
    "provider_request_id": "the provider's own id of the request, for asking them about it",
    "key_fingerprint": "the first 16 hex digits of the key's SHA-256",
    "key_version": "the version of the secret in the secret manager",
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
        meaning = str(field.help_text) or MEANINGS[field.name]
        empty = "yes" if field.null else ""
        rows.append(f"| `{field.name}` | {KINDS[FIELDS[field.name]]} | {empty} | {meaning} |")
    return "\n".join(rows)


def event_table() -> str:
    rows = ["| event | what happened | sealed |", "|---|---|---|"]
    rows += [
        f"| `{each.value}` | {each.label} | {'at once' if each in CRITICAL else 'by the minute'} |" for each in Event
    ]
    return "\n".join(rows)
