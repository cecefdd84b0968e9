"""What the provider refuses before it does any work, with its codes. Facts: OpenAI's SDK 3.54 and documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatgrid.dev.openai_simulator import tokens
from chatgrid.dev.openai_simulator.catalogue import Model, find_chat_model, find_embedding_model, find_moderation_model
from chatgrid.dev.openai_simulator.errors import ApiError, invalid

CHAT_FIELD_NAMES = """audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens
max_tokens messages metadata modalities model moderation n parallel_tool_calls prediction presence_penalty
prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed
service_tier stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity
web_search_options"""
CHAT_FIELDS = frozenset(CHAT_FIELD_NAMES.split())
EMBEDDING_FIELDS = frozenset({"dimensions", "encoding_format", "input", "model", "user"})
MODERATION_FIELDS = frozenset({"input", "model"})
NOT_FOR_REASONING = ("stop", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs")
ONLY_WITHOUT_EFFORT = ("temperature", "top_p")
ROLES = ("developer", "system", "user", "assistant", "tool", "function")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MOST_INPUTS = 2_048
MOST_TOKENS_IN_ALL = 300_000
LONGEST_SAFETY_IDENTIFIER = 64


@dataclass(frozen=True)
class ChatRequest:
    """`cap` is the most tokens the answer may cost, hidden reasoning included."""

    model: Model
    messages: list[dict[str, Any]]
    prompt_tokens: int
    cap: int
    effort: str | None
    streams: bool
    reports_usage: bool
    obfuscates: bool


@dataclass(frozen=True)
class EmbeddingRequest:
    model: Model
    texts: list[str]
    prompt_tokens: int
    dimensions: int
    as_base64: bool


@dataclass(frozen=True)
class ModerationRequest:
    model: Model
    texts: list[str]


def read_chat_request(body: dict[str, Any]) -> ChatRequest:
    """The request, or an ApiError for the first thing wrong with it."""
    _refuse_unknown_fields(body, CHAT_FIELDS)
    model = find_chat_model(body.get("model"))
    messages = _messages(body)
    effort = _effort(body, model)
    if model.reasons:
        _refuse_sampling(body, effort)
    if body.get("n") not in (None, 1):
        raise invalid("This server writes one answer a request; leave `n` out.", "n", "unsupported_value")
    _check_safety_identifier(body.get("safety_identifier"))
    stream_options = _stream_options(body)
    return ChatRequest(
        model=model,
        messages=messages,
        prompt_tokens=_fitting_prompt(messages, model),
        cap=_cap(body, model),
        effort=effort,
        streams=bool(body.get("stream")),
        reports_usage=bool(stream_options.get("include_usage")),
        obfuscates=stream_options.get("include_obfuscation", True) is not False,
    )


def read_embedding_request(body: dict[str, Any]) -> EmbeddingRequest:
    _refuse_unknown_fields(body, EMBEDDING_FIELDS)
    model = find_embedding_model(body.get("model"))
    texts = _texts(body)
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise invalid(f"Invalid value: '{encoding}'. Use 'float' or 'base64'.", "encoding_format", "invalid_value")
    dimensions = _dimensions(body, model)
    return EmbeddingRequest(model, texts, _embedding_tokens(texts, model), dimensions, encoding == "base64")


def read_moderation_request(body: dict[str, Any]) -> ModerationRequest:
    _refuse_unknown_fields(body, MODERATION_FIELDS)
    return ModerationRequest(find_moderation_model(body.get("model")), _texts(body))


def _refuse_unknown_fields(body: dict[str, Any], known: frozenset[str]) -> None:
    for name in body:
        if name not in known:
            raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if messages is None:
        raise invalid("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        raise invalid("Invalid type for 'messages': expected an array of objects.", "messages", "invalid_type")
    if not messages:
        raise invalid("Invalid 'messages': expected at least one message, got none.", "messages", "empty_array")
    for i, message in enumerate(messages):
        _check_message(message, f"messages[{i}]")
    return messages


def _check_message(message: Any, place: str) -> None:
    if not isinstance(message, dict):
        raise invalid(f"Invalid type for '{place}': expected an object.", place, "invalid_type")
    if message.get("role") not in ROLES:
        known = ", ".join(ROLES)
        raise invalid(f"Invalid value for '{place}.role'. Supported values: {known}.", f"{place}.role", "invalid_value")
    content = message.get("content")
    if content is None and message["role"] == "assistant":
        return
    if not isinstance(content, str) and not _is_parts(content):
        param = f"{place}.content"
        raise invalid(f"Invalid type for '{param}': expected a string or an array of parts.", param, "invalid_type")


def _is_parts(content: Any) -> bool:
    if not isinstance(content, list):
        return False
    return all(isinstance(part, dict) and isinstance(part.get("text", ""), str) for part in content)


def _effort(body: dict[str, Any], model: Model) -> str | None:
    effort = body.get("reasoning_effort")
    if effort is None:
        return None
    if not model.reasons:
        raise _unsupported("reasoning_effort")
    if effort not in EFFORTS or (effort == "none" and model.always_reasons):
        message = f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model."
        raise invalid(message, "reasoning_effort", "unsupported_value")
    return str(effort)


def _refuse_sampling(body: dict[str, Any], effort: str | None) -> None:
    if body.get("max_tokens") is not None:
        raise _unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
    refused = NOT_FOR_REASONING if effort == "none" else (*NOT_FOR_REASONING, *ONLY_WITHOUT_EFFORT)
    for name in refused:
        if body.get(name) is not None:
            raise _unsupported(name)
    if body.get("tools") and effort != "none":
        raise invalid("Function tools with reasoning are not supported here. Use /v1/responses instead.", "tools")


def _unsupported(name: str, advice: str = "") -> ApiError:
    message = f"Unsupported parameter: '{name}' is not supported with this model.{advice}"
    return invalid(message, name, "unsupported_parameter")


def _check_safety_identifier(value: Any) -> None:
    if value is not None and (not isinstance(value, str) or len(value) > LONGEST_SAFETY_IDENTIFIER):
        message = f"Invalid 'safety_identifier': expected a string of at most {LONGEST_SAFETY_IDENTIFIER} characters."
        raise invalid(message, "safety_identifier", "string_above_max_length")


def _stream_options(body: dict[str, Any]) -> dict[str, Any]:
    options = body.get("stream_options")
    if options is None:
        return {}
    if not body.get("stream"):
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    if not isinstance(options, dict):
        raise invalid("Invalid type for 'stream_options': expected an object.", "stream_options", "invalid_type")
    return options


def _fitting_prompt(messages: list[dict[str, Any]], model: Model) -> int:
    """Tokens of the prompt. A text far too long is refused by its size, before it is counted."""
    characters = sum(len(tokens.text_of(message)) for message in messages)
    used = tokens.count_prompt(messages) if characters < model.reads * 20 else characters // 4
    if used > model.reads:
        message = f"This model reads at most {model.reads} tokens, and your messages are {used} tokens long."
        raise invalid(message, "messages", "context_length_exceeded")
    return used


def _cap(body: dict[str, Any], model: Model) -> int:
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    cap = body.get(name)
    if cap is None:
        return model.writes
    if isinstance(cap, bool) or not isinstance(cap, int):
        raise invalid(f"Invalid type for '{name}': expected an integer.", name, "invalid_type")
    if cap < 1:
        raise invalid(f"Invalid '{name}': expected a value of at least 1.", name, "integer_below_min_value")
    if cap > model.writes:
        raise invalid(f"{name} is too large: this model writes at most {model.writes} tokens.", name, "invalid_value")
    return cap


def _texts(body: dict[str, Any]) -> list[str]:
    """The input as a list of texts; token ids are turned back into text."""
    given = body.get("input")
    if given is None:
        raise invalid("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    inputs = given if isinstance(given, list) and not _is_token_ids(given) else [given]
    if not inputs:
        raise invalid("Invalid 'input': expected at least one input, got none.", "input", "empty_array")
    if len(inputs) > MOST_INPUTS:
        message = f"Invalid 'input': expected at most {MOST_INPUTS} inputs, got {len(inputs)}."
        raise invalid(message, "input", "array_above_max_length")
    return [_text(one) for one in inputs]


def _is_token_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int for one in value)


def _text(value: Any) -> str:
    text = tokens.decode_embedding(value) if _is_token_ids(value) else value
    if not isinstance(text, str):
        raise invalid("Invalid 'input': expected strings or arrays of token ids.", "input", "invalid_type")
    if not text:
        raise invalid("Invalid 'input': an input cannot be an empty string.", "input")
    return text


def _embedding_tokens(texts: Sequence[str], model: Model) -> int:
    counts = [tokens.count_embedding(text) for text in texts]
    if max(counts) > model.reads:
        message = f"Invalid 'input': an input has at most {model.reads} tokens, yours has {max(counts)}."
        raise invalid(message, "input")
    if sum(counts) > MOST_TOKENS_IN_ALL:
        message = f"Requested {sum(counts)} tokens, max {MOST_TOKENS_IN_ALL} tokens per request"
        raise ApiError(400, message, code="max_tokens_per_request", type="max_tokens_per_request")
    return sum(counts)


def _dimensions(body: dict[str, Any], model: Model) -> int:
    dimensions = body.get("dimensions")
    if dimensions is None:
        return model.dimensions
    if type(dimensions) is not int or not 1 <= dimensions <= model.dimensions:
        message = f"Invalid value for 'dimensions': this model makes 1 to {model.dimensions}."
        raise invalid(message, "dimensions", "invalid_value")
    return dimensions
