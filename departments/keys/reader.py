"""How the rest of ChatGrid reads a secret: through this process's cache, each real read an event in the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from audit.database import fetch_rows
from audit.events import Event
from audit.writer import Entry, arecord, record
from departments.keys.cache import SecretCache
from departments.keys.models import KeyReference
from departments.keys.patterns import REDACT
from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing, Vault, Version, open_vault
from departments.keys.vaults.names import provider_key_name, tags_of
from departments.models import Department

FOR_USE = "a call or a search needs it; this process keeps it for a minute at most"


@dataclass(frozen=True)
class ProviderKey:
    """A department's key for one call, with what the record may know of it."""

    value: Secret
    version: str
    fingerprint: str


@dataclass(frozen=True)
class KeyOrigin:
    """Where a key that we made ourselves comes from: the provider's ids, and when it ends by itself."""

    key_id: str = ""
    project_id: str = ""
    service_account_id: str = ""
    expires_at: datetime | None = None

    def fields(self) -> dict[str, str]:
        """The ids by the names they have in the secret and in KeyReference."""
        return {
            "key_id": self.key_id,
            "project_id": self.project_id,
            "service_account_id": self.service_account_id,
        }


@cache
def current_vault() -> Vault:
    """The secret manager that settings name."""
    return open_vault(settings.VAULT, **settings.VAULT_OPTIONS)


@cache
def secret_cache() -> SecretCache:
    """This process's cache of current secrets."""
    return SecretCache(current_vault(), _record_read)


def key_name(department: Department) -> str:
    """Where the department's provider key lies; a slug holds no dot, so no two departments share a name."""
    return provider_key_name(settings.ENVIRONMENT, f"{department.organization.slug}.{department.slug}")


async def read_provider_key(department: Department) -> ProviderKey:
    """Its current key. SecretMissing: it has none for its provider; VaultUnavailable: it cannot be read."""
    version = await secret_cache().get(key_name(department), department.key_epoch)
    fields = json.loads(version.value.reveal())
    if fields.get("provider", department.provider) != department.provider:
        # IT has chosen another provider since: this key is nobody's business there
        raise SecretMissing(f"The key of department {department.pk} is one for {fields['provider']}; paste a new one.")
    value = Secret(fields["api_key"])
    return ProviderKey(value, version.version_id, value.fingerprint())


def forget_provider_key(department: Department) -> None:
    """The provider refused the key: the next call reads it from the secret manager again."""
    secret_cache().forget(key_name(department))


async def _record_read(name: str, version: Version) -> None:
    owners = await fetch_rows(_owner_of(name))
    await arecord(_read_entry(name, version, FOR_USE, owners))


def record_secret_read(name: str, version: Version, reason: str) -> None:
    """For code that asks the secret manager itself, past the cache: the same event, before the value is used."""
    record(_read_entry(name, version, reason, list(_owner_of(name))))


def _owner_of(name: str) -> QuerySet[Department, Any]:
    """Whose the secret of this name is: organization's id and name, department's id and name."""
    organization, _, department = tags_of(name).get("department", "").partition(".")
    found = Department.objects.filter(organization__slug=organization, slug=department)
    return found.values_list("organization_id", "organization__name", "pk", "name")


def _read_entry(name: str, version: Version, reason: str, owners: Sequence[Any]) -> Entry:
    organization_id, organization_name, department_id, department_name = next(iter(owners), (None, "", None, ""))
    return Entry(
        event=Event.SECRET_READ,
        organization_id=organization_id,
        organization_name=organization_name,
        department_id=department_id,
        department_name=department_name,
        subject_kind="secret",
        subject_id=name,
        key_version=version.version_id,
        details={"vault": settings.VAULT, "reason": reason},
    )


def store_provider_key(
    department: Department, key: Secret, token: str, origin: KeyOrigin | None = None
) -> KeyReference:
    """Put a key into the secret manager as the department's current one and note where it is. Idempotent per token.

    `origin` is known of a key that we made ourselves; of a pasted one nothing is.
    """
    name = key_name(department)
    vault = current_vault()
    current = _current_version(vault, name)
    vault.stage(name, token, key_document(key, token, origin, provider=department.provider))
    vault.promote(name, token, current)
    vault.drop_stage(name, token)
    return note_provider_key(department, key, token, origin)


def key_document(key: Secret, token: str, origin: KeyOrigin | None = None, *, provider: str) -> Secret:
    """What the secret manager holds for a department's key: a JSON object, the same text for the same arguments.

    `provider` is whom the key is for, by its name in settings: it is sent to nobody else.
    """
    fields: dict[str, Any] = {"v": 1, "api_key": key.reveal(), "provider": provider}
    if origin is not None:
        fields |= {"rotation_id": token, **origin.fields(), "expires_at": _iso(origin.expires_at)}
    return Secret(json.dumps(fields))


def fields_of(document: Secret) -> dict[str, Any]:
    """What a key's secret holds; nothing where there is no key in it, because somebody has changed it by hand.

    A bare key that was stored by hand counts, so that it can be exchanged and proven dead like any other.
    """
    text = document.reveal().strip()
    try:
        fields = {"api_key": text} if REDACT.fullmatch(text) else json.loads(text)
    except ValueError:
        return {}
    is_ours = isinstance(fields, dict) and isinstance(fields.get("api_key"), str) and fields["api_key"]
    return fields if is_ours else {}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _current_version(vault: Vault, name: str) -> str | None:
    try:
        return vault.describe(name).current
    except SecretMissing:
        return None


def note_provider_key(
    department: Department, key: Secret, version: str, origin: KeyOrigin | None = None
) -> KeyReference:
    """Note which version is current, announce it to every process and record it, in one transaction."""
    name = key_name(department)
    known: dict[str, Any] = {
        **(origin or KeyOrigin()).fields(),
        "expires_at": origin.expires_at if origin else None,
        "secret_name": name,
        "version": version,
        "installed_at": timezone.now(),
        "used_at_provider": None,
        "fingerprint": key.fingerprint(),
        "state": KeyReference.State.ACTIVE,
    }
    with transaction.atomic():
        reference, _ = KeyReference.objects.update_or_create(department=department, defaults=known)
        # every process drops the old key at its next call
        Department.objects.filter(pk=department.pk).update(key_epoch=F("key_epoch") + 1)
        record(
            Entry(
                event=Event.SECRET_STORED,
                **department.in_record,
                subject_kind="secret",
                subject_id=name,
                key_version=version,
                key_fingerprint=known["fingerprint"],
            )
        )
    return reference
