"""What a web process does when it starts and when it stops."""

from __future__ import annotations

import logging

from audit import database
from chatgrid import flood
from departments.calls import booking
from departments.calls.tokens import count_tokens
from departments.documents import pools
from departments.keys import client

logger = logging.getLogger(__name__)


async def start() -> None:
    """Load what the first question would otherwise wait for."""
    client.refuse_environment()
    count_tokens("")
    count_tokens("", "cl100k")


async def stop() -> None:
    """Give every connection back."""
    await booking.drain()
    await client.close()
    await pools.close_pools()
    await flood.close()
    await database.close()
