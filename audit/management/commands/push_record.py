"""Pushes the record to the SIEM, once or until it is told to stop; a worker of the queue `push` does the same."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from audit.push import push
from audit.roles import connect
from audit.siem import configured

EVERY = 5.0


class Command(BaseCommand):
    help = "Sends sealed events that the targets of CHATGRID_SIEM have not got yet."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--forever", action="store_true", help=f"again every {EVERY:.0f} seconds, until SIGTERM")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        targets = configured()
        while True:
            for target in targets:
                with connect("default") as connection:
                    sent = push(connection, target, patient=options["forever"])
                if sent or not options["forever"]:
                    self.stdout.write(f"{sent} events pushed to {target.name}")
            if not options["forever"] or stop.wait(EVERY):
                return
