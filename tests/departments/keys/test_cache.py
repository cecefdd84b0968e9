"""Keys from memory: quick where it is safe, dropped at once where it is not."""

from __future__ import annotations

import asyncio
import gc
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from departments.keys.cache import FRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS, SecretCache
from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing, Vault, VaultUnavailable, Version

NAME, OTHER = "chatgrid/test/dept/hr/openai", "chatgrid/test/dept/finance/openai"


class SlowVault:
    """A real vault behind a door that can be shut, and a switch that cuts it off; counts who went in."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.reads: list[str] = []
        self.threads: set[int] = set()
        self.door = threading.Event()
        self.door.set()
        self.is_down = False

    def get_current(self, name: str) -> Version:
        self.threads.add(threading.get_ident())
        door, value = self.door, None if self.is_down else self.vault.get_current(name)
        self.reads.append(name)
        assert door.wait(10), "the test forgot to open the door"
        if value is None:
            raise VaultUnavailable(f"{name}: not reached.")
        return value

    def shut_new_door(self) -> threading.Event:
        """A shut door for the reads that begin from now on; those under way wait at theirs."""
        self.door = threading.Event()
        return self.door

    def rotate(self, name: str, value: str) -> None:
        token = str(uuid.uuid4())
        self.vault.stage(name, token, Secret(value))
        self.vault.promote(name, token, self.vault.describe(name).current)

    def __getattr__(self, method: str) -> object:
        return getattr(self.vault, method)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Reports:
    """Stands for the audit log."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.is_down = False

    async def record(self, name: str, version: Version) -> None:
        await asyncio.sleep(0)
        if self.is_down:
            raise ConnectionError("the audit log cannot be written")
        self.seen.append((name, version.value.reveal()))


@pytest.fixture
def vault(local_vault: Vault) -> Iterator[SlowVault]:
    slow = SlowVault(local_vault)
    for name in (NAME, OTHER):
        slow.rotate(name, "first of " + name)
    yield slow
    slow.door.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def cache(vault: SlowVault, reports: Reports, clock: Clock) -> SecretCache:
    return SecretCache(vault, reports.record, clock)


@pytest.fixture
def get(cache: SecretCache) -> Callable[..., str]:
    """Reads in an event loop of its own; the value in clear."""

    def read(name: str = NAME, epoch: int = 1) -> str:
        return asyncio.run(cache.get(name, epoch)).value.reveal()

    return read


def test_a_miss_reads_once_and_reports_and_hits_do_neither(
    get, vault: SlowVault, reports: Reports, clock: Clock
) -> None:
    assert get() == "first of " + NAME
    clock.now += FRESH_SECONDS - 1
    assert get() == "first of " + NAME
    assert vault.reads == [NAME]
    assert reports.seen == [(NAME, "first of " + NAME)]


def test_names_do_not_mix(get, vault: SlowVault) -> None:
    assert [get(NAME), get(OTHER), get(NAME)] == ["first of " + NAME, "first of " + OTHER, "first of " + NAME]
    assert vault.reads == [NAME, OTHER]


def test_after_a_minute_the_vault_is_asked_again(get, vault: SlowVault, reports: Reports, clock: Clock) -> None:
    get()
    vault.rotate(NAME, "second")
    clock.now += FRESH_SECONDS
    assert get() == "second"
    assert len(reports.seen) == 2


def test_a_higher_epoch_reads_at_once_and_a_lower_one_takes_the_newer_value(get, vault: SlowVault) -> None:
    assert get(epoch=1) == "first of " + NAME
    vault.rotate(NAME, "second")
    assert get(epoch=2) == "second"
    assert get(epoch=1) == "second"
    assert len(vault.reads) == 2


def test_forgetting_reads_at_once(get, cache: SecretCache, vault: SlowVault) -> None:
    get()
    vault.rotate(NAME, "second")
    cache.forget(NAME)
    assert get() == "second"
    cache.forget("chatgrid/test/never/read")


def test_an_unreported_read_hands_nothing_out_and_keeps_nothing(get, vault: SlowVault, reports: Reports) -> None:
    reports.is_down = True
    for _ in range(2):
        with pytest.raises(ConnectionError):
            get()
    assert len(vault.reads) == 2
    reports.is_down = False
    assert get() == "first of " + NAME
    assert len(reports.seen) == 1


