"""Gives the record a new signing key, announced by the old one. Yearly, and at once when the old one may be known."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from audit.roles import SEALER, connect
from audit.seals import roll_key
from audit.signing import key_id
from departments.keys.sealing import current_signer, promote, stage, staged_signer


class Command(BaseCommand):
    help = "Rolls the key that signs the record; publish the public key it prints. May be run again after a crash."

    def handle(self, *args: Any, **options: Any) -> None:
        old = current_signer()
        token = stage()
        new = staged_signer(token)
        with connect(SEALER) as connection:
            roll_key(connection, old, new.public_key)
            promote(token)
            # the running sealer reads its key again
            connection.execute("NOTIFY audit_critical, 'key'")
        self.stdout.write(f"{key_id(new.public_key)} signs from now on; public key {new.public_key.hex()}")
