"""Taking turns where a secret manager has no compare-and-swap: a lock in the control database, one for each name.

The lock belongs to a connection of its own and is let go with it, so a process that dies holds up nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from audit.database import conninfo
from departments.keys.vaults.base import VaultUnavailable

WAIT_SECONDS = 20


@contextmanager
def in_turn(name: str) -> Iterator[None]:
    """Hold the name's lock. VaultUnavailable where the database is away or others hold the lock too long."""
    number = int.from_bytes(hashlib.sha256(f"vault {name}".encode()).digest()[:8], signed=True)
    try:
        with psycopg.connect(conninfo(), autocommit=True) as held:
            held.execute(f"SET lock_timeout = '{WAIT_SECONDS}s'")
            held.execute("SELECT pg_advisory_lock(%s)", [number])
            yield
    except psycopg.Error as error:
        raise VaultUnavailable(f"{name}: no turn to write it was had ({type(error).__name__}).") from error
