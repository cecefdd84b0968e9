"""`python -m tests.bench.chat`: the same streams direct from the simulator and through ChatGrid, in one run.

Loads (after docs/performance.md), where nothing else is said with a provider that answers at once:

- one: one user, 20 tokens; short: 16 users, 5 tokens; burst: 16 users, 100 tokens.
- paced: 50 users, first token after 200 ms, then 50 a second. They begin spread over the length of a stream, and each
  asks again as soon as it is answered: people do not press Enter in step. rush: the same 50 all in the same instant.
- crowd: 500 users with the same streams, each of whom asks once within 20 seconds. It is run once.
- held: streams that stay open.

Direct and through alternate, and ratios come from the same round, because machines are noisy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from chatgrid.dev.services.ports import pick
from chatgrid.dev.services.stack import running
from tests.bench.load import Load, Target, open_streams, run

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Kind:
    """A load: `users` with `each` streams of `tokens`, who begin within `spread` seconds."""

    users: int
    each: int
    tokens: int
    first_ms: int = 0
    per_second: int = 0
    spread: float = 0.0
    once: bool = False  # instead of in every round


KINDS = {
    "one": Kind(1, 60, 20),
    "short": Kind(16, 12, 5),
    "burst": Kind(16, 6, 100),
    "paced": Kind(50, 3, 50, 200, 50, spread=1.2),
    "rush": Kind(50, 1, 50, 200, 50),
    "crowd": Kind(500, 1, 50, 200, 50, spread=20.0, once=True),
}


@contextmanager
def process(arguments: list[str], environment: dict[str, str]) -> Iterator[psutil.Process]:
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) as started:
        try:
            yield psutil.Process(started.pid)
        finally:
            started.terminate()
            try:
                started.wait(timeout=20)
            except subprocess.TimeoutExpired:
                started.kill()


def wait_for(url: str) -> None:
    for _ in range(300):
        try:
            if httpx2.get(url).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{url} did not answer in 30 s")


def prepare(environment: dict[str, str]) -> dict[str, str]:
    """A company with one department, key and person, in a process of its own; gives the session's cookies and paths."""
    script = [sys.executable, "-m", "tests.bench.prepare"]
    done = subprocess.run(script, env=environment, cwd=ROOT, check=True, capture_output=True, text=True)
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def script(simulator: str, tokens: int, first_ms: int = 0, per_second: int = 0) -> None:
    """What the simulator answers from now on."""
    options = {"text": "word " * tokens, "first_token_ms": first_ms, "tokens_per_second": per_second}
    body = {"kind": "scripted", "endpoint": "chat", "options": options}
    httpx2.delete(f"{simulator}/__simulator/behaviour").raise_for_status()
    httpx2.post(f"{simulator}/__simulator/behaviour", json=body).raise_for_status()


