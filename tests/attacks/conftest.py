"""Victims: one made anew for tests that change it, two shared by those that only try."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.attacks.places import CSRF, Loot, make_loot, make_own, raw
from tests.company import make_company, signed_in
from tests.provider import Provider


@pytest.fixture
async def loot(provider: Provider) -> Loot:
    return await make_loot()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(provider: Provider) -> Loot:
    """For attacks that must change nothing: the tests after them would notice."""
    return await make_loot()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(provider: Provider) -> Loot:
    """What the thief from another company has."""
    return await make_own(make_company())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cookies(shared: Loot) -> dict[str, bytes]:
    """Who -> what their browser sends, with a token that forms of ours carry, too; they open doors to begin with."""
    found = {"nobody": b""}
    for who, address in (("alice", b"/d/hr/"), ("ivan", b"/admin/")):
        client = await signed_in(getattr(shared.company, who))
        session = client.cookies["chatgrid_session"].value
        found[who] = f"chatgrid_session={session}; chatgrid_csrf={CSRF}".encode()
        status, _, _ = await raw(address, headers=[(b"host", b"localhost"), (b"cookie", found[who])])
        assert status == 200
    return found
