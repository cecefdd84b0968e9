"""The key that signs the record, in the secret manager. Only the sealer's process reads it.

- It is made at the first seal of an installation. Where seals exist and the key is gone, nothing is made: a new key
  that nobody announced would look like a forgery. `manage.py roll_seal_key` announces one.
- A rollover is staged, announced in the record under the old key, and then promoted; a crash leaves the old key in
  charge and the command can be run again.
"""

from __future__ import annotations

import json
import secrets
from uuid import uuid4

from django.conf import settings

from audit.events import Event
from audit.models import AuditSeal
from audit.signing import Ed25519Signer, SignerUnavailable, key_id
from audit.writer import Entry, record
from departments.keys.reader import current_vault
from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing, VaultError, Version
from departments.keys.vaults.names import seal_key_name


class SealKeyLost(SignerUnavailable):
    """The record has seals and the secret manager has no key: restore it, or announce a new one."""


def current_signer() -> Ed25519Signer:
    """The signer of the current key. SignerUnavailable where it cannot be read, SealKeyLost where it is gone."""
    try:
        return _current_signer(seal_key_name(settings.ENVIRONMENT))
    except VaultError as error:
        raise SignerUnavailable(f"the signing key cannot be read: {error}") from error


def _current_signer(name: str) -> Ed25519Signer:
    try:
        version = current_vault().get_current(name)
    except SecretMissing:
        if AuditSeal.objects.exists():
            raise SealKeyLost(f"The record has seals, but there is no secret {name}: restore it.") from None
        version = promote(stage())
    _record_read(name, version)
    return _signer_of(version.value)


def stage() -> str:
    """Put a new key beside the current one, unseen by `current_signer`. Returns its version."""
    token = str(uuid4())
    value = Secret(json.dumps({"v": 1, "ed25519": secrets.token_hex(32)}))
    current_vault().stage(seal_key_name(settings.ENVIRONMENT), token, value)
    return token


def staged_signer(token: str) -> Ed25519Signer:
    """The signer of a staged key, to be announced."""
    return _signer_of(current_vault().get_version(seal_key_name(settings.ENVIRONMENT), token).value)


def promote(token: str) -> Version:
    """Make the staged key the current one."""
    name, vault = seal_key_name(settings.ENVIRONMENT), current_vault()
    try:
        current = vault.describe(name).current
    except SecretMissing:
        current = None
    vault.promote(name, token, current)
    vault.drop_stage(name, token)
    return vault.get_current(name)


def _signer_of(value: Secret) -> Ed25519Signer:
    return Ed25519Signer(bytes.fromhex(json.loads(value.reveal())["ed25519"]))


def _record_read(name: str, version: Version) -> None:
    signer = _signer_of(version.value)
    record(
        Entry(
            event=Event.SECRET_READ,
            subject_kind="secret",
            subject_id=name,
            key_version=version.version_id,
            key_fingerprint=key_id(signer.public_key),
            details={"vault": settings.VAULT, "reason": "to sign the record's seals"},
        )
    )
