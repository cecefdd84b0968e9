"""What the contract does not say of HashiCorp Vault, Azure Key Vault and Google Secret Manager."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from departments.keys.secret import Secret
from departments.keys.vaults import Vault, VaultRefused, VaultUnavailable, open_vault
from departments.keys.vaults.azure import secret_name
from departments.keys.vaults.gcp import secret_id
from departments.keys.vaults.labelled import KEEP_UNLABELLED, LabelledVault, Labels
from departments.keys.vaults.turns import in_turn
from tests.departments.keys.managers import azure
from tests.departments.keys.managers.azure import KeyVault
from tests.departments.keys.managers.hashicorp import KeyValueEngine

Token = Callable[[], str]
OTHERS = ("hashicorp", "azure", "gcp")


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def opened(kind: str, address: str, folder: Path) -> Vault:
    from google.auth.credentials import AnonymousCredentials

    (folder / "token").write_text("a token")
    options: dict[str, dict[str, object]] = {
        "hashicorp": {"url": address, "token_file": str(folder / "token")},
        "azure": {"url": address.replace("http:", "https:"), "credential": azure.Credential()},
        "gcp": {"project": "p", "endpoint": address, "credentials": AnonymousCredentials()},
    }
    return open_vault(kind, **options[kind])


@pytest.mark.parametrize("kind", OTHERS)
def test_a_manager_that_is_away_is_unavailable(kind: str, closed_port: int, name: str, tmp_path: Path) -> None:
    with pytest.raises(VaultUnavailable, match="not reached"):
        opened(kind, f"http://127.0.0.1:{closed_port}", tmp_path).get_current(name)


def test_a_token_without_rights_is_refused_without_the_manager_s_words(
    key_value_engine: tuple[KeyValueEngine, str], name: str, tmp_path: Path
) -> None:
    vault = opened("hashicorp", key_value_engine[1], tmp_path)
    with pytest.raises(VaultRefused) as refused:
        vault.get_current(name)
    assert "permission denied" not in str(refused.value)


def test_a_new_token_in_the_agent_s_file_is_taken_at_once(
    hashicorp_vault: Vault, name: str, token: Token, tmp_path: Path
) -> None:
    good = (tmp_path / "token").read_text()
    (tmp_path / "token").write_text("expired")
    with pytest.raises(VaultRefused):
        hashicorp_vault.describe(name)
    (tmp_path / "token").write_text(good + "\n")
    hashicorp_vault.stage(name, token(), Secret("a value"))


def test_a_name_that_azure_keeps_for_recovery_is_refused(azure_vault: Vault, name: str, token: Token) -> None:
    azure_vault.stage(name, token(), Secret("a value"))
    receipt = azure_vault.delete(name)
    assert receipt.recoverable_until is not None
    with pytest.raises(VaultRefused, match="recovery"):
        azure_vault.stage(name, token(), Secret("another"))


def test_each_kind_of_name_can_have_a_key_vault_of_its_own(
    key_vault: tuple[KeyVault, str, Path], token: Token, closed_port: int
) -> None:
    vault = open_vault(
        "azure",
        url=f"https://127.0.0.1:{closed_port}",
        vaults={"org": key_vault[1]},
        ca_file=str(key_vault[2]),
        credential=azure.Credential(),
    )
    vault.stage(f"chatgrid/test/org/{uuid.uuid4().hex}/openai-admin", token(), Secret("an admin key"))
    with pytest.raises(VaultUnavailable):
        vault.stage(f"chatgrid/test/dept/{uuid.uuid4().hex}/openai", token(), Secret("a key"))


@pytest.mark.parametrize("encode", [secret_id, secret_name])
def test_different_names_have_different_ids(encode: Callable[[str], str]) -> None:
    names = ["a/b", "a_b", "a.b", "a-b", "A/b", "a/2fb", "a_2fb", "n" * 400, "n" * 401]
    assert len({encode(name).lower() if encode is secret_name else encode(name) for name in names}) == len(names)


def test_taking_turns_lets_one_write_at_a_time(name: str) -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with in_turn(name):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with in_turn(name):
        inside.set()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_versions_without_labels_go_after_a_day_and_not_before(hashicorp_vault: Vault, name: str, token: Token) -> None:
    assert isinstance(hashicorp_vault, LabelledVault)
    old, young, current = token(), token(), token()
    for version_id in (old, young, current):
        hashicorp_vault.stage(name, version_id, Secret(version_id))
    labels, mark = hashicorp_vault._read_labels(name)
    assert isinstance(labels, Labels)
    labels.versions[old]["created"] = (datetime.now(UTC) - KEEP_UNLABELLED - timedelta(minutes=1)).isoformat()
    hashicorp_vault._write_labels(name, labels, mark)
    hashicorp_vault.promote(name, current, None)
    assert set(hashicorp_vault.describe(name).created) == {young, current}
