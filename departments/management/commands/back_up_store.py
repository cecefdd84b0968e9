"""`manage.py back_up_store ORGANIZATION DEPARTMENT FILE --reason …`: a department's store in one file, with a receipt.

The file can be read by its owner only and is not encrypted: put it where documents may lie. Originals are files of
their own (docs/operations.md, Backups).
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
from departments.documents.backup import BackupFailed, back_up_store
from departments.keys.vaults import VaultError
from departments.management.stores import StoreCommand


class Command(StoreCommand):
    help = "Writes a department's store into a new file and prints a receipt."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, help="the file to write; it must not exist yet")

    def handle(self, *args: Any, **options: Any) -> None:
        department, reason = self.department(options), self.reason(options)
        try:
            receipt = back_up_store(department, options["file"], reason=reason, name=options["name"])
        except FileExistsError:
            raise CommandError(f"{options['file']} exists: a backup overwrites nothing.") from None
        except BackupFailed as error:
            raise CommandError(str(error)) from None
        except (psycopg.Error, VaultError, DatabaseDown, OSError) as error:
            raise CommandError(f"Nothing was backed up ({type(error).__name__}: {error}).") from error
        self.stdout.write(json.dumps(asdict(receipt), default=str, indent=2))
