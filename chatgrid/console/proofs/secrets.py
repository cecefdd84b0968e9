"""Control 2: keys in a secret manager. Asks the manager for the versions, never for a value, and looks at settings."""

from __future__ import annotations

import os

from django.conf import settings
from django.urls import reverse

from chatgrid.console.proofs.base import Evidence, counted, named
from departments.keys.checks import keys_in_settings
from departments.keys.models import KeyReference
from departments.keys.patterns import contains_key
from departments.keys.reader import current_vault
from departments.keys.vaults import SecretMissing, Vault, VaultError
from departments.models import Department, Organization


def vault(organization: Organization) -> list[Evidence]:
    """Every department's key is in the manager, in the version that we think is current."""
    departments = list(Department.objects.filter(organization=organization, is_active=True).select_related("key"))
    keys = [department.key for department in departments if hasattr(department, "key")]
    without = [department.name for department in departments if not hasattr(department, "key")]
    evidence = []
    if keys:
        evidence.append(_held(keys))
    if without:
        paste = reverse("admin:keys_keyreference_changelist")
        evidence.append(Evidence(f"No key yet: {named(without)}", holds=None, url=paste))
    return evidence


def _held(keys: list[KeyReference]) -> Evidence:
    try:
        wrong = [key.department.name for key in keys if not _is_current(current_vault(), key)]
    except VaultError as error:
        return Evidence(f"The secret manager ({settings.VAULT}) does not answer: {type(error).__name__}", holds=False)
    address = reverse("admin:keys_keyreference_changelist")
    if wrong:
        return Evidence(f"The secret manager has another version, or none: {named(wrong)}", holds=False, url=address)
    text = (
        f"The secret manager ({settings.VAULT}) answered and holds {counted(len(keys), 'key')} in the current version"
    )
    return Evidence(text, url=address)


def _is_current(manager: Vault, key: KeyReference) -> bool:
    try:
        return manager.describe(key.secret_name).current == key.version
    except SecretMissing:
        return False


def places(organization: Organization) -> list[Evidence]:
    """No setting and no variable of the environment holds a key."""
    found = [message.msg for message in keys_in_settings(None)]
    found += [f"The variable {name} holds a key." for name, value in os.environ.items() if contains_key(value)]
    if found:
        return [Evidence(found[0], holds=False)]
    return [Evidence(f"No key in settings or in {counted(len(os.environ), 'environment variable')}")]
