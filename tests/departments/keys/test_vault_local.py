"""What only the encrypted folder promises: files, modes, processes, sudden death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing, Vault, VaultRefused, VaultUnavailable, open_vault
from departments.keys.vaults import local as local_module

Token = Callable[[], str]
VALUE = Secret('{"api_key": "the old value"}')
ROOT = Path(local_module.__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@pytest.fixture
def current(local_vault: Vault, name: str, token: Token) -> str:
    version_id = token()
    local_vault.stage(name, version_id, VALUE)
    local_vault.promote(name, version_id, None)
    local_vault.drop_stage(name, version_id)
    return version_id


def _secret_file(folder: Path) -> Path:
    [path] = folder.glob("*.json")
    return path


def test_a_second_process_reads_what_the_first_wrote(folder: Path, name: str, current: str) -> None:
    assert open_vault("local", folder=str(folder)).get_current(name).value == VALUE


def test_nothing_on_disk_shows_a_value_or_is_open_to_others(folder: Path, current: str) -> None:
    assert folder.stat().st_mode & 0o077 == 0
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name
        assert b"the old value" not in path.read_bytes()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_it_refuses_a_key_file_open_to_others(folder: Path, current: str, mode: int) -> None:
    (folder / "key").chmod(mode)
    with pytest.raises(VaultRefused, match="chmod 600"):
        open_vault("local", folder=folder)


def test_it_refuses_a_key_file_that_is_a_link(folder: Path, current: str, tmp_path: Path) -> None:
    (folder / "key").rename(tmp_path / "elsewhere")
    (folder / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VaultUnavailable):
        open_vault("local", folder=folder)


def test_it_makes_no_new_key_over_secrets_that_need_the_old(folder: Path, current: str) -> None:
    (folder / "key").unlink()
    with pytest.raises(VaultRefused, match="backup"):
        open_vault("local", folder=folder)
    assert not (folder / "key").exists()


def test_another_key_opens_nothing(folder: Path, name: str, current: str) -> None:
    (folder / "key").write_bytes(os.urandom(32))
    with pytest.raises(VaultRefused, match="does not open"):
        open_vault("local", folder=folder).get_current(name)


def test_a_key_of_the_wrong_length_is_refused(folder: Path, current: str) -> None:
    (folder / "key").write_bytes(b"short")
    with pytest.raises(VaultRefused, match="32 bytes"):
        open_vault("local", folder=folder)


def test_a_value_moved_to_another_version_or_name_does_not_open(
    local_vault: Vault, folder: Path, name: str, token: Token, current: str
) -> None:
    path = _secret_file(folder)
    record = json.loads(path.read_bytes())
    other = token()
    local_vault.stage(name, other, Secret('{"api_key": "new"}'))
    moved = json.loads(path.read_bytes())
    moved["versions"][current] = moved["versions"][other]
    path.write_text(json.dumps(moved))
    with pytest.raises(VaultRefused, match="does not open"):
        local_vault.get_current(name)
    path.write_text(json.dumps({**record, "name": name + "/other"}))
    with pytest.raises(VaultRefused, match="does not open"):
        local_vault.get_current(name)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "x", "more": 1}', '{"labels": {}}'])
def test_a_damaged_file_is_said_to_be_damaged(
    local_vault: Vault, folder: Path, name: str, current: str, content: str
) -> None:
    _secret_file(folder).write_text(content)
    with pytest.raises(VaultRefused, match="damaged"):
        local_vault.get_current(name)


def test_unlabelled_versions_go_after_a_day(local_vault: Vault, name: str, token: Token, current: str) -> None:
    dropped = token()
    local_vault.stage(name, dropped, Secret("dropped"))
    local_vault.drop_stage(name, dropped)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=23)):
        local_vault.stage(name, token(), Secret("soon"))
        assert dropped in local_vault.describe(name).created
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=25)):
        local_vault.stage(name, token(), Secret("later"))
        assert dropped not in local_vault.describe(name).created
        assert current in local_vault.describe(name).created


def test_a_held_lock_ends_in_a_sentence(
    local_vault: Vault, folder: Path, name: str, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_module, "LOCK_SECONDS", 0.05)
    holder = open_vault("local", folder=folder)
    with holder._writing(), pytest.raises(VaultUnavailable, match="Another process"):  # type: ignore[attr-defined]
        local_vault.stage(name, token(), VALUE)
    local_vault.stage(name, token(), VALUE)


def _run(program: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


RACE = """
import sys
from departments.keys.vaults import StaleExpectation, open_vault
folder, name, token, expected = sys.argv[1:]
vault = open_vault("local", folder=folder)
print("ready", flush=True)
sys.stdin.readline()
try:
    vault.promote(name, token, expected)
    print("won")
