"""A pytest plugin, loaded first: real PostgreSQL and Valkey for the run, and the environment that settings read.

Rules:
- Tests commit for real, as the product does: the application's own role, its grants and triggers, several connections.
  So no test may count on an empty table; each makes its own company (tests/company.py) and looks only at that.
- One cluster serves the whole run; each worker of pytest-xdist has its own control database and its own vault.
- Nothing leaves the machine: the provider is the simulator on a port of its own.
"""

from __future__ import annotations

import atexit
import os
import secrets
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

from chatgrid.dev.services.ports import HOST
from chatgrid.dev.services.stack import Stack, running

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
CONTROL_DATABASE = f"chatgrid_{WORKER}_{secrets.token_hex(3)}"
# Taken now and listened on when the first test needs the simulator: others pick ports meanwhile.
PROVIDER_SOCKET = socket.socket()
PROVIDER_SOCKET.bind((HOST, 0))
PROVIDER_PORT: int = PROVIDER_SOCKET.getsockname()[1]


def _prepare() -> Stack:
    ending = ExitStack()
    atexit.register(ending.close)
    stack = ending.enter_context(running())
    folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="chatgrid-test-")))
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "AWS_"))]:
        del os.environ[name]
    os.environ |= stack.environment(CONTROL_DATABASE, cache=int(WORKER.removeprefix("gw") or 0) % 16) | {
        "CHATGRID_ENVIRONMENT": "test",
        "CHATGRID_SECRET_KEY": secrets.token_urlsafe(50),
        "CHATGRID_DATA": str(folder),
        "CHATGRID_OPENAI_BASE_URL": f"http://127.0.0.1:{PROVIDER_PORT}/v1",
        "CHATGRID_PAGE_POOL_SIZE": "0",
        "CHATGRID_FLOOD_SHIELD": "0",
        "CHATGRID_EMAIL_BACKEND": "django.core.mail.backends.locmem.EmailBackend",
        "CHATGRID_LOG_LEVEL": "WARNING",
        "DJANGO_ALLOW_ASYNC_UNSAFE": "1",  # tests look at the database from asynchronous tests too
    }
    return stack


STACK = _prepare()
