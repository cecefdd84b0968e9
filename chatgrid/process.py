"""What a web process does when it starts and when it stops."""

from __future__ import annotations

import asyncio
import logging

from django.conf import settings
from django.core.checks import ERROR, run_checks

from audit import database
from chatgrid import flood
from departments.calls import booking
from departments.calls.tokens import count_tokens
from departments.documents import pools
from departments.keys import client

logger = logging.getLogger(__name__)


class UnfitToRun(Exception):
    """System checks found what must not be in production. The message names each, with the next step."""


async def start() -> None:
    """Refuse to run unfit, and load what the first question would otherwise wait for.

    Not the table of the embedding models, 30 MB: the first question to a department with documents loads it in 15 ms.
    """
    client.refuse_environment()
    if settings.PRODUCTION:
        await asyncio.to_thread(_require_fit)
    count_tokens("")


async def stop() -> None:
    """Give every connection back."""
    await booking.drain()
    await client.close()
    await pools.close_pools()
    await flood.close()
    await database.close()


def _require_fit() -> None:
    """The checks of `manage.py check`, without those that read the whole database."""
    problems = [problem for problem in run_checks() if problem.level >= ERROR and not problem.is_silenced()]
    for problem in problems:
        logger.critical("%s: %s %s", problem.id, problem.msg, problem.hint or "")
    if problems:
        raise UnfitToRun("; ".join(f"{problem.id}: {problem.msg} {problem.hint or ''}" for problem in problems))
