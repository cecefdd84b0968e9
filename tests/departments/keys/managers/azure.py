"""Azure Key Vault's secrets, as the REST reference describes them: the challenge, versions, soft deletion, 25 kB.

`calls` notes (data action, secret's name) as a role definition names them.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from azure.core.credentials import AccessToken
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

LARGEST = 25_600
ACTION = "Microsoft.KeyVault/vaults/secrets/"
TOKEN = "a token that Azure gave"


class Credential:
    """What azure-identity would be: it hands out tokens."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken(TOKEN, int(time.time()) + 3600)


@dataclass
class KeyVault:
    secrets: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    deleted: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def bundle(self, request: Request, name: str, version: str) -> dict[str, Any]:
        held = self.secrets[name][version]
        host = f"https://{request.headers['host']}"
        return {**held, "id": f"{host}/secrets/{name}/{version}"}

    def challenged(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == f"Bearer {TOKEN}":
            return None
        above = f"https://{request.headers['host'].partition('.')[2]}"
        return JSONResponse(
            {"error": {"code": "Unauthorized", "message": "no token"}},
            401,
            headers={"www-authenticate": f'Bearer authorization="https://login.example/tenant", resource="{above}"'},
        )

    async def secret(self, request: Request) -> Response:
        refused = self.challenged(request)
        if refused is not None:
            return refused
        name = request.path_params["name"].lower()
        if request.method == "PUT":
            self.calls.append((ACTION + "setSecret/action", name))
            return self.put(request, name, await request.json())
        if request.method == "DELETE":
            self.calls.append((ACTION + "delete", name))
            return self.delete(request, name)
        return self.get(request, name, "")

    async def one_version(self, request: Request) -> Response:
        refused = self.challenged(request)
        if refused is not None:
            return refused
        name, version = request.path_params["name"].lower(), request.path_params["version"]
        if request.method == "PATCH":
            self.calls.append((ACTION + "update/action", name))
            self.secrets[name][version]["attributes"].update((await request.json()).get("attributes", {}))
            return JSONResponse(self.bundle(request, name, version))
        return self.get(request, name, version)

    def put(self, request: Request, name: str, body: dict[str, Any]) -> Response:
        if name in self.deleted:
            return _error(409, "Conflict", "Secret is currently in a deleted but recoverable state.")
        if len(body["value"].encode()) > LARGEST:
            return _error(400, "BadParameter", "The value is too long.")
        version, now = uuid.uuid4().hex, int(time.time())
        attributes = {"enabled": True, "created": now, "updated": now, "recoveryLevel": "Recoverable+Purgeable"}
        held = {"value": body["value"], "attributes": attributes, "tags": body.get("tags", {})}
        self.secrets.setdefault(name, {})[version] = held
        return JSONResponse(self.bundle(request, name, version))

    def get(self, request: Request, name: str, version: str) -> Response:
        self.calls.append((ACTION + "getSecret/action", name))
        versions = self.secrets.get(name, {})
        if not versions or (version and version not in versions):
            return _error(404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key self.")
        version = version or list(versions)[-1]
        if not versions[version]["attributes"]["enabled"]:
            return _error(403, "Forbidden", "Operation get is not allowed on a disabled secret.")
        return JSONResponse(self.bundle(request, name, version))

    def delete(self, request: Request, name: str) -> Response:
        if name not in self.secrets:
            return _error(404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key self.")
        last = self.bundle(request, name, list(self.secrets[name])[-1])
        self.deleted[name] = self.secrets.pop(name)
        now, host = int(time.time()), f"https://{request.headers['host']}"
        about = {
            "recoveryId": f"{host}/deletedsecrets/{name}",
            "deletedDate": now,
            "scheduledPurgeDate": now + 90 * 86_400,
        }
        return JSONResponse({**{key: last[key] for key in ("id", "attributes", "tags")}, **about})

    async def gone(self, request: Request) -> Response:
        name = request.path_params["name"].lower()
        found = name in self.deleted
        return JSONResponse({"id": name}) if found else _error(404, "SecretNotFound", "not deleted")


def make_app(vault: KeyVault) -> Starlette:
    return Starlette(
        routes=[
            Route("/secrets/{name}", vault.secret, methods=["GET", "PUT", "DELETE"]),
            Route("/secrets/{name}/", vault.secret, methods=["GET"]),
            Route("/secrets/{name}/{version}", vault.one_version, methods=["GET", "PATCH"]),
            Route("/deletedsecrets/{name}", vault.gone, methods=["GET"]),
        ]
    )


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
