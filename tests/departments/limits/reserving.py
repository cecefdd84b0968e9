"""What the tests of the ledger share: a request to it, and a clock that can be set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg

from audit.database import pipelined_transaction
from departments.limits import budget
from tests.company import Company

CLOCK = """
    CREATE SCHEMA IF NOT EXISTS set_clock;
    GRANT USAGE ON SCHEMA set_clock TO PUBLIC;
    CREATE OR REPLACE FUNCTION set_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
        $$ SELECT current_setting('set_clock.now')::timestamptz $$;
"""


def request(company: Company, **changes: Any) -> budget.Request:
    """Bob of HR wants to spend 100 tokens on a prompt and up to 100 on its answer."""
    return budget.Request(
        **{
            "call_id": uuid4(),
            "organization_id": company.organization.pk,
            "department_id": company.hr.pk,
            "person_id": company.bob.pk,
            "purpose": "chat",
            "time_zone": company.organization.time_zone,
            "prompt": 100,
            "wanted": 100,
        }
        | changes
    )


async def reserve(company: Company, **changes: Any) -> budget.Granted | budget.Refusal:
    return await admit(request(company, **changes))


async def admit(asked: budget.Request) -> budget.Granted | budget.Refusal:
    async with pipelined_transaction() as held:
        return await budget.reserve(held, asked)


async def settle(asked: budget.Request, used: int) -> bool:
    async with pipelined_transaction() as held:
        return await budget.settle(held, asked.call_id, used)


class Clock:
    """The ledger's functions on a connection whose clock says what it is told."""

    def __init__(self, held: psycopg.Connection[Any]) -> None:
        self._held = held

    def set(self, moment: str) -> None:
        self._held.execute("SELECT set_config('set_clock.now', %s, false)", [moment])

    def admit(self, asked: budget.Request) -> tuple[bool, datetime | None]:
        """Whether the call is admitted, and when it could be if it is not."""
        statement = f"SELECT {budget.DECISION} FROM {budget.ADMIT}"
        row = self._held.execute(statement.encode(), budget.admit_parameters(asked)).fetchone()
        assert row is not None
        return row[0], row[-1]

    def renew(self, asked: budget.Request, written: int) -> bool:
        values = [budget.LEASE_SECONDS, written, asked.call_id]
        return self._held.execute(budget._RENEW, values).fetchone() is not None

    def settle(self, asked: budget.Request, used: int) -> bool:
        row = self._held.execute("SELECT limits_settle(%s, %s, 0, NULL, false)", [asked.call_id, used]).fetchone()
        assert row is not None
        return bool(row[0])


@contextmanager
def clock_at(moment: str) -> Iterator[Clock]:
    with psycopg.connect(os.environ["CHATGRID_OWNER_DATABASE_URL"], autocommit=True) as owner:
        owner.execute(CLOCK)
    with psycopg.connect(os.environ["CHATGRID_DATABASE_URL"], autocommit=True) as held:
        held.execute("SET search_path = set_clock, pg_catalog, public")
        clock = Clock(held)
        clock.set(moment)
        yield clock
