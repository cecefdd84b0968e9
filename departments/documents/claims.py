"""A worker's hold on the version it reads: renewed while it works, given back when the store was away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from departments.documents.records import Claim
from departments.documents.store import LEASE_SECONDS, ClaimLost, Store, StoreDown

HEARTBEAT_SECONDS = LEASE_SECONDS / 4
GIVE_BACK_PAUSES = (1.0, 2.0, 4.0)  # seconds

logger = logging.getLogger(__name__)


@asynccontextmanager
async def heartbeat(store: Store, claim: Claim) -> AsyncIterator[None]:
    """Renews the claim for as long as the block runs."""
    beating = asyncio.create_task(_renew_forever(store, claim))
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def give_back(store: Store, claim: Claim) -> None:
    """After the store was away: the attempt should not count against the file. Left undone, the lease ends it."""
    for pause in GIVE_BACK_PAUSES:
        await asyncio.sleep(pause)
        try:
            await store.give_back(claim)
        except ClaimLost:
            return
        except StoreDown:
            continue
        return


async def _renew_forever(store: Store, claim: Claim) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        try:
            await store.renew(claim)
        except StoreDown:
            logger.warning("the claim on document version %s could not be renewed", claim.version.id)
        except ClaimLost:
            return  # the next step of the work finds out by itself
