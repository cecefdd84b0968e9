"""The pages of the console, one file a subject. Importing this package registers them."""

from __future__ import annotations

from chatgrid.console.admin import (
    admin_keys,
    alerts,
    catalogue,
    departments,
    departures,
    grants,
    keys,
    limits,
    organizations,
    people,
    projects,
    record,
    retention,
    rotations,
    sources,
)

__all__ = [
    "admin_keys",
    "alerts",
    "catalogue",
    "departments",
    "departures",
    "grants",
    "keys",
    "limits",
    "organizations",
    "people",
    "projects",
    "record",
    "retention",
    "rotations",
    "sources",
]
