"""The routes of /v1, each from an accepted request to its reply."""

from __future__ import annotations

import asyncio

import orjson
from starlette.requests import Request
from starlette.types import ASGIApp

from chatgrid.dev.openai_simulator import embeddings, moderation, tokens
from chatgrid.dev.openai_simulator.catalogue import MODELS, find_model
from chatgrid.dev.openai_simulator.chat import Turn, completion_body, event_body
from chatgrid.dev.openai_simulator.exchange import Exchange, one_piece, run_exchange
from chatgrid.dev.openai_simulator.misbehaviour import Endpoint
from chatgrid.dev.openai_simulator.options import Options
from chatgrid.dev.openai_simulator.validation import (
    ChatRequest,
    EmbeddingRequest,
    read_chat_request,
    read_embedding_request,
    read_moderation_request,
)
from chatgrid.dev.openai_simulator.writing import Writing

EVENT_STREAM = "text/event-stream; charset=utf-8"
SMALL_BATCH = 8


async def chat_completions(request: Request) -> ASGIApp:
    return await run_exchange(request, Endpoint.CHAT, _answer_chat)


async def create_embeddings(request: Request) -> ASGIApp:
    return await run_exchange(request, Endpoint.EMBEDDINGS, _answer_embeddings)


async def create_moderation(request: Request) -> ASGIApp:
    return await run_exchange(request, Endpoint.MODERATIONS, _answer_moderation)


async def list_models(request: Request) -> ASGIApp:
    return await run_exchange(request, Endpoint.MODELS, _answer_models)


async def retrieve_model(request: Request) -> ASGIApp:
    async def answer(exchange: Exchange) -> ASGIApp:
        model = find_model(request.path_params["model"])
        exchange.state.fence.allow(exchange.key.fingerprint, model.id)
        return exchange.reply(one_piece(orjson.dumps(model.listing())))

    return await run_exchange(request, Endpoint.MODELS, answer)


async def _answer_chat(exchange: Exchange) -> ASGIApp:
    request = read_chat_request(exchange.body)
    cached = _cached_tokens(exchange, request)
    exchange.charge_prompt(request.model.id, request.prompt_tokens, cached)
    turn = Turn(request, Writing(request, exchange.behaviour), exchange.entry, cached, exchange.behaviour)
    if request.streams:
        return exchange.reply(event_body(turn, exchange.state.options), EVENT_STREAM)
    return exchange.reply(completion_body(turn, exchange.state.options))


def _cached_tokens(exchange: Exchange, request: ChatRequest) -> int:
    prompt = "\n".join(tokens.text_of(message) for message in request.messages)
    key = exchange.key.fingerprint
    return exchange.state.prefixes.cached_tokens(key, request.model.id, prompt, request.prompt_tokens)


async def _answer_embeddings(exchange: Exchange) -> ASGIApp:
    """Small batches are made at once, large ones in a thread, so that running streams keep their pace."""
    request = read_embedding_request(exchange.body)
    exchange.charge_prompt(request.model.id, request.prompt_tokens)
    if len(request.texts) <= SMALL_BATCH:
        return exchange.reply(one_piece(_embedding_list(request, exchange.state.options)))
    return exchange.reply(one_piece(await asyncio.to_thread(_embedding_list, request, exchange.state.options)))


def _embedding_list(request: EmbeddingRequest, options: Options) -> bytes:
    vectors = options.embed(request.texts, request.dimensions)
    encoded = [embeddings.as_base64(vector) for vector in vectors] if request.as_base64 else vectors
    data = [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(encoded)]
    usage = {"prompt_tokens": request.prompt_tokens, "total_tokens": request.prompt_tokens}
    body = {"object": "list", "data": data, "model": request.model.id, "usage": usage}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


async def _answer_moderation(exchange: Exchange) -> ASGIApp:
    request = read_moderation_request(exchange.body)
    exchange.state.fence.allow(exchange.key.fingerprint, request.model.id)
    return exchange.reply(one_piece(orjson.dumps(moderation.reply_to(request.texts, request.model.id))))


async def _answer_models(exchange: Exchange) -> ASGIApp:
    listing = {"object": "list", "data": [model.listing() for model in MODELS.values()]}
    return exchange.reply(one_piece(orjson.dumps(listing)))
