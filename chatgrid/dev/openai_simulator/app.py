"""The simulator as an ASGI application. `app` runs at a human pace; `make_app()` as fast as it can."""

from __future__ import annotations

from typing import cast

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chatgrid.dev.openai_simulator import control, endpoints
from chatgrid.dev.openai_simulator.admin import routes as admin
from chatgrid.dev.openai_simulator.errors import ApiError
from chatgrid.dev.openai_simulator.options import Options, read_options
from chatgrid.dev.openai_simulator.state import State

ROUTES = [
    Route("/v1/chat/completions", endpoints.chat_completions, methods=["POST"]),
    Route("/v1/embeddings", endpoints.create_embeddings, methods=["POST"]),
    Route("/v1/moderations", endpoints.create_moderation, methods=["POST"]),
    Route("/v1/models", endpoints.list_models, methods=["GET"]),
    Route("/v1/models/{model}", endpoints.retrieve_model, methods=["GET"]),
]


def make_app(options: Options | None = None) -> Starlette:
    """A simulator of its own, with its own keys, orders and books."""
    app = Starlette(routes=[*ROUTES, *admin.ROUTES, *control.ROUTES, *admin.CONTROL])
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.state.simulator = State(options or Options())
    return app


async def _refused(request: Request, error: Exception) -> Response:
    return _json(cast(ApiError, error))


async def _no_such_route(request: Request, error: Exception) -> Response:
    return _json(ApiError(cast(HTTPException, error).status_code, f"Invalid URL ({request.method} {request.url.path})"))


def _json(error: ApiError) -> Response:
    return Response(orjson.dumps(error.body()), error.status, media_type="application/json")


app = make_app(read_options())