def test_an_unavailable_vault_is_bridged_for_fifteen_minutes(
    get, vault: SlowVault, reports: Reports, clock: Clock
) -> None:
    get()
    vault.is_down = True
    clock.now += STALE_SECONDS - 1
    assert get() == "first of " + NAME
    assert len(reports.seen) == 1
    clock.now += 1
    with pytest.raises(VaultUnavailable):
        get()


async def test_a_vault_that_hangs_holds_nobody_up_who_was_served_before(vault: SlowVault, reports: Reports) -> None:
    clock = Clock()
    cache = SecretCache(vault, reports.record, clock, patience=0.01)
    first = await cache.get(NAME, 1)
    vault.rotate(NAME, "second")
    door = vault.shut_new_door()
    clock.now += 61
    answers = await asyncio.gather(*(cache.get(NAME, 1) for _ in range(5)))
    assert [answer.value for answer in answers] == [first.value] * 5
    assert len(vault.reads) == 2, "one read, for which nobody waits any more"
    unbridged = asyncio.create_task(cache.get(NAME, 2))
    await asyncio.sleep(0.05)
    assert not unbridged.done(), "what was announced as changed is never bridged"
    door.set()
    assert (await unbridged).value == Secret("second")


def test_while_bridging_the_vault_is_asked_every_few_seconds_only(get, vault: SlowVault, clock: Clock) -> None:
    get()
    vault.is_down = True
    clock.now += FRESH_SECONDS
    for _ in range(5):
        get()
    assert len(vault.reads) == 2
    vault.is_down = False
    vault.rotate(NAME, "second")
    clock.now += RETRY_SECONDS
    assert get() == "second"


@pytest.mark.parametrize("how", ["forget", "epoch"])
def test_what_was_dropped_does_not_bridge(get, cache: SecretCache, vault: SlowVault, how: str) -> None:
    get(epoch=1)
    vault.is_down = True
    if how == "forget":
        cache.forget(NAME)
    for _ in range(2):
        with pytest.raises(VaultUnavailable):
            get(epoch=2 if how == "epoch" else 1)


def test_a_vault_that_was_never_reached_is_unavailable(get, vault: SlowVault) -> None:
    vault.is_down = True
    with pytest.raises(VaultUnavailable):
        get()
    vault.is_down = False
    assert get() == "first of " + NAME


def test_a_deleted_secret_is_not_bridged(get, vault: SlowVault, clock: Clock) -> None:
    get()
    vault.vault.delete(NAME)
    clock.now += FRESH_SECONDS
    with pytest.raises(SecretMissing):
        get()
    vault.is_down = True
    with pytest.raises(VaultUnavailable):
        get()


def test_values_leave_memory_with_the_next_read_after_their_time(
    vault: SlowVault, reports: Reports, clock: Clock
) -> None:
    cache = SecretCache(vault, reports.record, clock)
    values = {NAME: uuid.uuid4().hex, OTHER: uuid.uuid4().hex}
    for name, value in values.items():
        vault.rotate(name, value)
    asyncio.run(cache.get(NAME, 1))
    clock.now += STALE_SECONDS
    asyncio.run(cache.get(OTHER, 1))
    gc.collect()
    held = {thing.value.reveal() for thing in gc.get_objects() if type(thing) is Version}
    assert held & set(values.values()) == {values[OTHER]}


async def test_a_hit_takes_no_turn_of_the_loop_and_no_thread(cache: SecretCache, vault: SlowVault) -> None:
    expected = await cache.get(NAME, 1)
    hit = cache.get(NAME, 1)
    with pytest.raises(StopIteration) as finished:
        hit.send(None)  # a coroutine that waits for anything would yield here
    assert finished.value.value is expected


async def test_the_vault_is_read_off_the_loop(cache: SecretCache, vault: SlowVault) -> None:
    await cache.get(NAME, 1)
    assert threading.get_ident() not in vault.threads


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


