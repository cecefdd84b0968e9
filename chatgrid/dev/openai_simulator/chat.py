"""POST /v1/chat/completions: the answer in one body or as event lines, byte for byte as the provider shapes them.

Event lines are built from a template, so that an unpaced stream costs microseconds a token.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from chatgrid.dev.openai_simulator.errors import ApiError
from chatgrid.dev.openai_simulator.journal import Entry
from chatgrid.dev.openai_simulator.misbehaviour import Behaviour, Kind
from chatgrid.dev.openai_simulator.options import Options
from chatgrid.dev.openai_simulator.reply import CutOff
from chatgrid.dev.openai_simulator.validation import ChatRequest
from chatgrid.dev.openai_simulator.writing import Writing

FINGERPRINT = "fp_5d1a0c4e2b"
PADDING = [orjson.dumps(secrets.token_urlsafe(64)[:length]) for length in range(24)]
DONE = b"data: [DONE]\n\n"
BROKEN_LINE = b'data: {"id": "chatcmpl-broken", "choices": [{"index": 0, "delta": {"content": "un\n\n'
DEFAULT_AFTER_CHUNKS = 3
DEFAULT_SIZES = (1, 2, 3, 5, 7, 11, 13)


@dataclass
class Turn:
    """One answered request: what was asked, what is written, and the books it is charged to."""

    request: ChatRequest
    writing: Writing
    entry: Entry
    cached_tokens: int
    behaviour: Behaviour | None
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(14)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def is_told(self, kind: Kind) -> bool:
        return self.behaviour is not None and self.behaviour.kind is kind

    def option(self, name: str, default: Any) -> Any:
        value = self.behaviour.options.get(name) if self.behaviour else None
        return default if value is None else value

    def written(self) -> Iterator[str]:
        """The texts as they are made, each charged before it is handed on."""
        self.entry.charge(completion=self.writing.reasoning_tokens)
        for text, cost in self.writing:
            self.entry.charge(completion=cost)
            yield text

    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.request.prompt_tokens,
            "completion_tokens": self.writing.tokens,
            "total_tokens": self.request.prompt_tokens + self.writing.tokens,
            "prompt_tokens_details": {
                "cached_tokens": self.cached_tokens,
                "cache_write_tokens": self.option("cache_write_tokens", 0),
                "audio_tokens": 0,
            },
            "completion_tokens_details": {
                "reasoning_tokens": self.writing.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def completion(turn: Turn) -> dict[str, Any]:
    """The whole answer as one body."""
    text = "".join(turn.written())
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": turn.writing.finish_reason}
    body = {**_head(turn, "chat.completion"), "choices": [choice], "usage": turn.usage()}
    if turn.is_told(Kind.NO_USAGE):
        del body["usage"]
    return body


async def completion_body(turn: Turn, options: Options) -> AsyncGenerator[bytes, None]:
    """The bytes of the one body, after the time it takes to write it."""
    body = orjson.dumps(completion(turn))
    pace = Pace.of(turn, options)
    await asyncio.sleep(pace.first + pace.each * turn.writing.tokens)
    if turn.is_told(Kind.CUT):
        yield body[: len(body) // 2]
        raise CutOff
    yield body[:-20] if turn.is_told(Kind.MALFORMED) else body


async def event_body(turn: Turn, options: Options) -> AsyncGenerator[bytes, None]:
    """The bytes of the event stream at the ordered pace, with what it was ordered to do wrong."""
    wait = Pace.of(turn, options).waiter()
    for piece in _shaped(_interrupted(_lines(turn), turn), turn):
        await wait()
        yield piece
    if turn.is_told(Kind.CUT):
        raise CutOff


@dataclass(frozen=True)
class Pace:
    """Seconds before the first event and between events. An event is a token, as at the provider."""

    first: float
    each: float

    @classmethod
    def of(cls, turn: Turn, options: Options) -> Pace:
        rate = float(turn.option("tokens_per_second", options.tokens_per_second))
        each = 1.0 / rate if rate > 0 else 0.0
        if turn.is_told(Kind.SLOW):
            each = float(turn.option("between_ms", 200)) / 1000
        return cls(float(turn.option("first_token_ms", options.first_token_ms)) / 1000, each)

    def waiter(self) -> Callable[[], Any]:
        """A wait that keeps to the clock: late events are not made later by those before them."""
        due = asyncio.get_running_loop().time() + self.first

        async def wait() -> None:
            nonlocal due
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, due - now))
            due = max(due, now - 1.0) + self.each

        return wait


def _head(turn: Turn, kind: str) -> dict[str, Any]:
    return {
        "id": turn.id,
        "object": kind,
        "created": turn.created,
        "model": turn.request.model.id,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def _lines(turn: Turn) -> Iterator[bytes]:
    """Every event of a well-behaved stream: role, text, finish, usage when asked for, the end mark."""
    chunk = _chunk_maker(turn)
    yield chunk(b'{"role":"assistant","content":"","refusal":null}', b"null", 0)
    for text in turn.written():
        yield chunk(b'{"content":%b}' % orjson.dumps(text), b"null", len(text))
    yield chunk(b"{}", orjson.dumps(turn.writing.finish_reason), 0)
    if turn.request.reports_usage and not turn.is_told(Kind.NO_USAGE):
        yield _usage_line(turn)
    yield DONE


def _chunk_maker(turn: Turn) -> Callable[[bytes, bytes, int], bytes]:
    """A function from delta, finish reason and text length to an event line."""
    before = b'data: %b,"choices":[{"index":0,"delta":' % orjson.dumps(_head(turn, "chat.completion.chunk"))[:-1]
    usage = b',"usage":null' if turn.request.reports_usage else b""
    middle = b',"logprobs":null,"finish_reason":'
    if not turn.request.obfuscates:
        after = b"}]%b}\n\n" % usage
        return lambda delta, finish, length: b"".join((before, delta, middle, finish, after))
    after = b'}]%b,"obfuscation":' % usage

    def padded(delta: bytes, finish: bytes, length: int) -> bytes:
        padding = PADDING[max(0, 16 - length) % len(PADDING)]
        return b"".join((before, delta, middle, finish, after, padding, b"}\n\n"))

    return padded


def _usage_line(turn: Turn) -> bytes:
    """The usage event: no choice at OpenAI; one choice with an empty delta where another proxy's habit is ordered."""
    choices: list[dict[str, Any]] = []
    if turn.is_told(Kind.ODD_USAGE):
        choices = [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}]
    event = {**_head(turn, "chat.completion.chunk"), "choices": choices, "usage": turn.usage()}
    return b"data: %b\n\n" % orjson.dumps(event)


