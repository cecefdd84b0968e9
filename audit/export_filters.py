"""Which events an export takes, and how the database is asked for them. An empty field does not filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which events. Times are inclusive at the start and exclusive at the end; an empty field does not filter."""

    organization_id: UUID
    since: datetime | None = None
    until: datetime | None = None
    department_id: UUID | None = None
    actor_id: UUID | None = None
    events: Sequence[str] = ()
    model: str = ""

    def as_json(self) -> dict[str, Any]:
        held = {
            "organization_id": self.organization_id,
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            "department_id": self.department_id,
            "actor_id": self.actor_id,
            "events": list(self.events),
            "model": self.model,
        }
        return {name: str(value) if isinstance(value, UUID) else value for name, value in held.items() if value}

    def condition(self) -> sql.Composable:
        wanted: list[sql.Composable] = [_equals("organization_id", self.organization_id)]
        for name, operator, moment in (("at", ">=", self.since), ("at", "<", self.until)):
            if moment is not None:
                # on both tables, so that only the months in question are read
                wanted += [
                    sql.SQL("{} {} {}").format(sql.Identifier(alias, name), sql.SQL(operator), sql.Literal(moment))
                    for alias in ("e", "l")
                ]
        if self.department_id:
            wanted.append(_equals("department_id", self.department_id))
        if self.actor_id:
            wanted.append(_equals("actor_id", self.actor_id))
        if self.events:
            wanted.append(sql.SQL("e.event = ANY({})").format(sql.Literal(list(self.events))))
        if self.model:
            wanted.append(_equals("model_asked", self.model))
        return sql.SQL(" AND ").join(wanted)


def _equals(name: str, value: Any) -> sql.Composed:
    return sql.SQL("{} = {}").format(sql.Identifier("e", name), sql.Literal(value))
