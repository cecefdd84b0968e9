"""Verifies the record. Exit status 0: it holds. 1: it was changed or cannot be proven. 2: it holds, with remarks."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from psycopg import Connection

from audit.anchors import configured
from audit.findings import Report
from audit.roles import connect
from audit.signing import public_keys
from audit.verification import Verifier

BAR = 40
RECENT = 5_000  # seals; a bucket gives them one by one, some fifty a second


class Command(BaseCommand):
    help = "Checks every seal, every event under it and the anchors, and names the first place that is not as sealed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--public-key", action="append", default=[], help="a key (hex) that may have signed first")
        parser.add_argument("--all-anchors", action="store_true", help=f"not only the last {RECENT:,} seals there")
        parser.add_argument("--no-progress", action="store_true", help="print no bar")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            keys = public_keys(options["public_key"] or settings.AUDIT_PUBLIC_KEYS)
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        progress = None if options["no_progress"] or not sys.stderr.isatty() else self._bar
        with connect("default") as connection:
            report = Verifier(
                connection,
                trusted=keys,
                anchors=configured(),
                anchored_after=0 if options["all_anchors"] else self._old(connection),
                progress=progress,
            ).verify()
        self._tell(report)
        if report.faults:
            sys.exit(1)
        if report.findings:
            sys.exit(2)

    @staticmethod
    def _old(connection: Connection[Any]) -> int:
        row = connection.execute("SELECT coalesce(max(n), 0) FROM audit_seal").fetchone()
        return max(0, row[0] - RECENT) if row else 0

    def _bar(self, done: int, total: int) -> None:
        share = done / total if total else 1.0
        full = round(share * BAR)
        self.stderr.write(f"\r[{'#' * full}{'.' * (BAR - full)}] {share:4.0%} {done:,} events", ending="")

    def _tell(self, report: Report) -> None:
        self.stdout.write(
            f"{report.events:,} events under {report.seals:,} seals; {report.expired_seals:,} have expired"
        )
        for anchor, newest in report.anchors.items():
            self.stdout.write(f"anchor {anchor}: up to seal {newest}")
        for finding in report.findings:
            self.stdout.write(f"{finding.severity}: {finding}")
        if first := report.first_fault:
            self.stdout.write(f"NOT VERIFIED. The first bad place: {first}")
        else:
            self.stdout.write(f"verified with {', '.join(report.keys)}")
