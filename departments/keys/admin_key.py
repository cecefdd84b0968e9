"""An organization's admin key: where it lies, and who may take it out.

Rules:
- It can make and delete keys of every project, so only the rotator's queue and commands read it; a page asks
  `has_admin_key`, which looks at a row and not at the vault.
- Each read is an event in the record before anybody gets the value. It is read when it is needed and not kept.
- An organization without one is a normal case: `AdminKeyMissing` is a value with a sentence for the page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit.events import Event
from audit.writer import Entry, record
from departments.keys.models import AdminKeyReference
from departments.keys.reader import current_vault, fields_of
from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing, Vault
from departments.keys.vaults.names import admin_key_name
from departments.models import Organization


@dataclass(frozen=True)
class AdminKeyMissing:
    """Instead of an admin key: this organization has none."""

    organization: str

    @property
    def sentence(self) -> str:
        return (
            f"{self.organization} has no admin key of OpenAI, so ChatGrid cannot look after its projects there. "
            "IT can paste one in the console, under Admin keys; until then departments' keys are pasted by hand."
        )


def admin_key_secret(organization: Organization) -> str:
    """The secret's name."""
    return admin_key_name(settings.ENVIRONMENT, organization.slug)


def has_admin_key(organization: Organization) -> bool:
    """Whether an admin key was stored. Asks the database only, so every process may call it."""
    return AdminKeyReference.objects.filter(organization=organization).exists()


def read_admin_key(organization: Organization) -> Secret | AdminKeyMissing:
    """The current admin key. VaultUnavailable or VaultRefused where the manager does not give it."""
    if not has_admin_key(organization):
        return AdminKeyMissing(organization.name)
    name = admin_key_secret(organization)
    try:
        version = current_vault().get_current(name)
    except SecretMissing:
        return AdminKeyMissing(organization.name)
    record(_entry(organization, Event.SECRET_READ, name, version.version_id, reason="a request to the Admin API"))
    held = fields_of(version.value)
    return Secret(held["api_key"]) if held else AdminKeyMissing(organization.name)


def store_admin_key(
    organization: Organization, key: Secret, token: str, *, key_id: str = "", expires_at: datetime | None = None
) -> AdminKeyReference:
    """Put an admin key into the secret manager as the organization's current one. Idempotent per token."""
    name, vault = admin_key_secret(organization), current_vault()
    vault.stage(name, token, admin_key_document(key, key_id))
    vault.promote(name, token, _current(vault, name))
    vault.drop_stage(name, token)
    return note_admin_key(organization, key, token, key_id=key_id, expires_at=expires_at)


def admin_key_document(key: Secret, key_id: str) -> Secret:
    """What the secret manager holds for an admin key."""
    return Secret(json.dumps({"v": 1, "api_key": key.reveal(), "key_id": key_id}))


def note_admin_key(
    organization: Organization, key: Secret, version: str, *, key_id: str = "", expires_at: datetime | None = None
) -> AdminKeyReference:
    """Note which version is current and record it, in one transaction."""
    name = admin_key_secret(organization)
    known: dict[str, Any] = {
        "secret_name": name,
        "version": version,
        "fingerprint": key.fingerprint(),
        "key_id": key_id,
        "installed_at": timezone.now(),
        "expires_at": expires_at,
        "state": AdminKeyReference.State.ACTIVE,
    }
    with transaction.atomic():
        reference, _ = AdminKeyReference.objects.update_or_create(organization=organization, defaults=known)
        record(_entry(organization, Event.SECRET_STORED, name, version, key.fingerprint()))
    return reference


def _current(vault: Vault, name: str) -> str | None:
    try:
        return vault.describe(name).current
    except SecretMissing:
        return None


def _entry(
    organization: Organization, event: Event, name: str, version: str, fingerprint: str = "", **details: str
) -> Entry:
    return Entry(
        event=event,
        organization_id=organization.pk,
        organization_name=organization.name,
        subject_kind="secret",
        subject_id=name,
        key_version=version,
        key_fingerprint=fingerprint,
        details={"vault": settings.VAULT, **details},
    )
