"""A process that dies anywhere in a rotation: one crash, two crashes, before and after every effect.

After each crash and at the end: the current version of the secret never holds a dead key. At the end: exactly one live
key, nothing pending, and the record tells every step in order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from departments.keys import rotation as rotating
from departments.keys.admin_key_rotation import STEPS as ADMIN_STEPS
from departments.keys.rotation import By
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_steps import STEPS
from departments.keys.vaults import Vault
from tests.company import Company
from tests.departments.keys.rotating import (
    AdminStage,
    Clock,
    Killed,
    Killer,
    MemoryProvider,
    Point,
    Stage,
    both_sides,
    pairs_from,
)

Step, Result = Rotation.Step, Rotation.Result
FORWARD = (
    Step.PLAN,
    Step.MINT,
    Step.STAGE,
    Step.VERIFY,
    Step.PROMOTE,
    Step.UNSTAGE,
    Step.ANNOUNCE,
    Step.DRAIN,
    Step.RETIRE,
    Step.PROVE,
)
POINTS = both_sides(FORWARD)
NAMES = [f"{side}-{step}" for step, side in POINTS]
STORY = [
    *("planned", "minted", "staged", "verified", "promoted", "unstaged"),
    *("announced", "drained", "retired", "proved", "closed"),
]


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Killer:
    killer = Killer()
    for steps in (STEPS, ADMIN_STEPS):
        for step, act in list(steps.items()):
            monkeypatch.setitem(steps, step, killer.around(str(step), act))
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)
    return killer


def set_up(company: Company, vault: Vault, monkeypatch: pytest.MonkeyPatch, kind: type[Stage] = Stage) -> Stage:
    clock = Clock()
    stage = kind(company.hr, vault, MemoryProvider(clock), clock)
    monkeypatch.setattr(rotating, "current_vault", lambda: vault)
    stage.install()
    stage.provider.before_deletion.append(lambda key_id: never_the_current_one(stage, key_id))
    return stage


@pytest.fixture
def stage(company: Company, local_vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return set_up(company, local_vault, monkeypatch)


@pytest.fixture
def admin_stage(company: Company, local_vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return set_up(company, local_vault, monkeypatch, AdminStage)


@pytest.fixture
def aws_stage(company: Company, aws_vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return set_up(company, aws_vault, monkeypatch)


def never_the_current_one(stage: Stage, key_id: str) -> None:
    held = stage.provider.live.get(key_id)
    assert held is None or held[1] != stage.current_key(), "the key that readers get was deleted"


def live_through(stage: Stage, rotation: Rotation) -> Rotation:
    """Workers that die when they are told to, and others that take over when the claim of the dead has ended."""
    for _ in range(200):
        try:
            stage.step(rotation)
        except Killed:
            rotation.refresh_from_db()
        assert stage.current_is_alive(), f"the current key is dead at {rotation.step}"
        if rotation.closed_at:
            return rotation
        wake = max(filter(None, (rotation.not_before, rotation.claimed_until, stage.clock.now())))
        stage.clock.at = wake + timedelta(seconds=1)
    raise AssertionError(f"the rotation does not end: {rotation.step}, {rotation.problem}")


def check_the_end(stage: Stage, rotation: Rotation) -> None:
    assert rotation.result == Result.DONE
    assert list(stage.provider.live) == [rotation.new_key_id], "exactly one live key"
    described = stage.vault.describe(stage.name)
    assert (described.current, described.pending) == (str(rotation.pk), None)
    story = [word for word in stage.story(rotation) if word not in {"started", "repeated"}]
    # a new key whose value died with its process is in the record too: it was minted, then another
    told = [word for word, _ in itertools.groupby(story)]
    assert told == [word for word in STORY if rotation.mode != "emergency" or word != "drained"]


@pytest.mark.parametrize("point", POINTS, ids=NAMES)
def test_one_crash_and_then_a_second_rotation(stage: Stage, killer: Killer, point: Point) -> None:
    killer.points = [point]
    check_the_end(stage, live_through(stage, stage.start("person_left")))
    assert killer.struck == 1
    check_the_end(stage, live_through(stage, stage.start("leak")))


def two_crashes_from(stage: Stage, killer: Killer, first: Point) -> None:
    """The second comes to the worker that took over. A value that was not stored is lost, and its key made again."""
    again = both_sides([Step.MINT]) if first == (Step.STAGE, "before") else ()
    for pair in pairs_from(first, POINTS, again):
        killer.points, killer.struck = list(pair), 0
        check_the_end(stage, live_through(stage, stage.start("person_left")))
        assert killer.struck == 2, pair


@pytest.mark.parametrize("first", POINTS, ids=NAMES)
def test_two_crashes_in_every_order(stage: Stage, killer: Killer, first: Point) -> None:
    two_crashes_from(stage, killer, first)


@pytest.mark.parametrize("first", POINTS, ids=NAMES)
def test_two_crashes_in_every_order_with_an_admin_key(admin_stage: Stage, killer: Killer, first: Point) -> None:
    two_crashes_from(admin_stage, killer, first)


@pytest.mark.parametrize("point", POINTS, ids=NAMES)
def test_one_crash_over_http_to_secrets_manager(aws_stage: Stage, killer: Killer, point: Point) -> None:
    killer.points = [point]
    check_the_end(aws_stage, live_through(aws_stage, aws_stage.start("person_left")))
    assert killer.struck == 1


BACK = both_sides([Step.REVERT, Step.UNSTAGE, Step.ANNOUNCE, Step.DRAIN, Step.RETIRE, Step.PROVE])


@pytest.mark.parametrize("point", BACK, ids=[f"{side}-{step}" for step, side in BACK])
def test_a_crash_on_the_way_back(stage: Stage, killer: Killer, company: Company, point: Point) -> None:
    before = stage.current_key()
    rotation = stage.run_to(stage.start("person_left"), Step.DRAIN)
    rotating.give_up(rotation, By(company.ivan.pk, company.ivan.name))
    killer.points = [point]
    live_through(stage, rotation)
    assert killer.struck == 1
    assert rotation.result == Result.ROLLED_BACK
    assert stage.current_key() == before
    assert list(stage.provider.live) == [stage.first_key]


@pytest.mark.parametrize("point", [p for p in POINTS if p[0] != Step.MINT], ids=lambda p: f"{p[1]}-{p[0]}")
def test_a_crash_with_a_pasted_key(stage: Stage, killer: Killer, company: Company, point: Point) -> None:
    pasted = stage.provider.add("person", "by hand", None)
    rotation = rotating.start_pasted(stage.department, pasted.value, By(company.ivan.pk, company.ivan.name))
    killer.points = [point]
    live_through(stage, rotation)
    assert killer.struck == 1
    assert rotation.result == Result.DONE
    assert list(stage.provider.live) == [pasted.id]
    assert stage.current_key() == pasted.value


class Watched:
    """A vault or a provider whose every call is a point to die at, before it and after it."""

    def __init__(self, inner: Any, visit: Callable[[str], None]) -> None:
        self._inner = inner
        self._visit = visit

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found) or name.startswith("_"):
            return found

        def called(*args: Any, **kwargs: Any) -> Any:
            self._visit(f"before {name}")
            answer = found(*args, **kwargs)
            self._visit(f"after {name}")
            return answer

        return called


def test_a_crash_around_every_single_call(stage: Stage, monkeypatch: pytest.MonkeyPatch, killer: Killer) -> None:
    """Finer than the steps: each call to the secret manager and to the provider that a whole rotation makes."""
    visits: list[str] = []
    deadly = [-1]

    def visit(name: str) -> None:
        visits.append(name)
        if len(visits) == deadly[0]:
            raise Killed

    vault, provider = stage.vault, stage.provider
    stage.vault = Watched(vault, visit)  # type: ignore[assignment]
    watched = Watched(provider, visit)
    monkeypatch.setattr(MemoryProvider, "_opened", lambda self: _entered(watched))
    stage.provider = watched  # type: ignore[assignment]
    monkeypatch.setattr(type(stage), "current_is_alive", lambda self: _alive(self, vault, provider))
    live_through(stage, stage.start("person_left"))
    calls = list(visits)
    assert {"after create_key", "after promote", "before retire_key", "after look"} <= set(calls)
    for number in range(1, len(calls) + 1):
        visits.clear()
        deadly[0] = number
        rotation = live_through(stage, stage.start("person_left"))
        deadly[0] = -1
        check_the_end(stage, rotation)


def _entered(watched: Any) -> Any:
    from contextlib import nullcontext

    return nullcontext(watched)


def _alive(stage: Stage, vault: Vault, provider: MemoryProvider) -> bool:
    import json

    value = json.loads(vault.get_current(stage.name).value.reveal())["api_key"]
    return any(held.reveal() == value for _, held in provider.live.values())
