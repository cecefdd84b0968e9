"""A key that a person pastes: who has seen it, and that nothing of it is left where nobody looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings

from departments.keys import offboarding
from departments.keys import rotation as rotating
from departments.keys.admin_api import AdminUnavailable
from departments.keys.rotation import By, RotationError
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.keys.secret import Secret
from departments.keys.trial import Verdict
from departments.keys.vaults import SecretMissing, VaultUnavailable
from departments.keys.vaults.names import inbox_name
from tests.company import Company, make_key
from tests.departments.keys.rotating import Killed, Stage, in_project

Step, Result = Rotation.Step, Rotation.Result


@pytest.fixture
def alice(company: Company) -> By:
    return By(company.alice.pk, "Alice")


class Gate:
    """The secret manager, with something that happens when a key comes into the inbox."""

    def __init__(self, inner: Any, before: Callable[[], Any] | None, after: Callable[[], Any] | None) -> None:
        self._inner = inner
        self._acts = [before, after]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def stage(self, name: str, token: str, value: Secret) -> None:
        before, after = self._acts
        self._acts = [None, None]
        if before:
            before()
        self._inner.stage(name, token, value)
        if after:
            after()


def gated(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, before: Callable[[], Any] | None, after: Callable[[], Any] | None
) -> None:
    gate = Gate(stage.vault, before, after)
    monkeypatch.setattr(rotating, "current_vault", lambda: gate)


def die() -> None:
    raise Killed


def made(stage: Stage) -> Secret:
    """A key that a person has made at the provider."""
    return stage.provider.add("person", "by hand", None).value


def pasters(stage: Stage) -> set[Any]:
    rows = KeyAccess.objects.filter(department=stage.department, how=KeyAccess.How.PASTED)
    return set(rows.values_list("person_id", flat=True))


def inbox_is_empty(stage: Stage, rotation: Rotation) -> bool:
    try:
        stage.vault.describe(inbox_name(settings.ENVIRONMENT, rotation.pk))
    except SecretMissing:
        return True
    return False


def test_whoever_pasted_a_key_that_was_refused_has_no_access(installed: Stage, alice: By) -> None:
    rotation = installed.run(rotating.start_pasted(installed.department, make_key(), alice))
    assert (rotation.result, pasters(installed)) == (Result.ROLLED_BACK, set())


def test_whoever_pasted_the_key_in_use_keeps_it_when_the_next_one_is_refused(stage: Stage, alice: By, ivan: By) -> None:
    stage.run(rotating.start_pasted(stage.department, made(stage), alice))
    for person in (alice, ivan):
        refused = stage.run(rotating.start_pasted(stage.department, make_key(), person))
        assert (refused.result, pasters(stage)) == (Result.ROLLED_BACK, {alice.id})


def test_whoever_helps_a_waiting_exchange_with_a_key_is_known_to_have_seen_it(stage: Stage, alice: By) -> None:
    stage.provider.has_admin_key = False
    stage.install(made_by_us=False)
    rotation = stage.start("schedule")  # by the clock: nobody began it
    stage.step(rotation)
    key = made(stage)
    assert rotating.start_pasted(stage.department, key, alice).pk == rotation.pk
    stage.run_to(rotation, Step.PROVE)
    stage.provider._end(stage.first_key)
    rotating.look_again(rotation)
    assert stage.run(rotation).result == Result.DONE
    assert (stage.current_key(), pasters(stage)) == (key, {alice.id})


def test_a_paste_that_is_given_up_before_a_worker_came_leaves_nothing_in_the_inbox(installed: Stage, alice: By) -> None:
    rotation = rotating.start_pasted(installed.department, made(installed), alice)
    assert not inbox_is_empty(installed, rotation)
    rotating.give_up(rotation, alice)
    assert installed.run(rotation).result == Result.ROLLED_BACK
    assert inbox_is_empty(installed, rotation)
    assert pasters(installed) == set()


@pytest.mark.parametrize("side", ["before", "after"], ids=["not taken", "taken, and not said"])
def test_a_secret_manager_that_is_away_leaves_no_exchange_no_access_and_no_key(
    installed: Stage, alice: By, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    def away() -> None:
        raise VaultUnavailable("away")

    key = made(installed)
    gated(installed, monkeypatch, away if side == "before" else None, away if side == "after" else None)
    with pytest.raises(VaultUnavailable):
        rotating.start_pasted(installed.department, key, alice)
    rotation = Rotation.objects.get(department=installed.department)
    with pytest.raises(RotationError, match="under way"):  # it would be cleared away with the other
        rotating.start_pasted(installed.department, key, alice)
    assert installed.run(rotation).result == Result.ROLLED_BACK
    assert "needs_person" not in installed.story(rotation)
    assert inbox_is_empty(installed, rotation)
    assert (pasters(installed), installed.current_key() == key) == (set(), False)
    assert rotating.start_pasted(installed.department, key, alice).pk != rotation.pk


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_web_process_that_dies_while_it_hands_a_key_in_leaves_nothing_behind(
    installed: Stage, alice: By, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    first, second = made(installed), made(installed)
    gated(installed, monkeypatch, die if side == "before" else None, die if side == "after" else None)
    with pytest.raises(Killed):
        rotating.start_pasted(installed.department, first, alice)
    rotation = Rotation.objects.get(department=installed.department)
    assert pasters(installed) == {alice.id}, "the key may have been seen"
    installed.step(rotation)
    assert rotation.step == Step.PLAN, "a worker waits for as long as handing in may take"
    installed.clock.turn(minutes=3)
    installed.step(rotation)
    if side == "before":
        assert "waits for a person to paste" in rotation.problem
        assert rotating.start_pasted(installed.department, second, alice).pk == rotation.pk
    assert installed.run(rotation).result == Result.DONE
    assert installed.current_key() == (second if side == "before" else first)
    assert inbox_is_empty(installed, rotation)
    assert pasters(installed) == {alice.id}


def test_a_key_that_comes_too_late_is_refused_and_cleared_away(
    installed: Stage, alice: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.provider.failing = AdminUnavailable("away")
    rotation = installed.start("person_left")
    installed.step(rotation)

    def provider_comes_back() -> None:
        installed.provider.failing = None
        Rotation.objects.filter(pk=rotation.pk).update(not_before=None)
        installed.step(rotation)

    gated(installed, monkeypatch, provider_comes_back, None)
    late = made(installed)
    with pytest.raises(RotationError, match="under way"):
        rotating.start_pasted(installed.department, late, alice)
    assert installed.run(rotation).result == Result.DONE
    assert installed.current_key() != late
    assert inbox_is_empty(installed, rotation)
    assert pasters(installed) == set()


@pytest.mark.parametrize("being_tried", [False, True], ids=["in the inbox", "being tried"])
def test_somebody_who_leaves_takes_no_key_along_that_is_coming_into_use(
    installed: Stage, alice: By, being_tried: bool
) -> None:
    in_project(installed)
    pasted = made(installed)
    rotation = rotating.start_pasted(installed.department, pasted, alice)
    if being_tried:
        installed.provider.verdicts = [Verdict.UNCLEAR]
        installed.step(rotation)
        assert rotation.step == Step.VERIFY
    (joined,) = offboarding.rotate_what_they_could_see(alice.id, None, "left")
    assert joined.pk == rotation.pk
    installed.run(rotation)
    following = Rotation.objects.get(department=installed.department, closed_at=None)
    assert installed.run(following).result == Result.DONE
    assert list(installed.provider.live) == [following.new_key_id]
    assert installed.current_is_alive()
    assert pasters(installed) == set()
