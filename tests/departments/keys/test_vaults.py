"""The contract of departments.keys.vaults.base, held against every backend."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from departments.keys.secret import Secret
from departments.keys.vaults import (
    SecretMissing,
    StaleExpectation,
    TokenReused,
    Vault,
    VaultError,
    VaultRefused,
    open_vault,
)
from departments.keys.vaults.base import MAX_VALUE_BYTES

Token = Callable[[], str]
OLD, NEW, OTHER = (
    Secret(json.dumps({"v": 1, "api_key": word * 8, "note": "é 漢"})) for word in ("old", "new", "other")
)


@pytest.fixture
def first(vault: Vault, name: str, token: Token) -> str:
    """The id of the version that is current before the test begins."""
    version_id = token()
    vault.stage(name, version_id, OLD)
    vault.promote(name, version_id, None)
    vault.drop_stage(name, version_id)
    return version_id


def rotate(vault: Vault, name: str, version_id: str, value: Secret, expected: str) -> None:
    vault.stage(name, version_id, value)
    vault.promote(name, version_id, expected)
    vault.drop_stage(name, version_id)


def test_what_was_promoted_is_read(vault: Vault, name: str, first: str) -> None:
    version = vault.get_current(name)
    assert version.version_id == first
    assert version.value == OLD
    assert vault.previous(name) is None


def test_the_first_staging_shows_nothing_to_readers(vault: Vault, name: str, token: Token) -> None:
    version_id = token()
    vault.stage(name, version_id, NEW)
    with pytest.raises(SecretMissing):
        vault.get_current(name)
    assert vault.previous(name) is None
    assert vault.get_version(name, version_id).value == NEW
    described = vault.describe(name)
    assert (described.current, described.pending, described.previous) == (None, version_id, None)
    assert set(described.created) == {version_id}


def test_staging_leaves_the_current_version_alone(vault: Vault, name: str, token: Token, first: str) -> None:
    version_id = token()
    vault.stage(name, version_id, NEW)
    assert vault.get_current(name).value == OLD
    assert vault.describe(name).pending == version_id


def test_promoting_moves_current_and_remembers_the_previous(vault: Vault, name: str, token: Token, first: str) -> None:
    second = token()
    rotate(vault, name, second, NEW, first)
    assert vault.get_current(name).value == NEW
    previous = vault.previous(name)
    assert previous is not None
    assert (previous.version_id, previous.value) == (first, OLD)
    described = vault.describe(name)
    assert (described.current, described.pending, described.previous) == (second, None, first)
    assert set(described.created) == {first, second}
    assert all(abs(datetime.now(UTC) - moment) < timedelta(minutes=5) for moment in described.created.values())


def test_a_rotation_is_rolled_back_by_promoting_the_previous(vault: Vault, name: str, token: Token, first: str) -> None:
    second = token()
    rotate(vault, name, second, NEW, first)
    vault.promote(name, first, second)
    assert vault.get_current(name).value == OLD
    assert vault.describe(name).previous == second


def labels(vault: Vault, name: str) -> tuple[str | None, str | None, str | None, set[str]]:
    """What a repeated step must leave alone. Not the times: moto dates a version anew when its labels move."""
    described = vault.describe(name)
    return described.current, described.pending, described.previous, set(described.created)


def test_every_step_may_be_repeated(vault: Vault, name: str, token: Token, first: str) -> None:
    second = token()
    steps = [
        lambda: vault.stage(name, second, NEW),
        lambda: vault.promote(name, second, first),
        lambda: vault.drop_stage(name, second),
    ]
    for step in steps:
        step()
        stood = labels(vault, name)
        step()
        assert labels(vault, name) == stood
    for step in steps:  # and all of them from the start, as after a crash that lost the state
        step()
    assert vault.get_current(name).value == NEW
    assert labels(vault, name) == stood


def test_a_token_never_stands_for_two_values(vault: Vault, name: str, token: Token, first: str) -> None:
    second = token()
    vault.stage(name, second, NEW)
    with pytest.raises(TokenReused):
        vault.stage(name, second, OTHER)
    with pytest.raises(TokenReused):
        vault.stage(name, first, OTHER)
    assert vault.get_version(name, second).value == NEW
    assert vault.get_current(name).value == OLD


def test_a_later_staging_takes_the_label(vault: Vault, name: str, token: Token, first: str) -> None:
    lost, later = token(), token()
    vault.stage(name, lost, NEW)
    vault.stage(name, later, OTHER)
    assert vault.describe(name).pending == later
    vault.drop_stage(name, lost)
    assert vault.describe(name).pending == later, "dropping is for the version named, not for whatever is pending"


def test_a_dropped_version_can_be_staged_again(vault: Vault, name: str, token: Token, first: str) -> None:
    second = token()
    vault.stage(name, second, NEW)
    vault.drop_stage(name, second)
    assert vault.describe(name).pending is None
    vault.stage(name, second, NEW)
    assert vault.describe(name).pending == second
    with pytest.raises(TokenReused):
        vault.stage(name, second, OTHER)


@pytest.mark.parametrize("expected", ["nothing", "another"])
def test_promoting_on_a_stale_expectation_changes_nothing(
    vault: Vault, name: str, token: Token, first: str, expected: str
) -> None:
    second = token()
    vault.stage(name, second, NEW)
    with pytest.raises(StaleExpectation):
        vault.promote(name, second, None if expected == "nothing" else token())
    assert vault.get_current(name).value == OLD
    vault.promote(name, second, first)
    assert vault.get_current(name).value == NEW


def test_expecting_something_where_nothing_is_current_is_stale(vault: Vault, name: str, token: Token) -> None:
    version_id = token()
    vault.stage(name, version_id, NEW)
    with pytest.raises(StaleExpectation):
        vault.promote(name, version_id, token())
    with pytest.raises(SecretMissing):
        vault.get_current(name)


def test_of_eight_rotations_at_once_exactly_one_wins(vault: Vault, name: str, token: Token, first: str) -> None:
    tokens = [token() for _ in range(8)]
    for number, version_id in enumerate(tokens):
        vault.stage(name, version_id, Secret(f'{{"api_key": "{number}"}}'))
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda version_id: _outcome(vault, name, version_id, first), tokens))
    assert sorted(outcomes) == ["StaleExpectation"] * 7 + ["won"]
    assert vault.describe(name).current == tokens[outcomes.index("won")]
    assert vault.describe(name).previous == first


def _outcome(vault: Vault, name: str, version_id: str, expected: str | None) -> str:
    try:
        vault.promote(name, version_id, expected)
    except VaultError as error:
        return type(error).__name__
    return "won"


def test_eight_first_stagings_at_once_all_arrive(vault: Vault, name: str, token: Token) -> None:
    tokens = [token() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda version_id: vault.stage(name, version_id, Secret(version_id)), tokens))
        outcomes = list(pool.map(lambda version_id: _outcome(vault, name, version_id, None), tokens))
    assert sorted(outcomes) == ["StaleExpectation"] * 7 + ["won"]
    assert all(vault.get_version(name, version_id).value.reveal() == version_id for version_id in tokens)


def test_what_is_not_there_is_missing(vault: Vault, name: str, token: Token) -> None:
    unknown = token()
    for attempt in (
        lambda: vault.get_current(name),
        lambda: vault.get_version(name, unknown),
        lambda: vault.previous(name),
        lambda: vault.describe(name),
        lambda: vault.promote(name, unknown, None),
        lambda: vault.delete(name),
    ):
        with pytest.raises(SecretMissing):
            attempt()
    vault.drop_stage(name, unknown)


def test_a_version_that_was_never_staged_is_missing(vault: Vault, name: str, token: Token, first: str) -> None:
    for attempt in (lambda: vault.get_version(name, token()), lambda: vault.promote(name, token(), first)):
        with pytest.raises(SecretMissing):
            attempt()
    vault.drop_stage(name, token())
    assert vault.get_current(name).value == OLD


def test_a_deleted_secret_is_gone_and_has_a_receipt(vault: Vault, name: str, token: Token, first: str) -> None:
    second = token()
    rotate(vault, name, second, NEW, first)
    receipt = vault.delete(name)
    assert receipt.name == name
    assert set(receipt.version_ids) == {first, second}
    assert abs(datetime.now(UTC) - receipt.deleted_at) < timedelta(minutes=5)
    for attempt in (
        lambda: vault.get_current(name),
        lambda: vault.get_version(name, second),
        lambda: vault.previous(name),
        lambda: vault.describe(name),
        lambda: vault.promote(name, first, second),
        lambda: vault.delete(name),
    ):
        with pytest.raises(SecretMissing):
            attempt()


def test_names_do_not_mix(vault: Vault, name: str, token: Token, first: str) -> None:
    neighbour = name + "/more"
    vault.stage(neighbour, first, NEW)  # the same token, under another name
    vault.promote(neighbour, first, None)
    assert vault.get_current(name).value == OLD
    assert vault.get_current(neighbour).value == NEW


@pytest.mark.parametrize("bad", ["", "a b", "../up\x00", "é", "n" * 513, "ends/in-Ab12Cd", "line\n"])
def test_it_refuses_names_that_some_backend_cannot_hold(vault: Vault, token: Token, bad: str) -> None:
    for attempt in (
        lambda: vault.stage(bad, token(), NEW),
        lambda: vault.get_current(bad),
        lambda: vault.promote(bad, token(), None),
        lambda: vault.describe(bad),
        lambda: vault.delete(bad),
    ):
        with pytest.raises(VaultRefused):
            attempt()


@pytest.mark.parametrize("bad", ["", "short", "t" * 65, "with space " * 4, "a" * 32 + "\n"])
def test_it_refuses_tokens_that_are_no_version_ids(vault: Vault, name: str, bad: str) -> None:
    with pytest.raises(VaultRefused):
        vault.stage(name, bad, NEW)
    with pytest.raises(SecretMissing):
        vault.describe(name)


@pytest.mark.parametrize("size", [0, MAX_VALUE_BYTES + 1])
def test_it_refuses_empty_and_oversized_values(vault: Vault, name: str, token: Token, size: int) -> None:
    with pytest.raises(VaultRefused) as refused:
        vault.stage(name, token(), Secret("v" * size))
    assert "vvv" not in str(refused.value)
    vault.stage(name, token(), Secret("v" * MAX_VALUE_BYTES))


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="local, aws, hashicorp, azure, gcp"):
        open_vault("drawer")
