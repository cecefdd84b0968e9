"""Brings the sums behind the charts up to date, makes them again, or compares them with the record.

Exit status 1: a sum is not what the record adds up to.
"""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from audit import rollups
from audit.roles import connect

SHOWN = 20


class Command(BaseCommand):
    help = "Takes what was sealed into the sums that the auditor's charts show."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rebuild", action="store_true", help="make every sum again from the record")
        parser.add_argument("--check", action="store_true", help="compare every sum with the record")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect("default") as connection, connection.cursor() as cursor:
            seals = rollups.rebuild(cursor) if options["rebuild"] else rollups.advance(cursor)
            self.stdout.write(f"{seals:,} seals taken; the sums stand at seal {rollups.state(cursor).seal:,}")
            if options["check"]:
                self._compare(rollups.differences(cursor))

    def _compare(self, found: list[tuple[Any, ...]]) -> None:
        for row in found[:SHOWN]:
            self.stdout.write(" ".join(map(str, row)))
        if found:
            self.stdout.write(f"{len(found):,} rows differ from the record: make them again with --rebuild")
            sys.exit(1)
        self.stdout.write("every sum equals the record")
