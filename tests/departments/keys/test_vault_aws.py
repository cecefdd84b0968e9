"""What only AWS promises, and where its stand-in is more lenient than the service."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from departments.keys.secret import Secret
from departments.keys.vaults import (
    SecretMissing,
    StaleExpectation,
    TokenReused,
    Vault,
    VaultRefused,
    VaultUnavailable,
    open_vault,
)
from departments.keys.vaults import aws as aws_module

Token = Callable[[], str]
REGION = "eu-central-1"
VALUE = Secret('{"api_key": "a value that no line may show"}')


@pytest.fixture
def raw(aws_endpoint: str, aws_credentials: None) -> Any:
    """The SDK itself, to look at what the vault left behind and to prepare what it may find."""
    import boto3

    return boto3.session.Session().client("secretsmanager", region_name=REGION, endpoint_url=aws_endpoint)


@pytest.fixture
def current(aws_vault: Vault, name: str, token: Token) -> str:
    version_id = token()
    aws_vault.stage(name, version_id, VALUE)
    aws_vault.promote(name, version_id, None)
    aws_vault.drop_stage(name, version_id)
    return version_id


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_secret_carries_its_tags(raw: Any, name: str, current: str) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in raw.describe_secret(SecretId=name)["Tags"]}
    assert tags == {"app": "chatgrid", "env": "test", "department": name.split("/")[3]}


def test_the_label_current_sits_on_one_version_only(
    raw: Any, aws_vault: Vault, name: str, token: Token, current: str
) -> None:
    second = token()
    aws_vault.stage(name, second, Secret("second"))
    aws_vault.promote(name, second, current)
    stages = raw.describe_secret(SecretId=name)["VersionIdsToStages"]
    assert [version_id for version_id, labels in stages.items() if "AWSCURRENT" in labels] == [second]


def test_the_token_is_checked_before_the_stand_in_could_overwrite(
    raw: Any, aws_vault: Vault, name: str, token: Token, current: str
) -> None:
    """AWS only: the service refuses another value under a token, the stand-in takes it. So the refusal is ours."""
    second = token()
    aws_vault.stage(name, second, Secret("second"))
    aws_vault.drop_stage(name, second)  # without a label AWS no longer lists the version, but still holds it
    with pytest.raises(TokenReused):
        aws_vault.stage(name, second, Secret("third"))
    assert raw.get_secret_value(SecretId=name, VersionId=second)["SecretString"] == "second"


def test_another_version_than_the_one_asked_for_is_no_answer(
    aws_vault: Any, name: str, token: Token, current: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = token()
    aws_vault.stage(name, pending, Secret("pending"))
    read = aws_vault._client.get_secret_value
    monkeypatch.setattr(aws_vault._client, "get_secret_value", lambda **asked: read(SecretId=name, VersionId=pending))
    with pytest.raises(VaultUnavailable, match="another version"):
        aws_vault.get_current(name)
    with pytest.raises(VaultUnavailable, match="another version"):
        aws_vault.get_version(name, current)


def test_a_secret_made_without_a_value_by_another_tool_is_taken_over(
    raw: Any, aws_vault: Vault, name: str, token: Token
) -> None:
    raw.create_secret(Name=name)
    version_id = token()
    aws_vault.stage(name, version_id, VALUE)
    with pytest.raises(SecretMissing):
        aws_vault.get_current(name)
    aws_vault.promote(name, version_id, None)
    assert aws_vault.get_current(name).value == VALUE


def test_a_label_moved_between_look_and_swap_is_a_stale_expectation(
    raw: Any, aws_vault: Vault, name: str, token: Token, current: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = token(), token()
    aws_vault.stage(name, ours, Secret("ours"))
    aws_vault.stage(name, theirs, Secret("theirs"))
    seen = aws_vault._labels(name)  # type: ignore[attr-defined]
    aws_vault.promote(name, theirs, current)
    answers = iter([seen])
    look = aws_vault._labels  # type: ignore[attr-defined]
    monkeypatch.setattr(aws_vault, "_labels", lambda name: next(answers, None) or look(name))
    with pytest.raises(StaleExpectation, match=theirs):
        aws_vault.promote(name, ours, current)
    assert aws_vault.get_current(name).value.reveal() == "theirs"


def test_a_deleted_secret_can_be_recovered_for_thirty_days(
    raw: Any, aws_vault: Vault, name: str, token: Token, current: str
) -> None:
    receipt = aws_vault.delete(name)
    assert receipt.recoverable_until is not None
    assert abs(receipt.recoverable_until - datetime.now(UTC) - timedelta(days=30)) < timedelta(hours=1)
    with pytest.raises(VaultRefused, match="scheduled for deletion"):
        aws_vault.stage(name, token(), VALUE)
    raw.restore_secret(SecretId=name)
    assert aws_vault.get_current(name).value == VALUE


def test_a_key_of_the_customer_is_passed_on(
    aws_endpoint: str, aws_credentials: None, raw: Any, name: str, token: Token
) -> None:
    vault = open_vault("aws", region=REGION, endpoint_url=aws_endpoint, kms_key_id="alias/chatgrid")
    vault.stage(name, token(), VALUE)
    assert raw.describe_secret(SecretId=name)["KmsKeyId"] == "alias/chatgrid"


def test_an_unreachable_manager_is_unavailable_within_seconds(
    aws_credentials: None, name: str, closed_port: int
) -> None:
    vault = open_vault("aws", region=REGION, endpoint_url=f"http://127.0.0.1:{closed_port}")
    started = time.monotonic()
    with pytest.raises(VaultUnavailable, match="not reached"):
        vault.get_current(name)
    assert time.monotonic() - started < 15


def _answering(status: int, code: str, message: str = "") -> tuple[socket.socket, str]:
    """A server that gives every request the same error."""
    listener = socket.create_server(("127.0.0.1", 0))
    body = f'{{"__type": "{code}", "message": "{message}"}}'
    head = f"HTTP/1.1 {status} x\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n"
    answer = f"{head}Connection: close\r\n\r\n{body}".encode()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ThrottlingException", VaultUnavailable),
        (500, "InternalServiceError", VaultUnavailable),
        (503, "ServiceUnavailableException", VaultUnavailable),
        (400, "AccessDeniedException", VaultRefused),
        (400, "DecryptionFailure", VaultRefused),
        (400, "UnrecognizedClientException", VaultRefused),
        (400, "ResourceNotFoundException", SecretMissing),
    ],
)
def test_errors_of_the_service_become_those_of_the_contract(
    aws_credentials: None,
    name: str,
    status: int,
    code: str,
    expected: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aws_module, "ATTEMPTS", 1)  # the SDK waits for seconds before it asks a busy service again
    listener, url = _answering(status, code, message="quotes a value")
    try:
        with pytest.raises(expected, match=code) as translated:
            open_vault("aws", region=REGION, endpoint_url=url).get_current(name)
    finally:
        listener.close()
    assert "quotes" not in str(translated.value)
    assert translated.value.__cause__ is None, "a traceback must not print the service's words either"
    assert translated.value.__suppress_context__


def test_no_value_appears_in_the_sdks_own_log(
    aws_vault: Vault, name: str, token: Token, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for logger in ("botocore", "boto3", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=logger)
    version_id = token()
    aws_vault.stage(name, version_id, VALUE)
    aws_vault.promote(name, version_id, None)
    assert aws_vault.get_current(name).value == VALUE
    assert "botocore" in {record.name.partition(".")[0] for record in caplog.records}, "nothing was logged at all"
    assert "no line may show" not in caplog.text
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in caplog.text
