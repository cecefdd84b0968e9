"""Sending a request, and sending it again where that makes sense.

Rules:
- Only before the first byte of an answer, at most `ATTEMPTS` requests, decided by `provider_errors`.
- A refused key is read again once; where the one in the secret manager is refused as well, it is marked.
- A wait ends at once when the call does: the person stopped, lost the membership, or the lease ended.
- The provider's own words stay out of log, record and page: they may repeat the prompt or a part of the key.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import httpx2
import openai
import psycopg
from django.conf import settings
from django.utils import timezone
from openai import AsyncOpenAI

from audit.database import DatabaseDown, connection
from departments.calls.caller import CallFailed
from departments.calls.hold import Hold
from departments.calls.key import mark_refused, read_key_again
from departments.calls.provider_errors import Problem, problem_of
from departments.keys.client import Provider, client_for
from departments.limits import budget

ATTEMPTS = 3
CONNECT_SECONDS = 5

T = TypeVar("T")
logger = logging.getLogger(__name__)


async def with_retries(hold: Hold, provider: Provider, attempt: Callable[[AsyncOpenAI], Coroutine[Any, Any, T]]) -> T:
    """The result of the first attempt that works. Raises CallFailed, or CallOver where the call ends meanwhile."""
    seen: Counter[str] = Counter()
    while True:
        problem, result = await _one(hold, provider, attempt)
        if problem is None:
            assert result is not None  # noqa: S101 - an attempt gives a result or a problem
            return result
        seen[problem.reason] += 1
        if hold.attempts >= ATTEMPTS or seen[problem.reason] > problem.retries:
            if problem.key_refused:
                await mark_refused(hold.booking.department, hold.booking.key)
            if problem.is_money:
                await _pause(hold, problem)
            raise _failure(problem)
        if problem.key_refused:
            hold.use(await read_key_again(hold.booking.department))
        await hold.work(asyncio.sleep(problem.pause))


async def _pause(hold: Hold, problem: Problem) -> None:
    """The project's money is used up: the next calls of the department would only hear it again."""
    try:
        async with connection() as held:
            await budget.pause_provider(held, hold.booking.department.pk, problem.reason)
    except (DatabaseDown, psycopg.Error):
        logger.error("calls of department %s not paused, the database fails", hold.booking.department.pk)


def request_options(hold: Hold) -> dict[str, Any]:
    """What every request carries beside its body. `SILENCE_SECONDS` is the longest time without a byte."""
    silence = settings.SILENCE_SECONDS
    return {
        "extra_headers": {"X-Client-Request-Id": str(hold.call_id)},
        "timeout": httpx2.Timeout(silence, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),
    }


async def _one(
    hold: Hold, provider: Provider, attempt: Callable[[AsyncOpenAI], Coroutine[Any, Any, T]]
) -> tuple[Problem | None, T | None]:
    hold.attempts += 1
    hold.taken = True  # until we know better
    try:
        return None, await hold.work(attempt(client_for(provider, hold.booking.key.value)))
    except openai.APIError as error:
        problem, status = problem_of(error, hold.attempts), getattr(error, "status_code", None)
    hold.taken = problem.taken
    logger.warning("call %s attempt %d: %s (%s)", hold.call_id, hold.attempts, problem.reason, status)
    return problem, None


def _failure(problem: Problem) -> CallFailed:
    retry_at = timezone.now() + timedelta(seconds=problem.retry_after) if problem.retry_after else None
    return CallFailed(problem.sentence, reason=problem.reason, retry_at=retry_at)
