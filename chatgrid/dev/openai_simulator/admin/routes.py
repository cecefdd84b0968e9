"""The Admin API's routes, and the orders to it below /__simulator/admin.

POST   /keys       {"key", "organization"?, "person"?}: make it an admin key of that organization
POST   /orders     see `switches.py`; DELETE withdraws all
POST   /settings   {"stale_seconds"?, "refuses_key_deletion"?}
POST   /usage      a line of `books.Books.add`: what was used at another time
GET    /           what is set
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from chatgrid.dev.openai_simulator import control
from chatgrid.dev.openai_simulator.admin import fences, projects, usage
from chatgrid.dev.openai_simulator.admin.call import Call
from chatgrid.dev.openai_simulator.admin.memory import AdminState
from chatgrid.dev.openai_simulator.admin.switches import Order
from chatgrid.dev.openai_simulator.errors import ApiError, invalid
from chatgrid.dev.openai_simulator.reply import CutOff, WatchedReply
from chatgrid.dev.openai_simulator.state import State

Handler = Callable[[Call], dict[str, Any]]
PROJECT = "/projects/{project}"
ACCOUNT = PROJECT + "/service_accounts/{account}"

TABLE: list[tuple[str, str, Handler]] = [
    ("POST", "/projects", projects.create),
    ("GET", "/projects", projects.list_all),
    ("GET", PROJECT, projects.retrieve),
    ("POST", PROJECT, projects.update),
    ("POST", PROJECT + "/archive", projects.archive),
    ("POST", PROJECT + "/service_accounts", projects.create_account),
    ("GET", PROJECT + "/service_accounts", projects.list_accounts),
    ("GET", ACCOUNT, projects.retrieve_account),
    ("POST", ACCOUNT, projects.update_account),
    ("DELETE", ACCOUNT, projects.delete_account),
    ("POST", ACCOUNT + "/api_keys", projects.create_key),
    ("GET", PROJECT + "/api_keys", projects.list_keys),
    ("GET", PROJECT + "/api_keys/{key}", projects.retrieve_key),
    ("DELETE", PROJECT + "/api_keys/{key}", projects.delete_key),
    ("GET", PROJECT + "/model_permissions", fences.retrieve_models),
    ("POST", PROJECT + "/model_permissions", fences.update_models),
    ("DELETE", PROJECT + "/model_permissions", fences.delete_models),
    ("GET", PROJECT + "/hosted_tool_permissions", fences.retrieve_tools),
    ("POST", PROJECT + "/hosted_tool_permissions", fences.update_tools),
    ("GET", PROJECT + "/spend_limit", fences.retrieve_spend_limit),
    ("POST", PROJECT + "/spend_limit", fences.update_spend_limit),
    ("DELETE", PROJECT + "/spend_limit", fences.delete_spend_limit),
    ("GET", PROJECT + "/spend_alerts", fences.list_alerts),
    ("POST", PROJECT + "/spend_alerts", fences.create_alert),
    ("DELETE", PROJECT + "/spend_alerts/{alert}", fences.delete_alert),
    ("GET", PROJECT + "/rate_limits", fences.list_rate_limits),
    ("POST", PROJECT + "/rate_limits/{limit}", fences.update_rate_limit),
    ("GET", PROJECT + "/data_retention", fences.retrieve_retention),
    ("POST", PROJECT + "/data_retention", fences.update_retention),
    ("GET", "/admin_api_keys", projects.list_admin_keys),
    ("POST", "/admin_api_keys", projects.create_admin_key),
    ("DELETE", "/admin_api_keys/{key}", projects.delete_admin_key),
    ("GET", "/usage/completions", usage.completions),
    ("GET", "/usage/embeddings", usage.embeddings),
    ("GET", "/costs", usage.costs),
    ("GET", "/audit_logs", usage.audit_logs),
]


def _route(method: str, path: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> ASGIApp:
        admin: AdminState = request.app.state.simulator.admin
        try:
            return await _answer(admin, request, handler)
        except ApiError as error:
            return _json(error.body(), error.status)

    return Route(f"/v1/organization{path}", endpoint, methods=[method])


async def _answer(admin: AdminState, request: Request, handler: Handler) -> ASGIApp:
    company, actor = admin.enter(request.headers.get("authorization"))
    body = await _body(request)
    order = admin.switches.take(request.method, request.url.path)
    if order and order.when == "before":
        spoilt = await _obey(order)
        if spoilt is not None:
            return spoilt
    answer = handler(Call(admin, company, actor, request.path_params, request.query_params, body))
    if request.method != "GET":
        admin.save()
    spoilt = await _obey(order) if order and order.when == "after" else None
    return spoilt or _json(answer)


async def _obey(order: Order) -> ASGIApp | None:
    """The spoilt answer; None after a mere delay."""
    if order.how == "delay":
        await asyncio.sleep(order.seconds)
        return None
    if order.how == "cut":
        return WatchedReply(_broken(), headers={"content-length": "1000"}, on_end=lambda disconnected: None)
    error = ApiError(order.status, "The server had an error while processing your request.", type="server_error")
    return _json(error.body(), order.status)


async def _broken() -> AsyncGenerator[bytes, None]:
    yield b"{"
    raise CutOff


async def _body(request: Request) -> dict[str, Any]:
    content = await request.body()
    try:
        body = orjson.loads(content) if content.strip() else {}
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise invalid("The body of your request could not be read as a JSON object.", None)
    return body


def _json(content: dict[str, Any], status: int = 200) -> Response:
    headers = {"x-request-id": f"req_{secrets.token_hex(16)}"}
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


ROUTES = [_route(method, path, handler) for method, path, handler in TABLE]


# -- orders to it


async def introduce_key(state: State, request: Request) -> Any:
    order = await control.read_order_body(request, {"key", "organization", "person"})
    company, key = state.admin.introduce(
        control.take_key(order), order.get("organization") or "", order.get("person") or ""
    )
    return {"organization": company.id, "id": key.id, "fingerprint": key.fingerprint}


async def give_order(state: State, request: Request) -> Any:
    state.admin.switches.give(await control.read_order_body(request))
    return state.admin.switches.listing()


async def withdraw_orders(state: State, request: Request) -> Any:
    state.admin.switches.orders.clear()
    return state.admin.switches.listing()


async def change_settings(state: State, request: Request) -> Any:
    for name, value in (await control.read_order_body(request, {"stale_seconds", "refuses_key_deletion"})).items():
        setattr(state.admin.switches, name, value)
    return state.admin.switches.listing()


async def add_usage(state: State, request: Request) -> Any:
    state.admin.books.add(**await control.read_order_body(request))
    return {"status": "ok"}


async def show(state: State, request: Request) -> Any:
    return state.admin.switches.listing()


CONTROL = [
    control.route("admin/keys", "POST", introduce_key),
    control.route("admin/orders", "POST", give_order),
    control.route("admin/orders", "DELETE", withdraw_orders),
    control.route("admin/settings", "POST", change_settings),
    control.route("admin/usage", "POST", add_usage),
    control.route("admin", "GET", show),
]
