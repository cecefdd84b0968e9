"""The proofs behind the home page: for each of the eight controls, checks that look at the running system.

Rules:
- Green means: looked at, all of it held, and not longer ago than the check's result counts as fresh. Nothing is green
  by default, and nothing stays green when nobody looks any more.
- A check is made by the clock (chatgrid/console/tasks.py) and by hand ("Check now"); either leaves sentences of
  evidence, with links to where they come from.
- Whatever changes from or to "holds" is an event in the record.
- A new check: a function `(organization) -> list[Evidence]` and an entry here.
"""

from __future__ import annotations

from datetime import timedelta

from chatgrid.console.proofs import injection, ledger, projects, record, rotation, secrets, server_only, stores
from chatgrid.console.proofs.base import Check, Evidence, state_of

HOURLY = (timedelta(minutes=55), timedelta(hours=2))
DAILY = (timedelta(hours=24), timedelta(hours=26))

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("server_only", 1, "Code and pages", server_only.look, *DAILY, shared=True),
        Check("vault", 2, "Secret manager", secrets.vault, *HOURLY),
        Check("places", 2, "Settings and environment", secrets.places, *HOURLY, shared=True),
        Check("projects", 3, "Projects at the provider", projects.look, *HOURLY),
        Check("stores", 4, "Doors of the stores", stores.look, *HOURLY),
        Check("seals", 5, "Seals and anchors", record.seals, *HOURLY, shared=True),
        Check("verification", 5, "The whole record", record.verification, *HOURLY, shared=True),
        Check("ledger", 6, "Ledger and record", ledger.look, *HOURLY),
        Check("rotation", 7, "Ages and exchanges", rotation.look, *HOURLY),
        Check("injection", 8, "Attack report", injection.look, *DAILY, shared=True),
    )
}

__all__ = ["CHECKS", "Check", "Evidence", "state_of"]
