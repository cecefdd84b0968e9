"""Exports an organization's record into a folder, with the proofs and the verifier."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from audit.export import Exporter, Format, export, write_folder
from audit.export_filters import Filters
from audit.roles import connect


class Command(BaseCommand):
    help = "Exports sealed events with what proves them. Verify it anywhere with the verify_export.py inside."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="a folder that does not exist yet")
        parser.add_argument("--organization", type=UUID, required=True, help="id of the organization")
        parser.add_argument("--format", choices=[form.value for form in Format], default=Format.JSON_LINES.value)
        parser.add_argument("--since", type=moment, help="such as 2026-11-01T00:00+00:00, inclusive")
        parser.add_argument("--until", type=moment, help="exclusive")
        parser.add_argument("--department", type=UUID)
        parser.add_argument("--person", type=UUID)
        parser.add_argument("--event", action="append", default=[], help="such as call:answered; may be given again")
        parser.add_argument("--model", default="")
        parser.add_argument("--as", dest="name", default="operator", help="who exports, for the record")

    def handle(self, *args: Any, **options: Any) -> None:
        filters = Filters(
            organization_id=options["organization"],
            since=options["since"],
            until=options["until"],
            department_id=options["department"],
            actor_id=options["person"],
            events=options["event"],
            model=options["model"],
        )
        if options["folder"].exists():
            raise CommandError(f"{options['folder']} exists already: name a new folder.")
        with connect("default") as rows, connect("default") as beside:
            members = export(rows, beside, filters, Format(options["format"]), Exporter(actor_name=options["name"]))
            write_folder(members, options["folder"])
        self.stdout.write(f"exported to {options['folder']}")


def moment(text: str) -> datetime:
    """A time with its zone, or in UTC. ValueError where it is none."""
    found = parse_datetime(text)
    if found is None:
        raise ValueError(text)
    return found if timezone.is_aware(found) else timezone.make_aware(found)