async def test_all_who_wait_share_one_read(cache: SecretCache, vault: SlowVault, reports: Reports) -> None:
    vault.door.clear()
    waiting = [asyncio.create_task(cache.get(NAME, 1)) for _ in range(50)]
    await _until(lambda: bool(vault.reads))
    vault.door.set()
    assert len({id(version) for version in await asyncio.gather(*waiting)}) == 1
    assert vault.reads == [NAME]
    assert len(reports.seen) == 1


async def test_one_who_leaves_does_not_end_the_read_of_the_others(cache: SecretCache, vault: SlowVault) -> None:
    vault.door.clear()
    leaves, stays = (asyncio.create_task(cache.get(NAME, 1)) for _ in range(2))
    await _until(lambda: bool(vault.reads))
    leaves.cancel()
    await asyncio.sleep(0)
    vault.door.set()
    assert (await stays).value.reveal() == "first of " + NAME
    assert leaves.cancelled()
    assert vault.reads == [NAME]


async def test_a_failure_reaches_all_who_wait_and_nobody_after(cache: SecretCache, vault: SlowVault) -> None:
    vault.door.clear()
    vault.is_down = True
    waiting = [asyncio.create_task(cache.get(NAME, 1)) for _ in range(5)]
    await _until(lambda: bool(vault.reads))
    vault.door.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, VaultUnavailable) for outcome in outcomes)
    vault.is_down = False
    assert (await cache.get(NAME, 1)).value.reveal() == "first of " + NAME


@pytest.mark.parametrize("how", ["forget", "epoch"])
async def test_a_read_that_began_before_the_drop_does_not_serve_after_it(
    cache: SecretCache, vault: SlowVault, how: str
) -> None:
    vault.door.clear()
    early = asyncio.create_task(cache.get(NAME, 1))
    await _until(lambda: len(vault.reads) == 1)
    vault.rotate(NAME, "second")
    if how == "forget":
        cache.forget(NAME)
    epoch = 2 if how == "epoch" else 1
    late = asyncio.create_task(cache.get(NAME, epoch))
    await _until(lambda: len(vault.reads) == 2)
    vault.door.set()
    assert (await late).value.reveal() == "second"
    assert (await early).value.reveal() == "first of " + NAME
    assert (await cache.get(NAME, epoch)).value.reveal() == "second"


@pytest.mark.parametrize("how", ["forget", "epoch"])
async def test_a_slow_old_read_does_not_replace_a_newer_entry(cache: SecretCache, vault: SlowVault, how: str) -> None:
    old_door = vault.shut_new_door()
    early = asyncio.create_task(cache.get(NAME, 1))
    await _until(lambda: len(vault.reads) == 1)
    vault.shut_new_door().set()
    vault.rotate(NAME, "second")
    if how == "forget":
        cache.forget(NAME)
    epoch = 2 if how == "epoch" else 1
    assert (await cache.get(NAME, epoch)).value.reveal() == "second"
    old_door.set()
    await early
    assert (await cache.get(NAME, epoch)).value.reveal() == "second"
    assert len(vault.reads) == 2


async def test_an_old_read_that_came_late_does_not_bridge_a_new_epoch(cache: SecretCache, vault: SlowVault) -> None:
    old_door = vault.shut_new_door()
    early = asyncio.create_task(cache.get(NAME, 1))
    await _until(lambda: len(vault.reads) == 1)
    new_door = vault.shut_new_door()
    vault.is_down = True
    late = asyncio.create_task(cache.get(NAME, 2))
    await _until(lambda: len(vault.reads) == 2)
    old_door.set()
    await early
    new_door.set()
    with pytest.raises(VaultUnavailable):
        await late


def test_one_loop_after_the_other_may_use_the_same_cache(cache: SecretCache, vault: SlowVault, clock: Clock) -> None:
    for _ in range(3):
        clock.now += FRESH_SECONDS
        assert asyncio.run(cache.get(NAME, 1)).value.reveal() == "first of " + NAME
    assert len(vault.reads) == 3


def test_loops_in_several_threads_may_use_the_same_cache(cache: SecretCache) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(lambda: asyncio.run(cache.get(NAME, 1)).value.reveal()) for _ in range(8)]
        assert {run.result(10) for run in runs} == {"first of " + NAME}
