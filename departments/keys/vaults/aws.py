"""AWS Secrets Manager behind the contract of `base.Vault`.

Rules:
- Every read names its version or its label; "the default" is never used, and no other version is taken for an answer.
- A new name is made with an empty first version of a fixed id. AWS makes the first version current whatever is asked
  for, and staging must not make anything visible. Readers are told that version is nothing.
- Labels move only by `update_secret_version_stage` with the version they are taken from: AWS compares and swaps.
- What the service would refuse late, or its stand-in in tests not at all, is checked here first.
- Time-outs are seconds, not the SDK's minute. Errors become those of the contract; their text never holds a parameter.

Facts: AWS Secrets Manager API reference, CreateSecret, PutSecretValue, UpdateSecretVersionStage, DeleteSecret.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from departments.keys.secret import Secret
from departments.keys.vaults.base import (
    DeletionReceipt,
    Description,
    SecretMissing,
    StaleExpectation,
    TokenReused,
    VaultError,
    VaultRefused,
    VaultUnavailable,
    Version,
    require_name,
    require_stageable,
)
from departments.keys.vaults.names import tags_of

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_secretsmanager.type_defs import (
        CreateSecretRequestTypeDef,
        DescribeSecretResponseTypeDef,
        ListSecretVersionIdsRequestTypeDef,
        UpdateSecretVersionStageRequestTypeDef,
    )

CONNECT_SECONDS = 2
READ_SECONDS = 3
ATTEMPTS = 3
EMPTY_VERSION = "00000000-0000-0000-0000-000000000000"

_EMPTY_VALUE = "{}"
_CURRENT, _PENDING, _PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
_BUSY = frozenset(
    {
        "InternalFailure",
        "InternalServiceError",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

Labels = Mapping[str, Sequence[str]]


class AwsVault:
    """One region of one account. Credentials come from where the SDK looks for them (role, environment).

    `endpoint_url` is for a private endpoint or a stand-in. `kms_key_id` None means the account's default key.
    `recovery_days` (7 to 30) is how long a deleted secret can be restored.
    """

    def __init__(
        self, region: str, endpoint_url: str | None = None, kms_key_id: str | None = None, recovery_days: int = 30
    ) -> None:
        self._client = _client(region, endpoint_url)
        self._kms_key_id = kms_key_id
        self._recovery_days = recovery_days

    def get_current(self, name: str) -> Version:
        require_name(name)
        with _translated(name):
            answer = self._client.get_secret_value(SecretId=name, VersionStage=_CURRENT)
        if answer["VersionId"] == EMPTY_VERSION:
            raise SecretMissing(f"{name} has no current version yet; stage one and promote it.")
        if _CURRENT not in answer.get("VersionStages", ()):
            raise VaultUnavailable(f"{name}: Secrets Manager answered with another version than the current one.")
        return Version(answer["VersionId"], Secret(answer["SecretString"]))

    def get_version(self, name: str, version_id: str) -> Version:
        _require_filled(name, version_id)
        with _translated(name):
            answer = self._client.get_secret_value(SecretId=name, VersionId=version_id)
        if answer["VersionId"] != version_id:
            raise VaultUnavailable(f"{name}: Secrets Manager answered with another version than {version_id}.")
        return Version(answer["VersionId"], Secret(answer["SecretString"]))

    def stage(self, name: str, token: str, value: Secret) -> None:
        require_stageable(name, token, value)
        _require_filled(name, token)
        self._require_made(name)
        existing = self._find_version(name, token)
        if existing is None:
            self._put(name, token, value.reveal(), _PENDING)
        elif existing.value != value:
            raise TokenReused(f"{name}: the token {token} already stands for another value; take a new one.")
        else:
            self._label_pending(name, token)

    def promote(self, name: str, token: str, expected_current: str | None) -> None:
        labels = self._labels(name)
        holder = _holder(labels, _CURRENT)
        if holder == token:
            return
        if token not in labels:
            self.get_version(name, token)  # SecretMissing unless it is there without a label
        if _shown(holder) != expected_current:
            raise _stale(name, holder, expected_current)
        self._swap_current(name, token, holder)

    def drop_stage(self, name: str, token: str) -> None:
        try:
            labels = self._labels(name)
        except SecretMissing:
            return
        if _PENDING in labels.get(token, ()):
            self._move(name, _PENDING, source=token, target=None)

    def previous(self, name: str) -> Version | None:
        previous = _shown(_holder(self._labels(name), _PREVIOUS))
        return None if previous is None else self.get_version(name, previous)

    def describe(self, name: str) -> Description:
        labels = self._labels(name)
        current, pending, previous = (_shown(_holder(labels, label)) for label in (_CURRENT, _PENDING, _PREVIOUS))
        return Description(name, current, pending, previous, self._created(name))

    def delete(self, name: str) -> DeletionReceipt:
        self._labels(name)
        versions = tuple(self._created(name))
        with _translated(name):
            answer = self._client.delete_secret(SecretId=name, RecoveryWindowInDays=self._recovery_days)
        return DeletionReceipt(name, versions, datetime.now(UTC), recoverable_until=answer["DeletionDate"])

    def _require_made(self, name: str) -> None:
        """Make the name with its empty version where it is missing; VaultRefused while it waits for its deletion."""
        try:
            answer = self._description(name)
        except SecretMissing:
            self._create(name)
            return
        if answer.get("DeletedDate"):
            raise VaultRefused(f"{name} is scheduled for deletion. Restore it in Secrets Manager or take another name.")
        if not answer.get("VersionIdsToStages"):
            # Made by hand or by an infrastructure tool, without a value.
            self._put(name, EMPTY_VERSION, _EMPTY_VALUE, _CURRENT)

    def _create(self, name: str) -> None:
        request: CreateSecretRequestTypeDef = {
            "Name": name,
            "ClientRequestToken": EMPTY_VERSION,
            "SecretString": _EMPTY_VALUE,
            "Tags": [{"Key": key, "Value": value} for key, value in tags_of(name).items()],
        }
        if self._kms_key_id:
            request["KmsKeyId"] = self._kms_key_id
        try:
            with _translated(name):
                self._client.create_secret(**request)
        except _AlreadyThere:
            pass  # another worker was faster, with the same empty version

    def _put(self, name: str, token: str, value: str, label: str) -> None:
        with _translated(name):
            self._client.put_secret_value(
                SecretId=name, ClientRequestToken=token, SecretString=value, VersionStages=[label]
            )

    def _label_pending(self, name: str, token: str) -> None:
        """AWS does nothing when a staging is repeated, also where the label was dropped in between."""
        labels = self._labels(name)
        if not labels.get(token):
            self._move(name, _PENDING, source=_holder(labels, _PENDING), target=token)

    def _swap_current(self, name: str, token: str, holder: str | None) -> None:
        try:
            self._move(name, _CURRENT, source=holder, target=token)
        except _Conflict:
            now = _holder(self._labels(name), _CURRENT)
            if now != token:
                raise _stale(name, now, _shown(holder)) from None

    def _move(self, name: str, label: str, source: str | None, target: str | None) -> None:
        request: UpdateSecretVersionStageRequestTypeDef = {"SecretId": name, "VersionStage": label}
        if source is not None:
            request["RemoveFromVersionId"] = source
        if target is not None:
            request["MoveToVersionId"] = target
        with _translated(name):
            self._client.update_secret_version_stage(**request)

    def _find_version(self, name: str, version_id: str) -> Version | None:
        # describe_secret lists labelled versions only, so the version itself is asked for.
        try:
            return self.get_version(name, version_id)
        except SecretMissing:
            return None

    def _labels(self, name: str) -> Labels:
        answer = self._description(name)
        if answer.get("DeletedDate"):
            raise SecretMissing(f"{name} is scheduled for deletion.")
        return answer.get("VersionIdsToStages", {})

    def _description(self, name: str) -> DescribeSecretResponseTypeDef:
        require_name(name)
        with _translated(name):
            return self._client.describe_secret(SecretId=name)

    def _created(self, name: str) -> dict[str, datetime]:
        request: ListSecretVersionIdsRequestTypeDef = {"SecretId": name, "IncludeDeprecated": True, "MaxResults": 100}
        created: dict[str, datetime] = {}
        while True:
            with _translated(name):
                page = self._client.list_secret_version_ids(**request)
            created |= {version["VersionId"]: version["CreatedDate"] for version in page["Versions"]}
            if not page.get("NextToken"):
                break
            request["NextToken"] = page["NextToken"]
        created.pop(EMPTY_VERSION, None)
        return created


class _Conflict(VaultRefused):
    """A label sits elsewhere than the request said."""


class _AlreadyThere(VaultRefused):
    """The name is taken."""


def _client(region: str, endpoint_url: str | None) -> SecretsManagerClient:
    # Imported here: 0.8 s and 30 MiB that a process without this vault does not pay.
    from boto3.session import Session
    from botocore.config import Config

    _silence_bodies()
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "max_attempts": ATTEMPTS},
    )
    # A session of its own: the module-level default session is not safe to share between threads.
    return Session().client("secretsmanager", region_name=region, endpoint_url=endpoint_url, config=config)


def _silence_bodies() -> None:
    """At level DEBUG the SDK logs requests and answers whole, values included; these records never leave it."""
    for name in ("botocore.endpoint", "botocore.parsers", "botocore.httpsession", "botocore.auth", "botocore.hooks"):
        logging.getLogger(name).addFilter(_above_debug)


def _above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def _holder(labels: Labels, label: str) -> str | None:
    return next((version_id for version_id, held in labels.items() if label in held), None)


def _shown(version_id: str | None) -> str | None:
    return None if version_id == EMPTY_VERSION else version_id


def _require_filled(name: str, version_id: str) -> None:
    require_name(name)
    if version_id == EMPTY_VERSION:
        raise SecretMissing(f"{name}: {EMPTY_VERSION} stands for no value.")


def _stale(name: str, holder: str | None, expected: str | None) -> StaleExpectation:
    return StaleExpectation(f"{name}: {_shown(holder)} is current, not {expected}; describe it and decide.")


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """The SDK's errors as those of the contract, without their text: some of it quotes parameters."""
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    try:
        yield
    except ClientError as error:
        raise _error_for(name, error) from None
    except ParamValidationError:
        raise VaultRefused(f"{name}: the SDK refuses the request; check name, token and value.") from None
    except BotoCoreError as error:
        raise VaultUnavailable(f"{name}: Secrets Manager was not reached ({type(error).__name__}).") from None


def _error_for(name: str, error: ClientError) -> VaultError:
    answer = error.response.get("Error", {})
    code = answer.get("Code", "unknown error")
    text = f"{name}: {error.operation_name} answered {code}."
    if code in _BUSY:
        return VaultUnavailable(text)
    if code == "ResourceNotFoundException":
        return SecretMissing(text)
    if code == "InvalidRequestException" and "delet" in answer.get("Message", "").lower():
        return SecretMissing(f"{name} is scheduled for deletion.")
    kind = {"InvalidParameterException": _Conflict, "ResourceExistsException": _AlreadyThere}.get(code, VaultRefused)
    return kind(f"{text} Check the role's rights and the secret's state.")
