"""The body of a request, by the kind of provider: what one requires another refuses."""

from __future__ import annotations

from typing import Any

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


def embedding_body(provider: Provider, model: str, dimensions: int, texts: list[str]) -> dict[str, Any]:
    """Parameters of an embeddings request."""
    # OpenAI packs the numbers, a quarter of their size as text; compatible servers know plain ones only
    packing = "float" if provider.kind == "compatible" else "base64"
    return {"model": model, "input": texts, "dimensions": dimensions, "encoding_format": packing}
