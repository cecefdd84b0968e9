"""The two public addresses beside the sign-in: whether we can serve, and what browsers report."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from django.test import AsyncClient

from audit.database import DatabaseDown
from chatgrid import health


async def test_it_says_ok_and_nothing_about_the_set_up() -> None:
    response = await AsyncClient().get("/healthz")
    assert response.json() == {"status": "ok"}


async def test_a_database_that_is_away_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def away() -> AsyncIterator[None]:
        raise DatabaseDown("away")
        yield

    monkeypatch.setattr(health, "connection", away)
    response = await AsyncClient().get("/healthz")
    assert response.status_code == 503
    assert response.json() == {"status": "database away"}


async def test_a_policy_violation_is_a_line_for_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    report = {"csp-report": {"violated-directive": "script-src", "document-uri": "https://chat.example/c/1"}}
    with caplog.at_level(logging.WARNING, "chatgrid.health"):
        response = await AsyncClient().post("/csp-report", json.dumps(report), content_type="application/csp-report")
    assert response.status_code == 204
    assert "script-src on https://chat.example/c/1" in caplog.text


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"csp-report": 1}', b"\xff\xfe", b"null"])
async def test_a_report_that_is_none_is_refused(body: bytes) -> None:
    response = await AsyncClient().post("/csp-report", body, content_type="application/csp-report")
    assert response.status_code == 400
