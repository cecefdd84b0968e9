"""Connections of the record's own database roles: the sealer's, which may add seals, and the retention's, which may end
a month. Web and workers have neither; where a role's address is not set, what needs it says so and does nothing.
"""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from psycopg import Connection
from psycopg.conninfo import make_conninfo

SEALER, RETENTION = "sealer", "retention"
VARIABLES = {SEALER: "CHATGRID_SEALER_DATABASE_URL", RETENTION: "CHATGRID_RETENTION_DATABASE_URL"}


def connect(alias: str) -> Connection[Any]:
    """A connection in autocommit mode. ImproperlyConfigured without an address, OperationalError without an answer."""
    if alias not in settings.DATABASES:
        raise ImproperlyConfigured(
            f"{VARIABLES.get(alias, alias)} is not set: this needs a database role of its own, see docs/settings.md."
        )
    entry = settings.DATABASES[alias]
    address = make_conninfo(
        host=entry["HOST"] or None,
        port=entry["PORT"] or None,
        dbname=entry["NAME"],
        user=entry["USER"],
        password=entry["PASSWORD"],
        application_name=f"chatgrid-{alias}",
        connect_timeout=5,
        options="-c timezone=UTC",
    )
    return psycopg.connect(address, autocommit=True)
