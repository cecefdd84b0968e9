"""Reads the provider's event stream: bytes in, pieces of the answer out.

The SDK's typed chunks are the largest single cost of a streamed answer (0.24 ms of CPU a token); its raw body with our
own reading of the few fields we need costs a tenth of that. What is not understood is an error, never skipped in
silence; what is not needed (obfuscation, empty deltas, comment lines) is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

LONGEST_EVENT = 1_000_000  # bytes; a line that never ends must not fill the memory
LONGEST_NAME = 200  # characters of a model's name, which is text from outside
MOST_TOKENS = 100_000_000  # no call has ever used as many: beyond it a report is a mistake
LAST_BYTES_SECONDS = 0.1  # how long the end of the body may lag behind the last event


class StreamBroken(Exception):
    """The stream cannot be understood, ended early, or carried the provider's own error. `reason` is for the record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Usage:
    """What the provider says a call has used, in tokens. `output` includes `reasoning`.

    `prompt` includes `cached`, which was read from the provider's cache, and `written`, which was written to it.
    """

    prompt: int
    output: int
    cached: int = 0
    reasoning: int = 0
    written: int = 0


NOT_USED = Usage(0, 0)


@dataclass
class Piece:
    """What one network read brought: text, and whatever was said about the end."""

    text: str = ""
    finish: str | None = None
    usage: Usage | None = None
    model: str = ""


class EventReader:
    """Cuts a byte stream into events, wherever the network cut it, and adds each read's events up into one piece."""

    def __init__(self) -> None:
        self._rest = b""
        self.done = False

    def feed(self, data: bytes) -> Piece:
        """The complete events of the bytes so far. Raises StreamBroken."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LONGEST_EVENT:
            raise StreamBroken("event_too_long")
        piece = Piece()
        for line in lines:
            if line.startswith(b"data:") and not self.done:
                self._take(line[5:].strip(), piece)  # takes off a carriage return, too
        return piece

    def _take(self, payload: bytes, piece: Piece) -> None:
        if payload == b"[DONE]":
            self.done = True
            return
        try:
            event = orjson.loads(payload)
            if event.get("error"):
                raise StreamBroken("provider_error_event")
            _add(event, piece)
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            # not JSON, or JSON of another shape: an object where text belongs, a number where an object does
            raise StreamBroken("event_unreadable") from None


def _add(event: dict[str, Any], piece: Piece) -> None:
    piece.model = _name(event.get("model")) or piece.model
    # OpenAI sends usage without choices, others with an empty one: read it wherever it stands
    if usage := event.get("usage"):
        piece.usage = usage_of(usage) or piece.usage
    for choice in event.get("choices") or ():
        delta = choice.get("delta") or {}
        # a refusal is an answer in words, and the person should read it
        piece.text += delta.get("content") or delta.get("refusal") or ""
        piece.finish = _name(choice.get("finish_reason")) or piece.finish


def _name(value: Any) -> str:
    return value[:LONGEST_NAME] if isinstance(value, str) else ""


def usage_of(reported: Mapping[str, Any]) -> Usage | None:
    """The provider's `usage` object; details that are missing count as nothing.

    None where the two sums are not there or cannot be true: a booking of our own estimate is better than of nonsense.
    """
    prompt, output = _count(reported.get("prompt_tokens")), _count(reported.get("completion_tokens", 0))
    if prompt is None or output is None:
        return None
    cached = _detail(reported, "prompt_tokens_details", "cached_tokens")
    reasoning = _detail(reported, "completion_tokens_details", "reasoning_tokens")
    written = _detail(reported, "prompt_tokens_details", "cache_write_tokens")
    cached = min(cached, prompt)
    return Usage(prompt, output, cached, min(reasoning, output), min(written, prompt - cached))


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def _detail(reported: Mapping[str, Any], group: str, name: str) -> int:
    details = reported.get(group)
    return (_count(details.get(name)) or 0) if isinstance(details, dict) else 0


async def pieces(source: AsyncGenerator[bytes, None]) -> AsyncGenerator[Piece, None]:
    """The pieces of a whole stream. Raises StreamBroken where it ends without its last event."""
    reader = EventReader()
    finished = False
    async for data in source:
        piece = reader.feed(data)
        finished = finished or piece.finish is not None
        yield piece
        if reader.done:
            await _read_out(source)
            return
    # some compatible servers leave [DONE] out; an answer that said why it ended is whole
    if not finished:
        raise StreamBroken("stream_cut")


async def _read_out(source: AsyncGenerator[bytes, None]) -> None:
    """Read the body's own end behind the last event: a connection that is not read out cannot be used again."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_BYTES_SECONDS):
            async for _ in source:
                pass
