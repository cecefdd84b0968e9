"""Reads every archived month back to its end. Exit status 1: an archive is damaged or gone, and which."""

from __future__ import annotations

import sys
from typing import Any

from django.core.files.storage import storages
from django.core.management.base import BaseCommand

from audit.archive import check_archives
from audit.roles import connect


class Command(BaseCommand):
    help = "Compares the archive of every month that has ended with what the record announced and what was sealed."

    def handle(self, *args: Any, **options: Any) -> None:
        with connect("default") as connection:
            found = list(check_archives(connection, storages["archive"]))
        for month, problem in found:
            self.stdout.write(f"{month}: {problem or 'as it was sealed'}")
        if any(problem for _, problem in found):
            sys.exit(1)
        self.stdout.write(f"archives verified: {len(found)}")
