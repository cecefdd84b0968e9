"""The flood shield: what it stops, what it says, and that it never stops the product when the cache is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import AsyncClient, override_settings

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
