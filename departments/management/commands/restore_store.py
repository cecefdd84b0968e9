"""`manage.py restore_store ORGANIZATION DEPARTMENT FILE --reason …`: a store as a backup has it, with a receipt.

Everything that is in the store now is replaced, in one transaction. What was deleted since the backup is deleted again.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import CommandError

from audit.database import DatabaseDown
from departments.documents.backup import BackupFailed, restore_store
from departments.documents.store import NoStore, StoreDown
from departments.keys.vaults import VaultError
from departments.management.stores import StoreCommand


class Command(StoreCommand):
    help = "Replaces a department's store by what a backup holds, after asking, and prints a receipt."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, help="what back_up_store wrote")
        parser.add_argument("--no-input", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        department, reason = self.department(options), self.reason(options)
        question = f"Everything in the store of {department} is replaced by {options['file']}."
        if not options["no_input"] and not self.agreed(department, question):
            raise CommandError("Nothing was restored.")
        try:
            receipt = restore_store(department, options["file"], reason=reason, name=options["name"])
        except BackupFailed as error:
            raise CommandError(str(error)) from None
        except (psycopg.Error, NoStore, StoreDown, VaultError, DatabaseDown, OSError) as error:
            raise CommandError(f"Not finished ({type(error).__name__}: {error}). Run the command again.") from error
        self.stdout.write(json.dumps(asdict(receipt), default=str, indent=2))
