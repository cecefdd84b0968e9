"""Orders to the simulator, below /__simulator. Only loopback clients may give them, and no web page may.

GET    /health       {"status": "ok"}
GET    /keys         registered and revoked keys, by fingerprint
POST   /keys         {"key", "project"?, "department"?, "name"?}: let it in, and from now on only registered ones
DELETE /keys         {"key", "after_seconds"?}: revoke one; without a body: forget all keys
GET    /behaviour    the orders in force
POST   /behaviour    {"kind", "key"?, "times"?, "endpoint"?, "options"?}: see `misbehaviour.py`
DELETE /behaviour    {"key"}: withdraw a key's orders; without a body: withdraw all
GET    /journal      ?key=<fingerprint>&last=<n>: the books, see `journal.py`
DELETE /journal      empty the books
POST   /reset        forget everything: keys, orders, books
       /admin/...    orders to the Admin API, see `admin/routes.py`
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chatgrid.dev.openai_simulator.errors import ApiError, invalid
from chatgrid.dev.openai_simulator.keys import fingerprint
from chatgrid.dev.openai_simulator.misbehaviour import read_order
from chatgrid.dev.openai_simulator.state import State

Handler = Callable[[State, Request], Awaitable[Any]]


async def health(state: State, request: Request) -> Any:
    return {"status": "ok"}


async def list_keys(state: State, request: Request) -> Any:
    return {"keys": state.keys.listings()}


async def register_key(state: State, request: Request) -> Any:
    order = await read_order_body(request, {"key", "project", "department", "name"})
    return state.keys.register(take_key(order), **order).listing()


async def revoke_key(state: State, request: Request) -> Any:
    order = await read_order_body(request, {"key", "after_seconds"})
    if order:
        return state.keys.revoke(take_key(order), float(order.get("after_seconds") or 0)).listing()
    state.keys.reset()
    return {"keys": []}


async def list_orders(state: State, request: Request) -> Any:
    return state.orders.listing()


async def give_order(state: State, request: Request) -> Any:
    order = await read_order_body(request)
    behaviour = read_order(order)
    state.orders.give(fingerprint(take_key(order)) if order.get("key") else None, behaviour)
    return behaviour.listing()


async def withdraw_orders(state: State, request: Request) -> Any:
    order = await read_order_body(request, {"key"})
    if order:
        state.orders.reset_key(fingerprint(take_key(order)))
    else:
        state.orders.reset()
    return state.orders.listing()


async def read_journal(state: State, request: Request) -> Any:
    last = request.query_params.get("last")
    return state.journal.listing(request.query_params.get("key"), int(last) if last and last.isdigit() else None)


async def empty_journal(state: State, request: Request) -> Any:
    state.journal.reset()
    return state.journal.listing()


async def reset(state: State, request: Request) -> Any:
    state.reset()
    return {"status": "ok"}


def is_local(request: Request) -> bool:
    """Whether the request comes from this machine and not through a web page open on it."""
    if request.client is None or "origin" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def route(path: str, method: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        if not is_local(request):
            raise ApiError(403, "The simulator takes orders from programs on its own machine only.")
        answer = await handler(request.app.state.simulator, request)
        return Response(orjson.dumps(answer), media_type="application/json")

    return Route(f"/__simulator/{path}", endpoint, methods=[method])


async def read_order_body(request: Request, known: set[str] | None = None) -> dict[str, Any]:
    content = await request.body()
    try:
        order = orjson.loads(content) if content.strip() else {}
    except orjson.JSONDecodeError:
        order = None
    if not isinstance(order, dict):
        raise invalid("Send the order as a JSON object.", None)
    unknown = set(order) - known if known else set()
    if unknown:
        raise invalid(f"Unknown fields: {', '.join(sorted(unknown))}.", min(unknown))
    return order


def take_key(order: dict[str, Any]) -> str:
    """The key an order is about, taken out of it, so that what is left are its labels."""
    key = order.pop("key", None)
    if not isinstance(key, str) or not key:
        raise invalid("Name the key this order is about in `key`.", "key")
    return key


ROUTES = [
    route("health", "GET", health),
    route("keys", "GET", list_keys),
    route("keys", "POST", register_key),
    route("keys", "DELETE", revoke_key),
    route("behaviour", "GET", list_orders),
    route("behaviour", "POST", give_order),
    route("behaviour", "DELETE", withdraw_orders),
    route("journal", "GET", read_journal),
    route("journal", "DELETE", empty_journal),
    route("reset", "POST", reset),
]
