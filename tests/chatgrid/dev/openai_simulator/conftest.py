"""One simulator for all these tests, as new before each of them, and the real SDK to talk to it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from openai import AsyncOpenAI, DefaultAsyncHttpx2Client

from chatgrid.dev.openai_simulator.server import Simulator, running


@pytest.fixture(scope="session")
def _server() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def simulator(_server: Simulator) -> Simulator:
    _server.reset()
    return _server


@pytest.fixture
def key() -> str:
    return "sk-" + "proj-" + secrets.token_urlsafe(40)


@pytest_asyncio.fixture
async def openai(simulator: Simulator, key: str) -> AsyncIterator[AsyncOpenAI]:
    http = DefaultAsyncHttpx2Client(timeout=10, trust_env=False)
    async with AsyncOpenAI(api_key=key, base_url=simulator.base_url, max_retries=0, http_client=http) as client:
        yield client
