"""One pass of the sealer, for an operator and for a schedule outside ChatGrid."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils.module_loading import import_string

from audit.anchors import configured
from audit.roles import SEALER, connect
from audit.sealer import Sealer


class Command(BaseCommand):
    help = "Seals every event that waits, now."

    def handle(self, *args: Any, **options: Any) -> None:
        signer = import_string(settings.AUDIT_SIGNER)
        with connect(SEALER) as connection:
            made = Sealer(lambda: connection, signer, configured()).seal(connection)
        self.stdout.write(f"{sum(seal.count for seal in made)} events sealed, up to seal {made[-1].n}")