def _interrupted(lines: Iterator[bytes], turn: Turn) -> Iterator[bytes]:
    """The lines up to the ordered accident and what follows it."""
    after = int(turn.option("after_chunks", DEFAULT_AFTER_CHUNKS))
    if turn.is_told(Kind.CUT):
        return itertools.islice(lines, after)
    if turn.is_told(Kind.MALFORMED):
        return itertools.chain(itertools.islice(lines, after), [BROKEN_LINE], lines)
    if turn.is_told(Kind.ERROR_EVENT):
        return itertools.chain(itertools.islice(lines, after), [_error_line(turn)])
    return lines


def _error_line(turn: Turn) -> bytes:
    error = ApiError(
        500,
        turn.option("message", "The server had an error while writing the answer."),
        code=turn.option("code", "server_error"),
        type=turn.option("type", "server_error"),
    )
    return b"data: %b\n\n" % orjson.dumps(error.body())


def _shaped(lines: Iterator[bytes], turn: Turn) -> Iterator[bytes]:
    """The same bytes with other line ends, or cut at other places."""
    if turn.is_told(Kind.CRLF):
        return (line.replace(b"\n", b"\r\n") for line in lines)
    if turn.is_told(Kind.SPLIT_BYTES):
        return resliced(lines, turn.option("sizes", DEFAULT_SIZES))
    return lines


def resliced(parts: Iterable[bytes], sizes: Iterable[int]) -> Iterator[bytes]:
    """The bytes of `parts` in pieces of the given sizes, over and over, whatever lies at the edges."""
    held = b""
    repeated = itertools.cycle(sizes)
    size = next(repeated)
    for part in parts:
        held += part
        while len(held) >= size:
            yield held[:size]
            held, size = held[size:], next(repeated)
    if held:
        yield held
