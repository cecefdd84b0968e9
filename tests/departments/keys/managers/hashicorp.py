"""HashiCorp Vault's KV version 2, as its API reference describes it: data, metadata, check-and-set, 404 and 403.

`calls` notes (capability, path) as a policy names them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "a token that Vault knows"


@dataclass
class KeyValueEngine:
    entries: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, path: str) -> JSONResponse:
        versions = self.entries.get(path)
        if not versions:
            return _errors(404)
        metadata = {"version": len(versions), "created_time": "2026-01-01T00:00:00Z", "deletion_time": "",
                    "destroyed": False, "custom_metadata": None}  # fmt: skip
        return JSONResponse({"data": {"data": versions[-1], "metadata": metadata}})

    def write(self, path: str, body: dict[str, Any]) -> JSONResponse:
        versions = self.entries.setdefault(path, [])
        expected = body.get("options", {}).get("cas")
        if expected is not None and expected != len(versions):
            if not versions:
                del self.entries[path]
            return _errors(400, "check-and-set parameter did not match the current version")
        versions.append(body["data"])
        return JSONResponse({"data": {"version": len(versions), "destroyed": False}})


def make_app(engine: KeyValueEngine) -> Starlette:
    async def data(request: Request) -> Response:
        path = request.path_params["path"]
        if request.headers.get("x-vault-token") != TOKEN:
            return _errors(403, "permission denied")
        # read before the lock: who waits for a body while the others wait for the lock is never sent it
        body = {} if request.method == "GET" else await request.json()
        with engine.lock:
            if request.method == "GET":
                engine.calls.append(("read", f"secret/data/{path}"))
                return engine.read(path)
            capability = "update" if path in engine.entries else "create"
            engine.calls.append((capability, f"secret/data/{path}"))
            return engine.write(path, body)

    async def metadata(request: Request) -> Response:
        path = request.path_params["path"]
        if request.headers.get("x-vault-token") != TOKEN:
            return _errors(403, "permission denied")
        engine.calls.append(("delete", f"secret/metadata/{path}"))
        engine.entries.pop(path, None)
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/v1/secret/data/{path:path}", data, methods=["GET", "POST", "PUT"]),
            Route("/v1/secret/metadata/{path:path}", metadata, methods=["DELETE"]),
        ]
    )


def _errors(status: int, *errors: str) -> JSONResponse:
    return JSONResponse({"errors": list(errors)}, status)
