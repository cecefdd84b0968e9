"""The answer while it is written: pieces of text, each with its price in tokens, up to the cap and not one over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import orjson

from chatgrid.dev.openai_simulator import tokens
from chatgrid.dev.openai_simulator.answers import compose
from chatgrid.dev.openai_simulator.forbidden import refusal_for
from chatgrid.dev.openai_simulator.misbehaviour import Behaviour, Kind
from chatgrid.dev.openai_simulator.prompt import read_prompt
from chatgrid.dev.openai_simulator.validation import ChatRequest

REASONING_TOKENS = {"low": 32, "medium": 128, "high": 384, "xhigh": 768, "max": 1536}
ENDLESS = "This answer has no end, because it was ordered to go on until it is stopped. "

Piece = tuple[str, int]


class Writing:
    """Iterate for the pieces; `tokens` and `finish_reason` are true after every one of them.

    Hidden reasoning is spent first and counts against the cap, so a small cap can leave no visible answer at all.
    """

    def __init__(self, request: ChatRequest, behaviour: Behaviour | None) -> None:
        self._pieces = _pieces(request, behaviour)
        self._cap = request.cap
        ordered = behaviour.options.get("reasoning_tokens") if behaviour else None
        wanted = REASONING_TOKENS.get(request.effort or "none", 0) if ordered is None else int(ordered)
        self.reasoning_tokens = min(wanted, request.cap)
        self.tokens = self.reasoning_tokens
        self.finish_reason = "stop"

    def __iter__(self) -> Iterator[Piece]:
        for text, cost in self._pieces:
            left = self._cap - self.tokens
            if cost > left:
                self.finish_reason = "length"
                self.tokens += left
                if left:
                    yield tokens.head(text, left), left
                return
            self.tokens += cost
            yield text, cost


def _pieces(request: ChatRequest, behaviour: Behaviour | None) -> Iterator[Piece]:
    options = behaviour.options if behaviour else {}
    if "chunks" in options:
        return iter([(chunk, tokens.count(chunk)) for chunk in options["chunks"]])
    if behaviour and behaviour.kind is Kind.LONG:
        return itertools.cycle(list(tokens.pieces(options.get("text") or ENDLESS)))
    return tokens.pieces(_text(request, behaviour))


def _text(request: ChatRequest, behaviour: Behaviour | None) -> str:
    if behaviour and behaviour.kind is Kind.ECHO:
        return orjson.dumps(request.messages).decode()
    if behaviour and "text" in behaviour.options:
        return str(behaviour.options["text"])
    prompt = read_prompt(request.messages)
    return refusal_for(request.messages, prompt.question) or compose(prompt)
