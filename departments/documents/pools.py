"""Connections to stores: one small pool for each (event loop, department, version of the credential).

Rules:
- A pool opens nothing until it is asked, holds at most `STORE_POOL_SIZE` connections and lets an idle one go each
  `IDLE_SECONDS`.
- A loop keeps at most `STORE_POOLS` pools and those in use: the one that rested longest is closed for a new one, so
  that a process with hundreds of departments does not use up the server's connections.
- A new version of the credential makes a new pool. A pool that is closed lends nothing more; connections in use are
  closed as they come back.
- A connection that cannot be had within `TIMEOUT` seconds raises psycopg's PoolTimeout; store.py turns it into a
  sentence.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from audit.database import REST_SECONDS, has_farewell
from departments.documents.credentials import Credential

TIMEOUT = 5.0
IDLE_SECONDS = 30.0
STOP_SECONDS = 0.05  # a pool's worker that is not just connecting stops at once
STATEMENT_SECONDS = 30


class Connection(AsyncConnection[DictRow]):
    """A pooled connection that knows when it was last handed out (`time.monotonic`)."""

    taken_at = 0.0


Pool = AsyncConnectionPool[Connection]

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[UUID, tuple[str, Pool]]] = WeakKeyDictionary()


async def pool_of(department_id: UUID, credential: Credential) -> Pool:
    """The running loop's pool for a department's store."""
    pools = _pools.setdefault(asyncio.get_running_loop(), {})
    version, pool = pools.pop(department_id, ("", None))
    if pool is not None and version == credential.version:
        pools[department_id] = version, pool  # last again: the first is the one that rested longest
        return pool
    ended = [] if pool is None else [pool]
    for other, (_, resting) in list(pools.items()):
        if len(pools) < settings.STORE_POOLS:
            break
        if not _in_use(resting):
            ended.append(pools.pop(other)[1])
    fresh = _new_pool(credential)
    pools[department_id] = credential.version, fresh
    await fresh.open()
    # whoever asks may leave meanwhile, and these are in no table any more
    await asyncio.shield(asyncio.gather(*(each.close(timeout=STOP_SECONDS) for each in ended)))
    return fresh


def _in_use(pool: Pool) -> bool:
    now = pool.get_stats()
    return now.get("requests_waiting", 0) > 0 or now["pool_available"] < now["pool_size"]


async def close_pools() -> None:
    """Ends every pool of the running loop."""
    for _, pool in _pools.pop(asyncio.get_running_loop(), {}).values():
        await pool.close()


def _new_pool(credential: Credential) -> Pool:
    async def check_after_a_rest(held: Connection) -> None:
        """A connection in use a moment ago is believed, unless its socket holds a farewell (audit/database.py)."""
        if time.monotonic() - held.taken_at > REST_SECONDS or has_farewell(held):
            try:
                await AsyncConnectionPool.check_connection(held)
            except psycopg.OperationalError:
                # the others have died with it, and the pool pauses longer with each dead one that it finds
                await pool.drain()
                raise
        held.taken_at = time.monotonic()

    options: dict[str, Any] = {
        "autocommit": True,
        "row_factory": dict_row,
        "options": f"-c statement_timeout={STATEMENT_SECONDS}s",
    }
    pool = AsyncConnectionPool(
        credential.conninfo(),
        min_size=0,
        max_size=settings.STORE_POOL_SIZE,
        timeout=TIMEOUT,
        max_idle=IDLE_SECONDS,
        reconnect_timeout=TIMEOUT,
        num_workers=1,
        kwargs=options,
        configure=register_vector_async,
        connection_class=Connection,
        check=check_after_a_rest,
        open=False,
        name="store",
    )
    return pool
