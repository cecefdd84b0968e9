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
from django.core.management.base import CommandError

from departments.documents.provision import ProvisioningImpossible, delete_store
from departments.keys.vaults import VaultError
from departments.management.stores import StoreCommand


class Command(StoreCommand):
    help = "Deletes a department's documents for good, after asking, and prints a receipt."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--no-input", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        department, reason = self.department(options), self.reason(options)
        question = f"Every document of {department} is deleted for good."
        if not options["no_input"] and not self.agreed(department, question):
            raise CommandError("Nothing was deleted.")
        try:
            receipt = delete_store(department, reason=reason, name=options["name"])
        except ProvisioningImpossible as error:
            raise CommandError(str(error)) from None
        except (psycopg.Error, VaultError, OSError) as error:
            raise CommandError(f"Not all is deleted ({type(error).__name__}). Run the command again.") from error
        self.stdout.write(json.dumps(asdict(receipt), default=str, indent=2))
