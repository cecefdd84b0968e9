"""The pages of the console, one file a subject. Importing this package registers them."""

from __future__ import annotations

from chatgrid.console.admin import (
    catalogue,
    departments,
    departures,
    keys,
    limits,
    organizations,
    people,
    projects,
    record,
    retention,
)

__all__ = [
    "catalogue",
    "departments",
    "departures",
    "keys",
    "limits",
    "organizations",
    "people",
    "projects",
    "record",
    "retention",
]
