"""A simulator on a loopback port in a thread, for tests: `with running() as simulator:`."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn

from chatgrid.dev.openai_simulator.app import make_app
from chatgrid.dev.openai_simulator.options import Options

START_SECONDS = 10.0


@dataclass(frozen=True)
class Simulator:
    """A running simulator and the orders a test gives it. `base_url` is what the SDK wants, ending in /v1."""

    address: str
    http: httpx2.Client

    @property
    def base_url(self) -> str:
        return f"{self.address}/v1"

    def register(self, key: str, **labels: str) -> dict[str, Any]:
        return self._order("POST", "keys", {"key": key, **labels})

    def revoke(self, key: str, after_seconds: float = 0.0) -> dict[str, Any]:
        return self._order("DELETE", "keys", {"key": key, "after_seconds": after_seconds})

    def behave(
        self,
        kind: str,
        *,
        key: str | None = None,
        times: int | None = None,
        endpoint: str | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Order a misbehaviour; `times=None` is until it is told otherwise."""
        order = {"kind": kind, "key": key, "times": times, "endpoint": endpoint, "options": options}
        return self._order("POST", "behaviour", order)

    def behave_well(self, key: str | None = None) -> dict[str, Any]:
        """Withdraw all orders, or those for one key."""
        return self._order("DELETE", "behaviour", {"key": key} if key else None)

    def journal(self, key: str | None = None, last: int | None = None) -> dict[str, Any]:
        """The provider's books; `key` is a fingerprint."""
        query = {name: str(value) for name, value in (("key", key), ("last", last)) if value is not None}
        return self._order("GET", "journal", None, query)

    def reset(self) -> None:
        self._order("POST", "reset", None)

    def _order(self, method: str, path: str, body: Any, query: dict[str, str] | None = None) -> dict[str, Any]:
        url = f"{self.address}/__simulator/{path}"
        content = {"json": body} if body else {}
        response = self.http.request(method, url, params=query, **content)
        if response.is_error:
            raise ValueError(f"The simulator refused the order: {response.text}")
        answer: dict[str, Any] = response.json()
        return answer


@contextmanager
def running(options: Options | None = None) -> Iterator[Simulator]:
    """A simulator on a free loopback port, stopped at the end even when streams are still open."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        make_app(options), log_config=None, lifespan="off", access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="openai-simulator", daemon=True)
    thread.start()
    host, port = listener.getsockname()
    with httpx2.Client(timeout=START_SECONDS, trust_env=False) as http:
        try:
            yield Simulator(f"http://{host}:{port}", http)
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)
            listener.close()
