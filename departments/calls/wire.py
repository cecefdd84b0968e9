"""The body of a request, by the kind of provider: what one requires another refuses; and how a chat is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import httpx2
import orjson
from openai import AsyncOpenAI, AsyncStream

from departments.calls.caller import Caller
from departments.keys.client import Provider
from departments.models import Department


def chat_body(
    provider: Provider, department: Department, caller: Caller, messages: list[dict[str, str]], answer_cap: int
) -> dict[str, Any]:
    """Parameters of a streamed Chat Completions request. Never tools, never temperature (GPT-6 refuses it)."""
    body: dict[str, Any] = {
        "model": department.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if provider.kind == "compatible":
        return body | {"max_tokens": answer_cap}
    body |= {"max_completion_tokens": answer_cap}
    if provider.kind == "openai":
        body |= {
            "store": False,
            "safety_identifier": caller.safety_identifier,
            "prompt_cache_key": str(department.pk),
        }
    return body


async def open_chat(client: AsyncOpenAI, body: Mapping[str, Any], options: Mapping[str, Any]) -> httpx2.Response:
    """The provider's response with its body still to be read; whoever has it closes it. Raises the SDK's errors.

    `options` are those of `departments.calls.attempts.request_options`.

    By the SDK's way for endpoints that it has no types for: its own way walks through every parameter and message and
    takes twice the time.
    """
    response: Any = await client.post(
        "/chat/completions",
        cast_to=httpx2.Response,
        content=orjson.dumps(body),
        options={"headers": options["extra_headers"], "timeout": options["timeout"]},
        stream=True,
        stream_cls=AsyncStream[object],  # never made: a response is handed out as it is
    )
    return cast(httpx2.Response, response)


def embedding_body(provider: Provider, model: str, dimensions: int, texts: list[str]) -> dict[str, Any]:
    """Parameters of an embeddings request."""
    # OpenAI packs the numbers, a quarter of their size as text; compatible servers know plain ones only
    packing = "float" if provider.kind == "compatible" else "base64"
    return {"model": model, "input": texts, "dimensions": dimensions, "encoding_format": packing}
