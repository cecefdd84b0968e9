"""`make run` gives each process the database roles it has a use for, and no other."""

from __future__ import annotations

import pytest

from chatgrid.dev.run import environment_of

PLAIN = {"CHATGRID_DATABASE_URL": "app", "PATH": "/bin"}
OWNER = {"CHATGRID_OWNER_DATABASE_URL": "owner"}
ROLES = {"CHATGRID_SEALER_DATABASE_URL": "sealer", "CHATGRID_RETENTION_DATABASE_URL": "retention"}


def roles(process: str, environment: dict[str, str]) -> dict[str, str]:
    given = environment_of(process, environment)
    assert given["CHATGRID_DATABASE_URL"] == "app"
    return {name: value for name, value in given.items() if name in OWNER | ROLES}


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        ("web", {}),
        ("beat", {}),
        ("worker", {"CHATGRID_RETENTION_DATABASE_URL": "retention"}),
        ("sealer", {"CHATGRID_SEALER_DATABASE_URL": "sealer"}),
    ],
)
def test_a_process_gets_its_own_role_and_nobody_the_owner_s(process: str, expected: dict[str, str]) -> None:
    assert roles(process, PLAIN | OWNER | ROLES) == expected


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        ("web", {}),
        ("worker", {"CHATGRID_RETENTION_DATABASE_URL": "owner"}),
        ("sealer", {"CHATGRID_SEALER_DATABASE_URL": "owner"}),
    ],
)
def test_the_owner_stands_in_for_a_role_that_a_server_does_not_have(process: str, expected: dict[str, str]) -> None:
    assert roles(process, PLAIN | OWNER) == expected


def test_only_the_web_server_keeps_a_pool() -> None:
    assert "CHATGRID_PAGE_POOL_SIZE" not in environment_of("web", PLAIN)
    assert environment_of("worker", PLAIN)["CHATGRID_PAGE_POOL_SIZE"] == "0"
