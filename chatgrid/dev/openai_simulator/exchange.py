"""What every /v1 request goes through: open the books, check the key, obey orders, then answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from chatgrid.dev.openai_simulator.errors import ApiError
from chatgrid.dev.openai_simulator.journal import Entry
from chatgrid.dev.openai_simulator.keys import Key
from chatgrid.dev.openai_simulator.misbehaviour import Behaviour, Endpoint, Kind, refusal
from chatgrid.dev.openai_simulator.reply import FOR_EVER, WatchedReply
from chatgrid.dev.openai_simulator.state import State

API_VERSION = "2020-10-01"
ORGANIZATION = "org-simulated"


@dataclass
class Exchange:
    """One request on its way to an answer, after its key was accepted."""

    state: State
    entry: Entry
    key: Key
    body: dict[str, Any]
    behaviour: Behaviour | None
    headers: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def charge_prompt(self, model: str, tokens: int, cached: int = 0) -> None:
        """Book the prompt, unless the project may not, and add the rate-limit headers of what is left after it."""
        rows = self.state.fence.admit(self.key.fingerprint, _usage_kind(self.entry.path), model, tokens)
        for row in rows:
            row.cached_tokens += cached
        self.entry.sums.extend(rows)
        self.state.journal.attribute_model(self.entry, model)
        self.entry.charge(prompt=tokens)
        self.headers.update(self.state.meters.spend(self.key.fingerprint, tokens))

    def reply(self, body: AsyncGenerator[bytes, None], content_type: str = "application/json") -> WatchedReply:
        self.entry.status = 200
        headers = {"content-type": content_type, **_standard_headers(self.entry, self.started), **self.headers}
        if _is_told(self.behaviour, Kind.SILENT):
            body = silence()
        return WatchedReply(
            body, headers=headers, delay=_delay(self.behaviour), on_end=_finisher(self.entry, self.state)
        )


Answer = Callable[[Exchange], Awaitable[ASGIApp]]


async def run_exchange(request: Request, endpoint: Endpoint, answer: Answer) -> ASGIApp:
    """The reply to one request. Every refusal becomes an error body and is counted."""
    state: State = request.app.state.simulator
    request_id = f"req_{secrets.token_hex(16)}"
    entry = state.journal.open(request_id, request.method, request.url.path, dict(request.headers))
    try:
        exchange = await _accept(request, state, entry, endpoint)
        return await answer(exchange)
    except ApiError as error:
        return refuse(entry, error, state)
    except ClientDisconnect:  # between its headers and its body
        entry.finish(disconnected=True)
        return Response(status_code=400)


async def _accept(request: Request, state: State, entry: Entry, endpoint: Endpoint) -> Exchange:
    key = state.keys.authenticate(request.headers.get("authorization"))
    state.journal.attribute(entry, key.fingerprint)
    body = await _read_body(request) if request.method == "POST" else {}
    entry.body = body
    behaviour = state.orders.take(key.fingerprint, endpoint, streams=bool(body.get("stream")))
    entry.behaviour = behaviour.kind.value if behaviour else None
    error = refusal(behaviour, key.masked)
    if error:
        raise error
    state.fence.enter(key.fingerprint)
    return Exchange(state, entry, key, body, behaviour)


async def _read_body(request: Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, "The body of your request could not be read as a JSON object.")
    return body


def _is_told(behaviour: Behaviour | None, kind: Kind) -> bool:
    return behaviour is not None and behaviour.kind is kind


def _delay(behaviour: Behaviour | None) -> float:
    """Seconds until the headers of an answer go out."""
    if behaviour and behaviour.kind is Kind.SLOW:
        return float(behaviour.options.get("first_byte_ms", 2000)) / 1000
    if behaviour and behaviour.kind is Kind.SILENT and behaviour.options.get("headers") is False:
        return FOR_EVER
    return 0.0


def refuse(entry: Entry, error: ApiError, state: State) -> WatchedReply:
    entry.refuse(error.status, error.code)
    content = orjson.dumps(error.body())
    headers = {"content-type": "application/json", "content-length": str(len(content)), **error.headers}
    headers.update(_standard_headers(entry, time.perf_counter()))
    return WatchedReply(one_piece(content), headers=headers, status=error.status, on_end=_finisher(entry, state))


async def one_piece(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content


async def silence() -> AsyncGenerator[bytes, None]:
    """A body that never comes."""
    await asyncio.sleep(FOR_EVER)
    yield b""


def _standard_headers(entry: Entry, started: float) -> dict[str, str]:
    return {
        "x-request-id": entry.request_id,
        "openai-processing-ms": str(int((time.perf_counter() - started) * 1000)),
        "openai-version": API_VERSION,
        "openai-organization": ORGANIZATION,
    }


def _finisher(entry: Entry, state: State) -> Callable[[bool], None]:
    def finish(disconnected: bool) -> None:
        entry.finish(disconnected=disconnected)
        state.admin.save_soon()

    return finish


def _usage_kind(path: str) -> str:
    """As the provider's usage pages tell calls apart."""
    return "embeddings" if path.endswith("/embeddings") else "completions"
