"""`manage.py upgrade_stores`: brings the schema of every department's store up to date, a few at a time.

Run it at every deployment, before the new release serves. It may be broken off and run again at any moment: each store
notes its own version, each step is one transaction, and a store that is up to date is passed by. One that cannot be
reached does not keep the others waiting; the command ends with its name and a failure.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from audit.database import DatabaseDown
from departments.documents import schema
from departments.documents.provision import upgrade_store
from departments.keys.vaults import VaultError
from departments.models import Department

AT_ONCE = 4


class Command(BaseCommand):
    help = "Brings the schema of every department's store up to date. Safe to repeat."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="only say which stores are behind; fails if any is")

    def handle(self, *args: Any, **options: Any) -> None:
        stores = Department.objects.filter(store_ready=True).select_related("organization").order_by("pk")
        behind: list[str] = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for line, is_behind in pool.map(lambda store: self._one(store, options["check"]), stores.iterator()):
                self.stdout.write(line)
                behind += [line] if is_behind else []
        if behind:
            raise CommandError(f"{len(behind)} stores are not at version {schema.newest()}. Run the command again.")

    def _one(self, department: Department, only_check: bool) -> tuple[str, bool]:
        """What was found or done for one store, and whether it is behind now."""
        name = f"{department.organization.slug}/{department.slug}"
        try:
            before, after = upgrade_store(department, only_check=only_check)
        except (psycopg.Error, VaultError, DatabaseDown, OSError) as error:
            return f"{name}: cannot be upgraded ({type(error).__name__}: {_first_line(error)})", True
        finally:
            connections.close_all()  # this thread's: the secret's reading was recorded through it
        said = f"version {after}" if before == after else f"from version {before} to {after}"
        return f"{name}: {said}", after != schema.newest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
