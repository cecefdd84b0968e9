"""The flood shield: what it stops, what it says, and that it never stops the product when the cache is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import AsyncClient, override_settings
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django_ratelimit import core

from audit.events import Event
from audit.models import AuditEvent
from chatgrid import flood
from chatgrid.dev.services.ports import pick
from tests.company import Company, signed_in

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def small_rates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(flood, "RATES", dict.fromkeys(flood.RATES, "3/m"))
    monkeypatch.setattr(flood, "_away_until", [float("-inf")])
    monkeypatch.setattr(flood, "_clients", type(flood._clients)())
    # a window that ends in the middle of a test would count anew
    now = time.time()
    monkeypatch.setattr(core, "time", SimpleNamespace(time=lambda: now))
    with override_settings(RATELIMIT_ENABLE=True):
        yield


async def ask(client: AsyncClient, script: bool = True) -> object:
    # an empty question: the shield stands before anything is read
    return await client.post("/d/hr/ask", {"question": ""}, headers=STREAM if script else {})


async def test_a_person_is_stopped_after_the_limit_and_told_how_long_to_wait(company: Company) -> None:
    client = await signed_in(company.bob)
    answers = [await ask(client) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 429, 429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert "Wait" in answers[-1].json()["sentence"]


async def test_another_person_is_not_stopped(company: Company) -> None:
    bob, carol = await signed_in(company.bob), await signed_in(company.carol)
    for _ in range(4):
        await ask(bob)
    assert (await ask(carol)).status_code == 400


async def test_the_page_without_javascript_says_it_too(company: Company) -> None:
    client = await signed_in(company.bob)
    answers = [await ask(client, script=False) for _ in range(4)]
    assert answers[-1].status_code == 429
    assert "Too many at once" in answers[-1].content.decode()


async def test_a_flood_is_one_event_not_many(company: Company) -> None:
    before = AuditEvent.objects.filter(event=Event.FLOOD_REFUSED).count()
    client = await signed_in(company.bob)
    for _ in range(8):
        await ask(client)
    assert AuditEvent.objects.filter(event=Event.FLOOD_REFUSED).count() == before + 1


async def test_sign_in_is_shielded_by_address() -> None:
    cache.clear()
    answers = [await AsyncClient().post("/accounts/login/", {"login": "x@y.example"}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


async def test_without_the_cache_everybody_passes(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await signed_in(company.bob)
    nowhere = f"redis://127.0.0.1:{pick()}/0"
    with override_settings(REDIS_URL=nowhere, CACHES={"default": settings.CACHES["default"] | {"LOCATION": nowhere}}):
        answers = [await ask(client) for _ in range(5)]
        page = await AsyncClient().get("/accounts/login/")
    assert {answer.status_code for answer in answers} == {400}
    assert page.status_code == 200


# what costs something: a call, a search, a file, a password's hash, a mail, an export
COSTLY = {
    "chat:ask": "ask",
    "chat:ask_new": "ask",
    "chat:budget_ask": "more",
    "chat:budget_answer": "more",
    "chat:budget_end_grant": "more",
    "documents:upload": "upload",
    "documents:retry": "upload",
    "documents:original": "download",
    "export_record": "download",
    "csp_report": "report",
    "account_login": "sign_in",
    "account_logout": "sign_in",
    "account_change_password": "sign_in",
    "account_set_password": "sign_in",
    "account_reauthenticate": "sign_in",
    "account_reset_password": "sign_in",
    "account_reset_password_from_key": "sign_in",
}


def views(resolver: URLResolver | None = None, space: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            found |= views(entry, f"{entry.namespace}:" if entry.namespace else space)
        elif isinstance(entry, URLPattern):
            found[f"{space}{entry.name}"] = entry.callback
    return found


def test_every_costly_route_has_its_shield() -> None:
    every = views()
    assert {name: getattr(every[name], "shield_group", None) for name in COSTLY} == COSTLY
    groups = {getattr(view, "shield_group", None) for view in every.values()} - {None}
    assert groups <= set(flood.RATES), "each has a rate"


@pytest.mark.parametrize("name", sorted(name for name in COSTLY if name.startswith("chat:")))
async def test_a_shield_answers_429_and_when_to_come_back_and_never_403(company: Company, name: str) -> None:
    client = await signed_in(company.bob)
    arguments = {
        "chat:ask": [uuid4()],
        "chat:ask_new": ["hr"],
        "chat:budget_ask": ["hr"],
        "chat:budget_answer": ["hr", uuid4()],
        "chat:budget_end_grant": ["hr", uuid4()],
    }
    answers = [await client.post(reverse(name, args=arguments[name]), {}, headers=STREAM) for _ in range(5)]
    assert [answer.status_code for answer in answers[-2:]] == [429, 429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert "Traceback" not in answers[-1].content.decode()
