"""A PostgreSQL and a Valkey of their own for the tests that stop, kill or lock services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatgrid.dev.services.postgres import Postgres
from chatgrid.dev.services.valkey import Valkey


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    """Durable, as on a laptop, since these tests crash it."""
    server = Postgres(tmp_path / "postgres", leashed=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "valkey", leashed=True)
    server.start()
    yield server
    server.stop()
