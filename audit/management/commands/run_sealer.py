"""Seals the record until it is told to stop. A process of its own: nothing else holds its role and its key."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils.module_loading import import_string

from audit.anchors import configured
from audit.roles import SEALER, connect
from audit.sealer import Sealer


class Command(BaseCommand):
    help = "Seals the record every minute, and at once after a critical event. Stops on SIGTERM and SIGINT."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        Sealer(lambda: connect(SEALER), import_string(settings.AUDIT_SIGNER), configured()).run(stop)
