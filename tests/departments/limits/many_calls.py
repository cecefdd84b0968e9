"""A process of its own that makes calls: `python -m tests.departments.limits.many_calls <slug> <e-mail> <n> <at once>`.

Prints how many were answered. The environment is that of the test run.
"""

from __future__ import annotations

import asyncio
import sys

import django

django.setup()

from audit import database  # noqa: E402
from departments.calls.caller import Caller, CallRefused  # noqa: E402
from departments.calls.run import Ask, answering  # noqa: E402
from departments.keys import client  # noqa: E402
from departments.models import Department, Membership  # noqa: E402

# so many calls at once, on a machine that does other things too, wait for a connection and for each other
database.TIMEOUT, database.MILLISECONDS = 60.0, 60_000


async def call(membership: Membership, department: Department) -> bool:
    caller = Caller(membership.user.pk, membership.user.name)
    try:
        async with answering(Ask(department=department, caller=caller, question="How much leave?")) as (_, text):
            return bool([flush async for flush in text])
    except CallRefused:
        return False


async def calls(membership: Membership, count: int, at_once: int) -> int:
    turns = asyncio.Semaphore(at_once)

    async def in_turn() -> bool:
        async with turns:
            return await call(membership, department)

    department = Department.objects.select_related("organization").get(pk=membership.department_id)
    try:
        return sum(await asyncio.gather(*(in_turn() for _ in range(count))))
    finally:
        await client.close()
        await database.close()


if __name__ == "__main__":
    slug, email, count, at_once = sys.argv[1:]
    found = Membership.objects.select_related("user").get(department__organization__slug=slug, user__email=email)
    sys.stdout.write(str(asyncio.run(calls(found, int(count), int(at_once)))))