def direct(port: int, key: str) -> Target:
    body = json.dumps(
        {
            "model": "gpt-6-luna",
            "messages": [{"role": "user", "content": "hello"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    return Target("127.0.0.1", port, head + body, b'"content":"word', b"[DONE]")


def through(port: int, prepared: dict[str, str]) -> Target:
    body = f"question=hello&csrfmiddlewaretoken={prepared['csrf']}".encode()
    head = (
        f"POST {prepared['path']} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Cookie: chatgrid_session={prepared['session']}; chatgrid_csrf={prepared['csrf']}\r\n"
        "Accept: text/event-stream\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    return Target("127.0.0.1", port, head + body, b"event: block", b"event: done")


def report(name: str, plain: list[Load], ours: list[Load]) -> None:
    def middle(values: list[float]) -> float:
        return sorted(values)[len(values) // 2]

    added_first = middle([o.first(50) - p.first(50) for p, o in zip(plain, ours, strict=True)])
    added_first_95 = middle([o.first(95) - p.first(95) for p, o in zip(plain, ours, strict=True)])
    added_first_99 = middle([o.first(99) - p.first(99) for p, o in zip(plain, ours, strict=True)])
    added_total = middle([o.total(50) - p.total(50) for p, o in zip(plain, ours, strict=True)])
    failed = sum(len(load.failed) for load in ours)
    print(
        f"{name:<6} added first token p50 {added_first:7.2f} ms, p95 {added_first_95:7.2f} ms, "
        f"p99 {added_first_99:7.2f} ms, "
        f"added total p50 {added_total:7.2f} ms | streams/s direct {middle([p.rate for p in plain]):7.0f}, "
        f"through {middle([o.rate for o in ours]):7.0f} | failed {failed}"
    )
    if failed:
        print("       first failure:", next(load.failed[0] for load in ours if load.failed)[:160])


async def loads(simulator: str, plain: Target, ours: Target, rounds: int, processes: list[psutil.Process]) -> None:
    for name, kind in KINDS.items():
        script(simulator, kind.tokens, kind.first_ms, kind.per_second)
        await run(ours, min(kind.users, 50), 2)  # warm
        load = (kind.users, kind.each, kind.spread)
        times = 1 if kind.once else rounds
        before = cpu(processes)
        pairs = [(await run(plain, *load), await run(ours, *load)) for _ in range(times)]
        used = cpu(processes) - before
        report(name, [p for p, _ in pairs], [o for _, o in pairs])
        streams = times * kind.users * kind.each
        print(f"       CPU of the web process: {used / streams * 1000:.2f} s per 1,000 streams of {kind.tokens} tokens")


async def held(simulator: str, ours: Target, counts: list[int], processes: list[psutil.Process]) -> None:
    script(simulator, 400, 50, 2)
    for count in counts:
        before = memory(processes)
        seen: list[int] = []

        async def look(seen: list[int] = seen) -> None:
            seen.append(memory(processes))

        started = time.perf_counter()
        kept = await open_streams(ours, count, look)
        spent = time.perf_counter() - started
        grown = (seen[0] - before) / max(1, kept) * 100 / 2**20
        print(f"held   {kept} of {count} open streams in {spent:.1f} s; {grown:.1f} MiB per 100 streams")
        await asyncio.sleep(3)


def cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def memory(processes: list[psutil.Process]) -> int:
    return sum(process.memory_info().rss for process in processes)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--held", type=int, nargs="*", default=[100, 500])
    given = options.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with ExitStack() as stack:
        services = stack.enter_context(running())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chatgrid-bench-"))
        database = f"bench_{secrets.token_hex(3)}"
        services.postgres.create_control_database(database)
        simulator_port, web_port = pick(), pick()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "CHATGRID_"))}
        environment = (
            clean
            | services.environment(database)
            | {
                "CHATGRID_TEST_SERVICES": os.environ["CHATGRID_TEST_SERVICES"],
                "CHATGRID_ENVIRONMENT": "test",
                "CHATGRID_SECRET_KEY": secrets.token_urlsafe(50),
                "CHATGRID_DATA": folder,
                "CHATGRID_OPENAI_BASE_URL": f"http://127.0.0.1:{simulator_port}/v1",
                "CHATGRID_LOG_LEVEL": "ERROR",
                "CHATGRID_FLOOD_SHIELD": "0",
            }
        )
        prepared = prepare(environment)
        serve = ["uvicorn", "--log-level", "error", "--timeout-graceful-shutdown", "3", "--port"]
        paceless = {"CHATGRID_SIMULATOR_FIRST_TOKEN_MS": "0", "CHATGRID_SIMULATOR_TOKENS_PER_SECOND": "0"}
        stack.enter_context(
            process([*serve, str(simulator_port), "chatgrid.dev.openai_simulator.app:app"], environment | paceless)
        )
        web = stack.enter_context(process([*serve, str(web_port), "chatgrid.asgi:application"], environment))
        wait_for(f"http://127.0.0.1:{simulator_port}/__simulator/health")
        wait_for(f"http://127.0.0.1:{web_port}/healthz")
        plain, ours = direct(simulator_port, prepared["key"]), through(web_port, prepared)
        simulator = f"http://127.0.0.1:{simulator_port}"
        print(f"one web process and one simulator on {psutil.cpu_count()} cores, medians of {given.rounds} rounds")
        own = web.memory_full_info().uss / 2**20
        print(f"idle memory of the web process {memory([web]) / 2**20:.0f} MiB, of which {own:.0f} are its own")
        asyncio.run(loads(simulator, plain, ours, given.rounds, [web]))
        asyncio.run(held(simulator, ours, given.held, [web]))


if __name__ == "__main__":
    main()
