"""Pushes the record to the SIEM, once or until it is told to stop; a worker of the queue `push` does the same.

With --skip it pushes nothing: it lets a target go on without one event that the target never takes.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.push import NotSkipped, push
from audit.push import skip as leave_out
from audit.roles import connect
from audit.siem import configured

EVERY = 5.0


class Command(BaseCommand):
    help = "Sends sealed events that the targets of CHATGRID_SIEM have not got yet."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--forever", action="store_true", help=f"again every {EVERY:.0f} seconds, until SIGTERM")
        parser.add_argument("--skip", type=int, metavar="NUMBER", help="leave out this event, which --target refuses")
        parser.add_argument("--target", default="", help="its name in CHATGRID_SIEM")
        parser.add_argument("--reason", default="", help="why; stands in the record")
        parser.add_argument("--as", dest="name", default="operator", help="who does it, for the record")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["skip"] is not None:
            self._skip(**{name: options[name] for name in ("skip", "target", "reason", "name")})
            return
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

    def _skip(self, *, skip: int, target: str, reason: str, name: str) -> None:
        known = [each.name for each in configured()]
        if target not in known:
            raise CommandError(f"Name the target with --target: {', '.join(known) or 'CHATGRID_SIEM has none'}.")
        if not reason.strip():
            raise CommandError("Say why with --reason: it stands in the record.")
        try:
            with connect("default") as connection:
                leave_out(connection, target, skip, reason.strip(), name)
        except NotSkipped as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{target} goes on without event number {skip}; that is an event of its own in the record")