except StaleExpectation:
    print("stale")
"""


def test_of_four_processes_at_once_exactly_one_wins(
    local_vault: Vault, folder: Path, name: str, token: Token, current: str
) -> None:
    tokens = [token() for _ in range(4)]
    for version_id in tokens:
        local_vault.stage(name, version_id, Secret(version_id))
    racers = [_run(RACE, str(folder), name, version_id, current) for version_id in tokens]
    assert all(racer.stdout.readline() == "ready\n" for racer in racers)
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    outcomes = [racer.communicate(timeout=30)[0].strip() for racer in racers]
    assert sorted(outcomes) == ["stale", "stale", "stale", "won"]
    assert local_vault.describe(name).current == tokens[outcomes.index("won")]


# Ends itself with SIGKILL before the n-th call that touches the disk, wherever in the vault that is.
DIE_AT = """
import os, signal, sys
from pathlib import Path
folder, name, token, expected, step, fatal = sys.argv[1:]
from departments.keys.secret import Secret
from departments.keys.vaults import open_vault
calls = 0

def counted(function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == int(fatal):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

os.open, os.fsync, os.close, Path.replace = map(counted, (os.open, os.fsync, os.close, Path.replace))
vault = open_vault("local", folder=folder)
if step == "stage":
    vault.stage(name, token, Secret("the new value"))
else:
    vault.promote(name, token, expected or None)
print("done")
"""


@pytest.mark.parametrize("step", ["stage", "promote"])
def test_a_process_killed_at_any_point_leaves_the_old_state_or_the_new(
    local_vault: Vault, folder: Path, name: str, token: Token, current: str, step: str
) -> None:
    killed = 0
    for fatal in range(1, 40):
        version_id, before = token(), local_vault.describe(name).current
        if step == "promote":
            local_vault.stage(name, version_id, Secret("the new value"))
        died = _run(DIE_AT, str(folder), name, version_id, before or "", step, str(fatal))
        said, _ = died.communicate(timeout=30)
        assert local_vault.get_current(name).value in (VALUE, Secret("the new value"))
        _finish(open_vault("local", folder=folder), name, version_id, before)
        assert not list(folder.glob("*.new")), "the next writer clears what a dead one left"
        if said:
            break
        assert died.returncode == -signal.SIGKILL
        killed += 1
    assert said == "done\n"
    assert killed >= 6, "the test has to hit the middle of a write"


def _finish(vault: Vault, name: str, version_id: str, before: str | None) -> None:
    """What a worker does after a crash: the same steps again."""
    vault.stage(name, version_id, Secret("the new value"))
    vault.promote(name, version_id, before)
    vault.drop_stage(name, version_id)
    assert vault.get_current(name).version_id == version_id


def test_a_process_killed_while_it_makes_the_vault_leaves_one_that_opens(folder: Path, name: str) -> None:
    for fatal in range(1, 8):
        here = folder / str(fatal)
        died = _run(DIE_AT, str(here), name, str(uuid.uuid4()), "", "stage", str(fatal))
        died.communicate(timeout=30)
        assert died.returncode == -signal.SIGKILL
        vault = open_vault("local", folder=here)
        with pytest.raises(SecretMissing):
            vault.get_current(name)
        _finish(vault, name, str(uuid.uuid4()), None)
