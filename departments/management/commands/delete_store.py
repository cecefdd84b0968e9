"""`manage.py delete_store ORGANIZATION DEPARTMENT --reason …`: a department's documents go for good, with a receipt.

Its database, its login roles, its password and every original are deleted. Conversations and the record stay. It may be
broken off and run again at any moment; the provisioner's address and a role that may write secrets are needed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError

from departments.documents.provision import ProvisioningImpossible, delete_store
from departments.keys.vaults import VaultError
from departments.models import Department


class Command(BaseCommand):
    help = "Deletes a department's documents for good, after asking, and prints a receipt."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("organization", help="the organization's short name")
        parser.add_argument("department", help="the department's short name, as in /d/finance/")
        parser.add_argument("--reason", default="", help="why; stands in the record")
        parser.add_argument("--as", dest="name", default="operator", help="who does it, for the record")
        parser.add_argument("--no-input", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        department = _department(options["organization"], options["department"])
        reason = options["reason"].strip()
        if not reason:
            raise CommandError("Say why with --reason: it stands in the record.")
        if not options["no_input"] and not _agreed(department):
            raise CommandError("Nothing was deleted.")
        try:
            receipt = delete_store(department, reason=reason, name=options["name"])
        except ProvisioningImpossible as error:
            raise CommandError(str(error)) from None
        except (psycopg.Error, VaultError, OSError) as error:
            raise CommandError(f"Not all is deleted ({type(error).__name__}). Run the command again.") from error
        self.stdout.write(json.dumps(asdict(receipt), default=str, indent=2))


def _department(organization: str, slug: str) -> Department:
    found = Department.objects.select_related("organization", "store_server")
    department = found.filter(organization__slug=organization, slug=slug).first()
    if department is None:
        raise CommandError(f"There is no department {slug} in {organization}.")
    return department


def _agreed(department: Department) -> bool:
    answer = input(f"Every document of {department} is deleted for good. Type {department.slug} to go on: ")
    return answer.strip() == department.slug
