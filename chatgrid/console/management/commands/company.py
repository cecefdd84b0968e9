"""`manage.py company`: a company's policies, departments and limits as code.

company export tarnholm > tarnholm.yaml      what is, as YAML
company plan tarnholm tarnholm.yaml          what applying would change; exit status 2 where there is something
company apply tarnholm tarnholm.yaml --reason "new budgets"
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model

from chatgrid.console.fresh import LONGEST_REASON
from chatgrid.console.model_names import doubts_about
from chatgrid.console.recording import Actor, Values, record_by
from chatgrid.console.wanted.changes import Change, ChangedMeanwhile, Refused, apply_changes
from chatgrid.console.wanted.company import export_company, plan_company, without_project
from departments.models import Organization

NAME = "manage.py"


class Command(BaseCommand):
    help = "Exports a company's policies, departments and limits as YAML, plans changes from one, and applies them."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("act", choices=["export", "plan", "apply"])
        parser.add_argument("organization", help="its slug")
        parser.add_argument("file", nargs="?", help="YAML; - reads standard input")
        parser.add_argument("--reason", default="", help="why; stands in the record with every change")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = Organization.objects.filter(slug=options["organization"]).first()
        if organization is None:
            raise CommandError(f"There is no organization {options['organization']}. Make it in the console first.")
        if options["act"] == "export":
            self.stdout.write(export_company(organization), ending="")
            return
        text = _read(options["file"])
        try:
            changes = plan_company(organization, text, options["reason"][:LONGEST_REASON] or "as code")
            if options["act"] == "apply":
                self._apply(organization, changes, options["reason"])
        except (Refused, ChangedMeanwhile) as error:
            raise CommandError(str(error)) from None
        self._show(changes)
        for doubt in doubts_about(changes, organization):
            self.stdout.write(f"Look: {doubt}")
        self._say_what_is_left(organization, text)
        if options["act"] == "plan" and changes:
            sys.exit(2)

    def _apply(self, organization: Organization, changes: list[Change], reason: str) -> None:
        if not reason.strip():
            raise CommandError("Say why with --reason: it stands in the record with every change.")
        actor = Actor(None, NAME, organization=organization)

        def recorded(subject: Model, action: str, before: Values, after: Values) -> None:
            record_by(actor, subject, action, before, after, reason=reason[:LONGEST_REASON])

        apply_changes(changes, recorded)

    def _show(self, changes: list[Change]) -> None:
        for change in changes:
            self.stdout.write("\n".join(change.lines()))
        number = f"{len(changes)} change" + ("s" if len(changes) != 1 else "")
        self.stdout.write(number if changes else "Nothing to change: it is as the file says.")

    def _say_what_is_left(self, organization: Organization, text: str) -> None:
        if waiting := without_project(organization, text):
            named = ", ".join(waiting)
            self.stdout.write(f"Not made here: store, project and key of {named}. Next: provision_departments apply.")


def _read(name: str | None) -> str:
    if name is None:
        raise CommandError("Name the YAML file, or - for standard input.")
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name} cannot be read: {error}") from None
