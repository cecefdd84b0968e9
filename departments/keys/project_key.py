"""The first key of a project: made at OpenAI, put into the secret manager, noted. Later ones are rotation's.

Rules:
- One token names the attempt: it is in the key's name at OpenAI and is the version's id in the secret manager, and it
  is saved before the first call. So after a crash at any moment one can tell what had happened.
- A value that did not reach the secret manager is lost: the key of that name is deleted and another one made.
- A key that reached it is used.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings

from audit.events import Event
from audit.writer import Entry, record
from departments.keys.admin_api import AdminApi, ApiKey
from departments.keys.models import KeyReference, ProviderProject
from departments.keys.own_keys import sort_keys
from departments.keys.reader import KeyOrigin, current_vault, key_document, key_name, note_provider_key
from departments.keys.rotation_models import Rotation
from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing, Vault
from departments.models import Department


def is_rotating(department: Department) -> bool:
    """Whether a rotation is open, which then owns the department's keys."""
    return Rotation.objects.filter(department=department, what=Rotation.What.KEY, closed_at=None).exists()


def has_current_key(department: Department, keys: Sequence[ApiKey]) -> bool:
    """Whether our key is among those of its project, and current in the secret manager."""
    reference = KeyReference.objects.filter(department=department).first()
    if reference is None:
        return False
    if reference.key_id:
        is_there = reference.key_id in {key.id for key in keys}
    else:
        pasted = sort_keys(department, keys)
        is_there = bool(pasted.ours or pasted.unclear)
    return is_there and _current_version(current_vault(), key_name(department)) == reference.version


def install_key(api: AdminApi, row: ProviderProject, department: Department) -> KeyReference:
    """Make the key of `row.mint_token`, or go on with it, until the department uses it."""
    name, vault, token = key_name(department), current_vault(), row.mint_token
    key, origin = _staged(vault, department, token) or _mint(api, row, minted_name(department, token))
    vault.stage(name, token, key_document(key, token, origin, provider=department.provider))
    vault.promote(name, token, _current_version(vault, name))
    vault.drop_stage(name, token)
    return note_provider_key(department, key, token, origin)


def minted_name(department: Department, token: str) -> str:
    """A key's name at OpenAI, the same as rotation gives: environment, department and the attempt's token."""
    return f"cg-{settings.ENVIRONMENT}-{department.organization.slug}.{department.slug}-{token}"


def _mint(api: AdminApi, row: ProviderProject, name: str) -> tuple[Secret, KeyOrigin]:
    for key in api.list_keys(row.project_id):
        if key.name == name:
            api.retire_key(row.project_id, key.id)
    made = api.create_key(
        row.project_id,
        row.service_account_id,
        name,
        expires_in=timedelta(days=row.key_days),
        scopes=row.key_scopes,
    )
    return made.value, KeyOrigin(made.id, row.project_id, row.service_account_id, made.expires_at)


def _staged(vault: Vault, department: Department, token: str) -> tuple[Secret, KeyOrigin] | None:
    """The key of an interrupted attempt, where it reached the secret manager. A read, and so an event."""
    name = key_name(department)
    try:
        version = vault.get_version(name, token)
    except SecretMissing:
        return None
    record(
        Entry(
            event=Event.SECRET_READ,
            **department.in_record,
            subject_kind="secret",
            subject_id=name,
            key_version=version.version_id,
            details={"vault": settings.VAULT, "reason": "an attempt that was interrupted goes on"},
        )
    )
    fields = json.loads(version.value.reveal())
    ends = fields.get("expires_at")
    origin = KeyOrigin(
        fields["key_id"],
        fields["project_id"],
        fields["service_account_id"],
        datetime.fromisoformat(ends) if ends else None,
    )
    return Secret(fields["api_key"]), origin


def _current_version(vault: Vault, name: str) -> str | None:
    try:
        return vault.describe(name).current
    except SecretMissing:
        return None
