"""Embeddings, through the same door: admitted, recorded, sent, settled, batch by batch.

Rules:
- A batch holds at most `BATCH_INPUTS` texts and `BATCH_TOKENS` tokens (OpenAI's limits are 2,048 and 300,000).
- Vectors come back in the order of the texts, each of the dimensions asked for, normalised to length 1. A reply
  of any other shape is an error, and paid for all the same.
- Embedding tokens count against the same budgets as answers do.
- A caller that is ended, or dies, between two batches has paid for the batches before; the one under way is booked with
  its estimate.
"""

from __future__ import annotations

import base64
import math
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from django.conf import settings
from openai import AsyncOpenAI

from audit.events import Outcome
from departments.calls import key, sentences
from departments.calls.attempts import request_options, with_retries
from departments.calls.booking import Booking, Result, admit, finished, needs_the_record, settle_and_record
from departments.calls.caller import Caller, CallFailed, Purpose
from departments.calls.catalogue import corrected, model_named
from departments.calls.events import LONGEST_NAME, NOT_USED, Usage, usage_of
from departments.calls.hold import ABANDONED, CallOver, Ending, Hold, kept_alive
from departments.calls.models import CatalogueModel
from departments.calls.tokens import count_tokens
from departments.calls.wire import embedding_body
from departments.keys.client import Provider
from departments.models import Department

BATCH_INPUTS = 256
BATCH_TOKENS = 100_000

Vector = list[float]


@dataclass
class Spent:
    """What calls cost in all, added up while they are made. Dollars stay 0 where the model's price is unknown."""

    tokens: int = 0
    dollars: Decimal = Decimal(0)

    def add(self, result: Result) -> None:
        self.tokens += result.usage.prompt
        self.dollars += result.cost or 0


@dataclass(frozen=True)
class Asked:
    """What vectors are wanted, what for, and where their cost is added up."""

    model: str
    dimensions: int
    purpose: Purpose
    spent: Spent


async def embed(
    department: Department,
    caller: Caller,
    texts: Sequence[str],
    *,
    purpose: Purpose,
    model: str = "",
    dimensions: int = 0,
    spent: Spent | None = None,
) -> list[Vector]:
    """One vector for each text, by the model and of the size of the settings unless told otherwise.

    What they cost is added to `spent`. Raises CallRefused (a budget) or CallFailed; batches before it are paid for.
    """
    model, dimensions = model or settings.EMBEDDING_MODEL, dimensions or settings.EMBEDDING_DIMENSIONS
    asked = Asked(model, dimensions, purpose, spent or Spent())
    vectors: list[Vector] = []
    for batch, tokens in _batches(texts):
        vectors += await _embed_batch(department, caller, batch, tokens, asked)
    return vectors


async def _embed_batch(
    department: Department, caller: Caller, batch: list[str], tokens: int, asked: Asked
) -> list[Vector]:
    provider, its_key = await key.resolve(department, caller, asked.purpose)
    async with needs_the_record():
        model = await model_named(asked.model)
    booking = Booking(
        department=department,
        caller=caller,
        purpose=asked.purpose,
        model=asked.model,
        key=its_key,
        prompt=await corrected(settings.EMBEDDING_MODEL, tokens),
        counted=tokens,
        wanted=0,
        price_input=model.price_input,
    )
    await admit(booking)
    hold = Hold(booking)
    response: Any = None
    try:
        async with kept_alive(hold, lambda: 0):
            response = await _send(hold, provider, batch, asked)
            vectors = _vectors(response, len(batch), asked.dimensions)
        hold.end(Ending(Outcome.ANSWERED))
    except CallFailed as failure:
        hold.end(Ending(Outcome.FAILED, failure.sentence, failure.reason))
        raise
    finally:
        hold.end(ABANDONED)
        result = _result(hold, model, response)
        asked.spent.add(result)
        await finished(settle_and_record(hold.booking, result))
    return vectors


async def _send(hold: Hold, provider: Provider, batch: list[str], asked: Asked) -> dict[str, Any]:
    """The provider's reply, as far as it is an object. Raises CallFailed."""
    body = embedding_body(provider, asked.model, asked.dimensions, batch)

    async def attempt(client: AsyncOpenAI) -> Any:
        return await client.embeddings.with_raw_response.create(**body, **request_options(hold))

    try:
        raw = await with_retries(hold, provider, attempt)
        reply = orjson.loads(raw.content)
    except CallOver:
        ending = hold.ending or ABANDONED
        raise CallFailed(ending.sentence or sentences.CUT, reason=ending.reason or "stopped") from None
    except orjson.JSONDecodeError:
        raise _unreadable() from None
    if not isinstance(reply, dict):
        raise _unreadable()
    return reply | {"x-request-id": raw.headers.get("x-request-id", "")}


def _result(hold: Hold, model: CatalogueModel, reply: dict[str, Any] | None) -> Result:
    """What is booked: the reported usage, else the estimate where the provider may have worked, else nothing."""
    reported = reply.get("usage") if reply else None
    known = usage_of(reported) if isinstance(reported, dict) else None
    usage = known or (Usage(hold.booking.prompt, 0) if hold.taken else NOT_USED)
    ending = hold.ending or ABANDONED
    return Result(
        outcome=ending.outcome,
        usage=usage,
        estimated=known is None and usage != NOT_USED,
        cost=model.cost(usage.prompt, 0, 0),
        model=str(reply.get("model") or "")[:LONGEST_NAME] if reply else "",
        reason=ending.reason,
        attempts=hold.attempts,
        provider_request_id=str(reply["x-request-id"])[:LONGEST_NAME] if reply else "",
        total_ms=hold.milliseconds,
    )


def _vectors(reply: dict[str, Any], expected: int, dimensions: int) -> list[Vector]:
    try:
        rows = sorted(reply["data"], key=lambda row: row["index"])
        vectors = [_unit(_numbers(row["embedding"])) for row in rows]
    except (KeyError, TypeError, ValueError, struct.error):
        raise _unreadable() from None
    in_order = [row["index"] for row in rows] == list(range(expected))
    if not in_order or any(len(vector) != dimensions for vector in vectors):
        raise _unreadable()
    return vectors


def _numbers(embedding: Any) -> Sequence[float]:
    """A vector as the provider sent it: base64 of little-endian 32-bit floats, or plain numbers."""
    if isinstance(embedding, str):
        packed = base64.b64decode(embedding, validate=True)
        return struct.unpack(f"<{len(packed) // 4}f", packed)
    return array("f", embedding)


def _unit(numbers: Sequence[float]) -> Vector:
    """The vector made one long: OpenAI's are, a compatible server's may not be. Raises ValueError for one without end.

    Without numpy, which would take 10 MB of every web process for a handful of vectors.
    """
    length = math.hypot(*numbers)
    if not math.isfinite(length):
        raise ValueError("not a vector")
    return [number / (length or 1.0) for number in numbers]


def _unreadable() -> CallFailed:
    return CallFailed(sentences.PROVIDER_UNCLEAR, reason="embedding_shape")


def _batches(texts: Sequence[str]) -> Iterator[tuple[list[str], int]]:
    batch: list[str] = []
    total = 0
    for text in texts:
        tokens = count_tokens(text, "cl100k")
        if batch and (len(batch) == BATCH_INPUTS or total + tokens > BATCH_TOKENS):
            yield batch, total
            batch, total = [], 0
        batch.append(text)
        total += tokens
    if batch:
        yield batch, total
