"""OpenAI's moderation of a question, where a department wants it: through the same door, admitted and recorded.

Rules:
- It is off by default: it sends the question once more. It knows harmful content (violence, hate, self-harm, …) and
  nothing of prompt injection.
- `label`: what was flagged becomes labels and the question goes on. Where the provider cannot be asked, the question
  goes on with the label "moderation:unavailable", which the record holds: this fails open.
- `block`: what was flagged is not answered, and neither is what could not be checked: this fails closed.
- It costs no tokens, at OpenAI and in our budgets, and is in the record like every call.

What it stops is the answer. The search has sent the question before, to the model of the embeddings: that is the same
provider, the same project and the same retention, and moderation itself sends it there too. A secret that was typed is
another matter and is looked for before either (departments/calls/typed.py).

The shape of the reply: https://platform.openai.com/docs/api-reference/moderations
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
from django.conf import settings
from openai import AsyncOpenAI

from audit.events import Outcome
from departments.calls import key, sentences
from departments.calls.attempts import request_options, with_retries
from departments.calls.booking import Booking, Result, admit, finished, record_not_made, settle_and_record
from departments.calls.caller import CallEndedEarly, Caller, CallFailed, Purpose
from departments.calls.events import LONGEST_NAME, NOT_USED
from departments.calls.hold import ABANDONED, CallOver, Ending, Hold, kept_alive
from departments.models import Department, Moderation

PREFIX = "moderation:"
UNAVAILABLE = f"{PREFIX}unavailable"
MOST_CATEGORIES = 30
LONGEST_CATEGORY = 40
FREE = Decimal(0)


async def moderate(department: Department, caller: Caller, question: str) -> list[str]:
    """Labels of what the provider flagged. Raises CallFailed where the department wants that instead."""
    if department.moderation == Moderation.OFF:
        return []
    try:
        labels = [PREFIX + category for category in await _flagged(department, caller, question)]
    except CallEndedEarly:
        # the call itself is in the record with its reason, whichever of the two happens now
        if department.moderation == Moderation.BLOCK:
            raise
        return [UNAVAILABLE]
    if labels and department.moderation == Moderation.BLOCK:
        await record_not_made(department, caller, Purpose.CHAT, "moderation_flagged", labels)
        raise CallFailed(sentences.FLAGGED, reason="moderation_flagged")
    return labels


async def _flagged(department: Department, caller: Caller, question: str) -> list[str]:
    provider, its_key = await key.resolve(department, caller, Purpose.MODERATION)
    booking = Booking(
        department=department,
        caller=caller,
        purpose=Purpose.MODERATION,
        model=settings.MODERATION_MODEL,
        key=its_key,
        prompt=0,
        wanted=0,
        price_input=FREE,
        price_output=FREE,
    )
    await admit(booking)
    hold = Hold(booking)
    reply: dict[str, Any] = {}
    categories: list[str] = []

    async def attempt(client: AsyncOpenAI) -> Any:
        model = settings.MODERATION_MODEL
        return await client.moderations.with_raw_response.create(model=model, input=question, **request_options(hold))

    try:
        async with kept_alive(hold, lambda: 0):
            raw = await with_retries(hold, provider, attempt)
        reply = {"x-request-id": raw.headers.get("x-request-id", "")}
        reply |= _object(raw.content)
        categories = _categories(reply)
        hold.end(Ending(Outcome.ANSWERED))
    except CallOver:
        raise CallFailed(sentences.CUT, reason="stopped") from None
    except CallFailed as failure:
        hold.end(Ending(Outcome.FAILED, failure.sentence, failure.reason))
        raise
    finally:
        hold.end(ABANDONED)
        await finished(settle_and_record(hold.booking, _result(hold, reply, categories)))
    return categories


def _object(content: bytes) -> dict[str, Any]:
    try:
        reply = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise _unreadable() from None
    if not isinstance(reply, dict):
        raise _unreadable()
    return reply


def _categories(reply: dict[str, Any]) -> list[str]:
    """The names of the flagged categories, such as "self-harm/intent". Raises CallFailed for another shape."""
    try:
        results = reply["results"]
        flagged = [
            name for result in results for name, is_flagged in result["categories"].items() if is_flagged is True
        ]
        any_flagged = any(result["flagged"] is True for result in results)
    except (KeyError, TypeError, AttributeError):
        raise _unreadable() from None
    if not results:
        raise _unreadable()
    named = [str(name)[:LONGEST_CATEGORY] for name in dict.fromkeys(flagged)][:MOST_CATEGORIES]
    return named or (["flagged"] if any_flagged else [])


def _result(hold: Hold, reply: dict[str, Any], categories: list[str]) -> Result:
    ending = hold.ending or ABANDONED
    return Result(
        outcome=ending.outcome,
        usage=NOT_USED,
        cost=FREE,
        model=str(reply.get("model") or "")[:LONGEST_NAME],
        reason=ending.reason,
        attempts=hold.attempts,
        provider_request_id=str(reply.get("x-request-id") or "")[:LONGEST_NAME],
        total_ms=hold.milliseconds,
        labels=tuple(f"question:{PREFIX}{category}" for category in categories),
    )


def _unreadable() -> CallFailed:
    return CallFailed(sentences.PROVIDER_UNCLEAR, reason="moderation_shape")
