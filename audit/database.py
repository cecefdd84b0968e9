"""The control database, asynchronously: a small psycopg pool per event loop.

The record lives here and nothing may be called without it, so the way to it must not queue behind a thread: Django's
own asynchronous queries hop to one for every statement (0.2-1 ms each under load). Everything on the chat path, and
only that, uses this pool; pages and the console use Django's.

Rules:
- A connection is held for one short transaction, never while a model writes.
- A pool belongs to the event loop that made it; `close()` ends the pool of the running loop.
- A database that cannot be had raises `DatabaseDown`, after `TIMEOUT` seconds at most; so does a statement that a lock
  holds up for as long, and a server that has vanished from the network.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import Model, QuerySet
from psycopg import AsyncConnection, AsyncCursor, AsyncRawCursor
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

TIMEOUT = 5.0
REST_SECONDS = 1.0
MILLISECONDS = int(TIMEOUT * 1000)

M = TypeVar("M", bound=Model)


class Connection(AsyncConnection[TupleRow]):
    """A pooled connection that knows when it last answered, and when any of them last did not (`time.monotonic`)."""

    used_at = 0.0
    failed_at: ClassVar[float] = 0.0

    async def execute_numbered(self, statement: bytes, parameters: Sequence[Any]) -> AsyncCursor[TupleRow]:
        """Executes what `numbered` made."""
        return await AsyncRawCursor(self).execute(statement, parameters)


Pool = AsyncConnectionPool[Connection]

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = WeakKeyDictionary()


class DatabaseDown(Exception):
    """The control database did not answer. No call to a provider may be made."""


def conninfo() -> str:
    """The libpq connection string of Django's `default` database."""
    default = settings.DATABASES["default"]
    return make_conninfo(
        host=default["HOST"] or None,
        port=default["PORT"] or None,
        dbname=default["NAME"],
        user=default["USER"],
        password=default["PASSWORD"],
        application_name="chatgrid-async",
        connect_timeout=int(TIMEOUT),
        options=f"-c statement_timeout={MILLISECONDS} -c idle_in_transaction_session_timeout={2 * MILLISECONDS}",
        tcp_user_timeout=2 * MILLISECONDS,
        keepalives_idle=10,
        keepalives_interval=3,
        keepalives_count=3,
    )


def numbered(statement: str) -> bytes:
    """The statement with $1, $2 … in place of each %s, for `execute_numbered`: as PostgreSQL reads it.

    psycopg would look for the placeholders of a statement as long as the admission's anew each time, for 0.2 ms.
    """
    if "%" in statement.replace("%s", ""):
        raise ValueError("Only %s can be numbered.")
    first, *others = statement.split("%s")
    return "".join((first, *(f"${number}{each}" for number, each in enumerate(others, start=1)))).encode()


@asynccontextmanager
async def connection() -> AsyncIterator[Connection]:
    """A connection in autocommit mode; use `.transaction()` where two statements belong together."""
    try:
        async with (await _pool()).connection() as held:
            yield held
            held.used_at = time.monotonic()
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        Connection.failed_at = time.monotonic()
        raise DatabaseDown("the control database does not answer") from error


@asynccontextmanager
async def pipelined_transaction() -> AsyncIterator[Connection]:
    """One transaction whose BEGIN and COMMIT travel with the statements beside them instead of on their own."""
    async with connection() as held, held.pipeline(), held.transaction():
        yield held


async def fetch(queryset: QuerySet[M]) -> list[M]:
    """The rows of a queryset as model instances, without a thread.

    Only columns whose psycopg value is the field's value may be selected (no JSON, no encrypted fields); a
    `select_related` is not followed.
    """
    fields = list(queryset.model._meta.concrete_fields)
    rows = await fetch_rows(queryset.values_list(*(field.attname for field in fields)))
    names = [field.attname for field in fields]
    return [queryset.model.from_db("default", names, row) for row in rows]


async def fetch_rows(queryset: QuerySet[Any, Any]) -> Sequence[tuple[Any, ...]]:
    """The raw rows of a `values_list` queryset, without a thread."""
    try:
        statement, parameters = queryset.query.get_compiler(connection=connections["default"]).as_sql()
    except EmptyResultSet:
        return []
    async with connection() as held:
        cursor = await held.execute(statement.encode(), parameters)
        return await cursor.fetchall()


async def close() -> None:
    """End the running loop's pool, if it has one."""
    pool = _pools.pop(asyncio.get_running_loop(), None)
    if pool is not None:
        await pool.close()


async def _check_after_a_rest(held: Connection) -> None:
    """A connection that answered a moment ago is believed, as long as all do: a check costs as much as a statement.

    Not where its socket has something to say that nobody asked for: a server that stopped or died says its farewell.
    """
    rested = time.monotonic() - held.used_at > REST_SECONDS or held.used_at <= held.failed_at
    if rested or has_farewell(held):
        try:
            await AsyncConnectionPool.check_connection(held)
        except psycopg.OperationalError:
            # a connection rarely dies alone, and the pool pauses longer with each dead one that it finds
            await _pools[asyncio.get_running_loop()].drain()
            raise


def has_farewell(held: AsyncConnection[Any]) -> bool:
    """Whether an idle connection can be read: an end or an error waits there. Costs microseconds, no round trip."""
    look = select.poll()
    look.register(held.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    return bool(look.poll(0))


async def _pool() -> Pool:
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        pool = _pools[loop] = AsyncConnectionPool(
            conninfo(),
            min_size=1,
            max_size=settings.CONTROL_POOL_SIZE,
            timeout=TIMEOUT,
            reconnect_timeout=1,  # then the next caller tries anew; the pool's own pauses would double for minutes
            kwargs={"autocommit": True},
            connection_class=Connection,
            check=_check_after_a_rest,
            open=False,
            name="control",
        )
        await pool.open()
    return pool
