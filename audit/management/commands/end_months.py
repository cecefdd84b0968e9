"""Takes every month of the record that is due a step towards its end, and erases texts that are due."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from audit.retention import end_months, erase_texts
from audit.roles import RETENTION, connect


class Command(BaseCommand):
    help = "Erases texts, archives and drops months whose retention is over. Run it daily; a month takes two runs."

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(RETENTION) as connection:
            self.stdout.write(f"{erase_texts(connection)} texts erased")
            dropped = end_months(connection)
        self.stdout.write(f"months dropped: {', '.join(dropped) or 'none'}")
