"""Which of a project's keys the department uses: by the ids we keep, else by what the secret manager holds.

Rules:
- A key that ChatGrid made is known by its id. Of a key that a person pasted only the value is known, and OpenAI's list
  shows four characters of each: exactly one key that ends as the value does is ours, and its id is noted.
- The secret manager decides, not our row: what readers get is ours, whoever put it there.
- Where the list does not tell, the keys that may be ours are `unclear`. Nobody deletes one of those.
- The value is read only where the ids leave a question; each such read is an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from departments.keys.admin_api import AdminApi, ApiKey
from departments.keys.models import KeyReference, ProviderProject
from departments.keys.reader import current_vault, fields_of, key_name, record_secret_read
from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing
from departments.models import Department


@dataclass(frozen=True)
class Sorted:
    """A project's keys: the one in use, those that cannot be it, and those of which nobody can tell."""

    ours: ApiKey | None
    strangers: tuple[ApiKey, ...] = ()
    unclear: tuple[ApiKey, ...] = ()


@dataclass(frozen=True)
class _Held:
    """What the secret manager gives to readers now."""

    version: str
    value: Secret
    key_id: str


def sort_keys(department: Department, keys: Sequence[ApiKey]) -> Sorted:
    """Whose the keys of the department's project are. A VaultError where that has to be read and cannot."""
    noted = KeyReference.objects.filter(department=department).values_list("key_id", flat=True).first()
    by_note = next((key for key in keys if key.id == noted), None)
    if [key for key in keys if key is not by_note]:
        return _by_value(_held(department), by_note, keys)
    return Sorted(by_note)


def learn_id(api: AdminApi, department: Department) -> None:
    """Note the id of a key that a person pasted into the department's project, where the list tells it."""
    reference = KeyReference.objects.filter(department=department, key_id="").first()
    project_id = ProviderProject.objects.filter(department=department).values_list("project_id", flat=True).first()
    held = _held(department) if reference and project_id else None
    if reference is None or not project_id or held is None or held.version != reference.version:
        return  # nothing to learn, or a rotation has just promoted another one
    ours = _by_value(held, None, api.list_keys(project_id)).ours
    if ours is not None:
        KeyReference.objects.filter(pk=reference.pk, version=held.version).update(key_id=ours.id, project_id=project_id)


def _by_value(held: _Held | None, by_note: ApiKey | None, keys: Sequence[ApiKey]) -> Sorted:
    if held is None:
        return Sorted(by_note, _without(keys, by_note))
    ours = next((key for key in keys if key.id == held.key_id), None)
    alike = [key for key in keys if key.matches(held.value)]
    if ours is None and len(alike) == 1:
        ours = alike[0]
    if ours is not None:
        return Sorted(ours, _without(keys, ours, by_note))
    unclear = alike if alike or held.key_id else [key for key in keys if not key.shows_its_end]
    return Sorted(None, _without(keys, by_note, *unclear), tuple(unclear))


def _without(keys: Sequence[ApiKey], *others: ApiKey | None) -> tuple[ApiKey, ...]:
    return tuple(key for key in keys if key not in others)


def _held(department: Department) -> _Held | None:
    name = key_name(department)
    try:
        version = current_vault().get_current(name)
    except SecretMissing:
        return None
    record_secret_read(name, version, "to tell the department's key from others in its project")
    fields = fields_of(version.value)
    return _Held(version.version_id, Secret(fields["api_key"]), fields.get("key_id") or "") if fields else None
