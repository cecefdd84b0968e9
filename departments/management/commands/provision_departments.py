"""`manage.py provision_departments`: projects, keys and stores, planned, shown and applied.

provision_departments plan                        what would be done for every active department
provision_departments apply tarnholm/hr           do it for one
provision_departments plan --file bounds.yaml     with the bounds of a file; `apply` does it
provision_departments adopt tarnholm/hr --project proj_...    take over an existing project
provision_departments archive tarnholm/hr --yes   close its project for ever, with a receipt
provision_departments check                       compare with OpenAI now
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from departments.keys import drift
from departments.keys.archiving import ArchiveReceipt, archive
from departments.keys.models import ProviderProject
from departments.keys.project_plan import ProvisioningStopped
from departments.keys.provisioning import adopt, project_row
from departments.keys.vaults import VaultError
from departments.models import Department
from departments.provisioning import (
    FileRefused,
    Plan,
    all_departments,
    any_department,
    apply,
    plan,
    read_file,
    set_wanted,
)

NAME = "manage.py"


class PlanOnly(Exception):
    """Ends the transaction in which a file was read, so that what it wants is forgotten again."""


class Command(BaseCommand):
    help = "Plans, applies, adopts, archives and checks departments' projects at OpenAI, their keys and their stores."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("act", choices=["plan", "apply", "adopt", "archive", "check"])
        parser.add_argument("departments", nargs="*", help="organization/department; none: every active one")
        parser.add_argument("--file", type=Path, help="YAML with departments and their bounds")
        parser.add_argument("--project", help="the id of the project to adopt")
        parser.add_argument("--yes", action="store_true", help="archive without asking")

    def handle(self, *args: Any, **options: Any) -> None:
        act = {"plan": self._plan, "apply": self._apply, "adopt": self._adopt}.get(options["act"])
        act = act or {"archive": self._archive, "check": self._check}[options["act"]]
        try:
            act(options)
        except (FileRefused, ProvisioningStopped, VaultError) as error:
            raise CommandError(str(error)) from None

    def _plan(self, options: dict[str, Any]) -> None:
        for row in self._rows(options):
            self._show(plan(row.department, row), "would be done")

    def _rows(self, options: dict[str, Any]) -> list[ProviderProject]:
        """Projects as the file wants them, without keeping that. The plan reads secrets, which must stay recorded."""
        rows: list[ProviderProject] = []
        try:
            with transaction.atomic():
                rows = [project_row(department) for department in self._chosen(options)]
                raise PlanOnly
        except PlanOnly:
            return rows

    def _apply(self, options: dict[str, Any]) -> None:
        """One department's stop does not keep the others waiting."""
        stopped = []
        for department in self._chosen(options):
            try:
                self._show(apply(department, by_name=NAME), "done")
            except ProvisioningStopped as error:
                stopped.append(f"{department.organization.slug}/{department.slug}: {error}")
        if stopped:
            raise CommandError("\n".join([*stopped, "Apply again to go on from there."]))

    def _adopt(self, options: dict[str, Any]) -> None:
        if not options["project"]:
            raise CommandError("Name the project with --project.")
        department = self._one(options)
        answer = adopt(department, options["project"], by_name=NAME)
        changes, sentence = (answer, "") if isinstance(answer, list) else ([], answer.sentence)
        self._show(Plan(department, tuple(changes), sentence), "would be done by apply")

    def _archive(self, options: dict[str, Any]) -> None:
        department = any_department(self._name(options))
        if not options["yes"]:
            raise CommandError("Archiving is final: the project can never be used again. Add --yes to do it.")
        answer = archive(department, by_name=NAME)
        if isinstance(answer, ArchiveReceipt):
            self.stdout.write(json.dumps(asdict(answer), default=str, indent=2))
        else:
            self.stdout.write(answer.sentence)

    def _check(self, options: dict[str, Any]) -> None:
        for department in self._chosen(options):
            answer = drift.check(department)
            found = [finding.sentence for finding in answer] if isinstance(answer, list) else [answer.sentence]
            self.stdout.write(f"{department.organization.slug}/{department.slug}")
            self.stdout.write("\n".join(f"  {sentence}" for sentence in found or ["as wanted"]))

    def _chosen(self, options: dict[str, Any]) -> list[Department]:
        if options["file"] is None:
            return all_departments(options["departments"])
        with transaction.atomic():  # a file is taken whole or not at all
            return [set_wanted(wanted).department for wanted in read_file(options["file"])]

    def _name(self, options: dict[str, Any]) -> str:
        if len(options["departments"]) != 1:
            raise CommandError("Name one department as organization/department.")
        return str(options["departments"][0])

    def _one(self, options: dict[str, Any]) -> Department:
        return all_departments([self._name(options)])[0]

    def _show(self, shown: Plan, word: str) -> None:
        lines = [f"{shown.department.organization.slug}/{shown.department.slug}"]
        lines += [f"  {change.line()}" for change in shown.changes] or [f"  nothing {word}"]
        lines += [f"  {shown.sentence}"] if shown.sentence else []
        self.stdout.write("\n".join(lines))
