"""A load generator that costs little: one socket a stream, no HTTP library between the clock and the bytes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """A request that can be sent again and again, and the bytes by which its first text is known."""

    host: str
    port: int
    request: bytes
    first: bytes
    end: bytes


@dataclass
class Timing:
    """Milliseconds until the first text and until the end of one stream."""

    first: float
    total: float


@dataclass
class Load:
    """What one load found."""

    timings: list[Timing] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def first(self, percent: float) -> float:
        return percentile([timing.first for timing in self.timings], percent)

    def total(self, percent: float) -> float:
        return percentile([timing.total for timing in self.timings], percent)

    @property
    def rate(self) -> float:
        """Streams a second."""
        return len(self.timings) / self.seconds if self.seconds else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=1000, method="inclusive")[min(998, round(percent * 10) - 1)]


async def one_stream(target: Target) -> Timing:
    """Send the request on a connection of its own and read to the end. Raises RuntimeError with what came instead."""
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection(target.host, target.port)
    try:
        writer.write(target.request)
        seen, first = b"", 0.0
        while data := await reader.read(65_536):
            seen += data
            if not first and target.first in seen:
                first = time.perf_counter()
            if target.end in seen[-4_096:]:
                return Timing((first - started) * 1e3, (time.perf_counter() - started) * 1e3)
        raise RuntimeError(seen[:300].decode("utf-8", "replace"))
    finally:
        writer.close()


async def run(target: Target, users: int, rounds: int, spread: float = 0.0) -> Load:
    """`users` at once, each with `rounds` streams one after the other; they begin within `spread` seconds, evenly."""
    load = Load()
    started = time.perf_counter()
    await asyncio.gather(*(_user(target, rounds, load, spread * number / users) for number in range(users)))
    load.seconds = time.perf_counter() - started
    return load


async def _user(target: Target, rounds: int, load: Load, begin_after: float) -> None:
    await asyncio.sleep(begin_after)
    for _ in range(rounds):
        try:
            load.timings.append(await one_stream(target))
        except (RuntimeError, OSError) as error:
            load.failed.append(str(error))


async def open_streams(target: Target, count: int, look: Callable[[], Awaitable[None]]) -> int:
    """Hold `count` streams open after their first text, call `look`, and let go. Returns how many were held."""
    held = await asyncio.gather(*(_until_first(target) for _ in range(count)), return_exceptions=True)
    writers = [each for each in held if isinstance(each, asyncio.StreamWriter)]
    await look()
    for writer in writers:
        writer.close()
    return len(writers)


async def _until_first(target: Target) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection(target.host, target.port)
    writer.write(target.request)
    seen = b""
    while target.first not in seen:
        data = await asyncio.wait_for(reader.read(65_536), timeout=60)
        if not data:
            raise RuntimeError(seen[:300].decode("utf-8", "replace"))
        seen += data
    return writer
