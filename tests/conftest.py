"""Fixtures that every test may use. tests/stack.py has started the services before this file is read."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import cache as cached
from typing import Any

import httpcore2
import pytest
import uvicorn
from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command
from redis import Redis
from servestatic.middleware import ServeStaticMiddleware
from xdist.scheduler import LoadFileScheduling

from chatgrid.dev.openai_simulator.app import make_app
from departments.documents.pools import close_pools
from departments.loop import run
from tests.company import Company, make_company
from tests.provider import Provider
from tests.stack import CONTROL_DATABASE, PROVIDER_PORT, PROVIDER_SOCKET, STACK

LONG = ("tests/browser/", "tests/faults/", "tests/attacks/")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, so that no worker waits at the end for another; else the order stays as it was shuffled."""
    items.sort(key=lambda item: next((n for n, folder in enumerate(LONG) if item.nodeid.startswith(folder)), len(LONG)))


class OneSiteEach(LoadFileScheduling):
    """A file goes to one worker of pytest-xdist, and so do all files that share a running site."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in LONG[:2] if nodeid.startswith(folder)), super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneSiteEach:
    return OneSiteEach(config, log)


@pytest.fixture(scope="session", autouse=True)
def read_once() -> Iterator[None]:
    """What stays as it is during a run is read once, not by every browser (static files) and HTTP client (authorities).

    Each of them would need 20 ms for it, and there are thousands in a run.
    """
    found, read = {}, ServeStaticMiddleware.add_files_from_finders

    def add_files(middleware: ServeStaticMiddleware) -> None:
        if not found:
            read(middleware)
            found.update(middleware.files)
        middleware.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServeStaticMiddleware, "add_files_from_finders", add_files)
        patch.setattr(httpcore2, "default_ssl_context", cached(httpcore2.default_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def django_db_setup(django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """The control database of this worker, migrated by its owner and open to every test."""
    django_db_blocker.unblock()
    STACK.postgres.create_control_database(CONTROL_DATABASE)
    call_command("migrate", database="owner", verbosity=0)
    cache.clear()
    yield
    django_db_blocker.restore()


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """The OpenAI simulator on a real port, and the switches that make it misbehave."""
    app = make_app()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([PROVIDER_SOCKET],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Provider(f"http://127.0.0.1:{PROVIDER_PORT}")
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="session")
def shared_cache() -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_URL) as client:
        yield client


@pytest.fixture(autouse=True)
def forgotten_floods(shared_cache: Redis) -> None:
    """All tests share one address: what one of them asked in this minute is not held against the next."""
    names = list(shared_cache.scan_iter(f"{settings.CACHES['default']['KEY_PREFIX']}:*rl:*", count=10_000))
    if names:
        shared_cache.delete(*names)


@pytest.fixture(scope="module", autouse=True)
async def no_idle_stores() -> AsyncIterator[None]:
    """Connections to the stores of one file's companies are given back with it, on both loops: there are thousands."""
    yield
    await close_pools()
    await asyncio.to_thread(run, close_pools())


@pytest.fixture
def company() -> Company:
    """A company of its own for each test: see tests/company.py for who is who."""
    return make_company()


@pytest.fixture
def other_company() -> Company:
    """A second one, which must see nothing of the first."""
    return make_company()
