"""Google Secret Manager's REST API v1: secrets, numbered versions, annotations, etags.

`calls` notes (permission, secret's id) as a role names them.
"""

from __future__ import annotations

import base64
import re
import secrets as random
import threading
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

LARGEST = 65_536
ID = re.compile(r"[A-Za-z0-9_-]{1,255}")


@dataclass
class Secrets:
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, list[str | None]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, permission: str, secret_id: str) -> None:
        self.calls.append((f"secretmanager.{permission}", secret_id))

    async def create(self, request: Request) -> Response:
        secret_id, project = request.query_params["secretId"], request.path_params["project"]
        self.note("secrets.create", secret_id)
        if not ID.fullmatch(secret_id):
            return _error(400, "INVALID_ARGUMENT")
        body = await request.json()
        with self.lock:
            if secret_id in self.secrets:
                return _error(409, "ALREADY_EXISTS")
            made = {**body, "name": f"projects/{project}/secrets/{secret_id}", "etag": _etag()}
            self.secrets[secret_id], self.versions[secret_id] = made, []
            return JSONResponse(made)

    async def secret(self, request: Request) -> Response:
        secret_id = request.path_params["secret"]
        permission = {"GET": "get", "PATCH": "update", "DELETE": "delete"}[request.method]
        self.note(f"secrets.{permission}", secret_id)
        body = await request.json() if request.method == "PATCH" else {}
        with self.lock:
            if secret_id not in self.secrets:
                return _error(404, "NOT_FOUND")
            if request.method == "DELETE":
                del self.secrets[secret_id], self.versions[secret_id]
                return JSONResponse({})
            if request.method == "PATCH":
                return self.update(secret_id, body, request.query_params["updateMask"])
            return JSONResponse(self.secrets[secret_id])

    def update(self, secret_id: str, body: dict[str, Any], mask: str) -> Response:
        if body.get("etag") and body["etag"] != self.secrets[secret_id]["etag"]:
            return _error(400, "FAILED_PRECONDITION")
        for name in mask.strip('"').split(","):
            self.secrets[secret_id][name] = body.get(name, {})
        self.secrets[secret_id]["etag"] = _etag()
        return JSONResponse(self.secrets[secret_id])

    async def add(self, request: Request) -> Response:
        secret_id = request.path_params["secret"]
        self.note("versions.add", secret_id)
        body = await request.json()
        data = body["payload"]["data"]
        with self.lock:
            if secret_id not in self.secrets:
                return _error(404, "NOT_FOUND")
            if len(base64.b64decode(data)) > LARGEST:
                return _error(400, "INVALID_ARGUMENT")
            self.versions[secret_id].append(data)
            return JSONResponse(self.about(request, len(self.versions[secret_id])))

    def about(self, request: Request, number: int) -> dict[str, Any]:
        project, secret_id = request.path_params["project"], request.path_params["secret"]
        return {
            "name": f"projects/{project}/secrets/{secret_id}/versions/{number}",
            "state": "ENABLED",
            "etag": _etag(),
        }

    async def access(self, request: Request) -> Response:
        secret_id, number = request.path_params["secret"], int(request.path_params["number"])
        self.note("versions.access", secret_id)
        versions = self.versions.get(secret_id, [])
        if number > len(versions):
            return _error(404, "NOT_FOUND")
        data = versions[number - 1]
        if data is None:
            return _error(400, "FAILED_PRECONDITION")
        return JSONResponse({"name": self.about(request, number)["name"], "payload": {"data": data}})

    async def destroy(self, request: Request) -> Response:
        secret_id, number = request.path_params["secret"], int(request.path_params["number"])
        self.note("versions.destroy", secret_id)
        self.versions[secret_id][number - 1] = None
        return JSONResponse({**self.about(request, number), "state": "DESTROYED"})


def make_app(held: Secrets) -> Starlette:
    base = "/v1/projects/{project}/secrets"
    return Starlette(
        routes=[
            Route(base, held.create, methods=["POST"]),
            Route(base + "/{secret}:addVersion", held.add, methods=["POST"]),
            Route(base + "/{secret}/versions/{number}:access", held.access, methods=["GET"]),
            Route(base + "/{secret}/versions/{number}:destroy", held.destroy, methods=["POST"]),
            Route(base + "/{secret}", held.secret, methods=["GET", "PATCH", "DELETE"]),
        ]
    )


def _etag() -> str:
    return f'"{random.token_hex(8)}"'


def _error(code: int, status: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": "as the reference says", "status": status}}, code)
