"""What the commands on one department's store share: which department, why, and who does it."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from departments.models import Department


class StoreCommand(BaseCommand):
    """`manage.py … ORGANIZATION DEPARTMENT --reason "…" --as NAME`."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("organization", help="the organization's short name")
        parser.add_argument("department", help="the department's short name, as in /d/finance/")
        parser.add_argument("--reason", default="", help="why; stands in the record")
        parser.add_argument("--as", dest="name", default="operator", help="who does it, for the record")

    def department(self, options: dict[str, Any]) -> Department:
        """The one that was named. Raises CommandError where there is none."""
        slug, organization = options["department"], options["organization"]
        found = Department.objects.select_related("organization", "store_server")
        department = found.filter(organization__slug=organization, slug=slug).first()
        if department is None:
            raise CommandError(f"There is no department {slug} in {organization}.")
        return department

    def reason(self, options: dict[str, Any]) -> str:
        """Why it is done. Raises CommandError where nobody said."""
        reason: str = options["reason"].strip()
        if not reason:
            raise CommandError("Say why with --reason: it stands in the record.")
        return reason

    def agreed(self, department: Department, question: str) -> bool:
        """Whether the person at the keyboard typed the department's short name."""
        return input(f"{question} Type {department.slug} to go on: ").strip() == department.slug
