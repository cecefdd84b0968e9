"""Closing a department's project for ever: its keys end, its secret goes, a receipt says what went.

Rules:
- An exchange that is open ends first. While a worker is at it nothing is deleted: `Busy`.
- What will go is noted in the row before anything goes, and added to; so the receipt of an attempt that was interrupted
  and repeated names all of it.
- A pasted key that is none of the project's is deleted from the secret manager only. It lives on at the provider, and
  the receipt names it (`elsewhere`, by fingerprint) for a person to delete.
- Repeatable at any point; the last run gives the receipt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit.events import Event
from audit.writer import record
from departments.keys.admin_api import AdminApi, AdminMissing, ApiKey
from departments.keys.key_people import forget_pasted
from departments.keys.models import KeyReference, ProviderProject
from departments.keys.project_plan import Busy
from departments.keys.project_work import Work
from departments.keys.provisioning import Unmanaged, in_hand, open_api, project_entry, translated
from departments.keys.reader import current_vault, fields_of, forget_provider_key, key_name, record_secret_read
from departments.keys.rotation import RotationError, end_for_good
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_subjects import key_of
from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing
from departments.keys.vaults.names import inbox_name
from departments.models import Department

GOING = "going"  # in ProviderProject.applied


@dataclass(frozen=True)
class ArchiveReceipt:
    """Proof that a project is closed and its key gone from the secret manager.

    `elsewhere` holds fingerprints of pasted keys that were none of the project's: a person deletes them.
    """

    department: str
    project_id: str
    key_ids: tuple[str, ...]
    secret_versions: tuple[str, ...]
    archived_at: datetime
    elsewhere: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What is left for a person to do; empty where nothing is."""
        if not self.elsewhere:
            return ""
        return f"Delete at its provider what was pasted and was no key of this project: {', '.join(self.elsewhere)}."


def archive(department: Department, by: UUID | None = None, by_name: str = "") -> ArchiveReceipt | Unmanaged:
    """Delete its keys, close its project for ever and delete its secret."""
    opened = open_api(department)
    if not isinstance(opened, AdminApi):
        return opened
    with opened, in_hand(department) as row:
        work = Work(opened, row, department)
        with translated(work, "archive"):
            _note_going(work)
            _end_exchange(department)
            _note_going(work)  # whatever its last step had made
            _close(work)
            _end_exchange(department)  # one that somebody asked for meanwhile
            _delete_secret(department)
            return _note_archived(work, {"actor_id": by, "actor_name": by_name})


def _end_exchange(department: Department) -> None:
    try:
        end_for_good(department)
    except RotationError as error:
        raise Busy(str(error)) from None


def _keys(work: Work) -> list[ApiKey]:
    """Of a project that is gone or closed there is none to delete any more."""
    try:
        there = bool(work.row.project_id) and work.api.retrieve_project(work.row.project_id).active
    except AdminMissing:
        there = False
    return work.api.list_keys(work.row.project_id) if there else []


def _close(work: Work) -> None:
    """Delete every key, then archive; an archived project takes no deletion any more."""
    try:
        if not work.row.project_id or not work.api.retrieve_project(work.row.project_id).active:
            return
    except AdminMissing:
        return
    keys = work.api.list_keys(work.row.project_id)
    for account in work.api.list_service_accounts(work.row.project_id):
        work.api.delete_service_account(work.row.project_id, account.id)
    for key in keys:
        work.api.delete_key(work.row.project_id, key.id)
    work.api.archive_project(work.row.project_id)


def _delete_secret(department: Department) -> None:
    forget_provider_key(department)
    try:
        current_vault().delete(key_name(department))
    except SecretMissing:
        pass  # an earlier attempt had got so far, or there never was one


# -- what goes


def _note_going(work: Work) -> None:
    """`ends` says of each value, by its fingerprint, whether it ends with the project: as it was seen before that."""
    noted = work.row.applied.get(GOING, {})
    keys = _keys(work)
    ids = {key.id for key in keys} | set(noted.get("key_ids", ()))
    seen = {value.fingerprint(): _is_of_project(value, key_id, keys, ids) for value, key_id in _held(work.department)}
    work.row.applied[GOING] = {
        "key_ids": sorted(ids),
        "secret_versions": sorted({*noted.get("secret_versions", ()), *_versions(work.department)}),
        "ends": seen | noted.get("ends", {}),
    }
    work.keep("applied")


def _is_of_project(value: Secret, key_id: str, keys: list[ApiKey], ids: set[str]) -> bool:
    return key_id in ids or any(key.matches(value) for key in keys)


def _versions(department: Department) -> Iterable[str]:
    try:
        return current_vault().describe(key_name(department)).created
    except SecretMissing:
        return ()


def _held(department: Department) -> Iterator[tuple[Secret, str]]:
    """Values in use or on their way, each with the id it was stored with."""
    for name, version_id in _places(department):
        try:
            version = current_vault().get_version(name, version_id)
        except SecretMissing:
            continue
        record_secret_read(name, version, "to tell whether it ends with its project")
        if fields := fields_of(version.value):
            yield Secret(fields["api_key"]), fields.get("key_id") or ""


def _places(department: Department) -> list[tuple[str, str]]:
    """What readers get; of an open exchange its new value, and its old one until that was deleted."""
    name, rotation = key_name(department), key_of(department).open_rotation()
    try:
        versions = {current_vault().describe(name).current}
    except SecretMissing:
        versions = set()
    if rotation is None:
        return [(name, version) for version in versions if version]
    versions.add(str(rotation.pk))
    if rotation.by_person or rotation.step != Rotation.Step.PROVE:
        versions.add(rotation.old_version)
    inbox = (inbox_name(settings.ENVIRONMENT, rotation.pk), str(rotation.pk))
    return [inbox, *((name, version) for version in versions if version)]


def _note_archived(work: Work, actor: dict[str, Any]) -> ArchiveReceipt:
    row, going = work.row, work.row.applied[GOING]
    receipt = ArchiveReceipt(
        department=str(work.department.pk),
        project_id=row.project_id,
        key_ids=tuple(going["key_ids"]),
        secret_versions=tuple(going["secret_versions"]),
        archived_at=timezone.now(),
        elsewhere=tuple(sorted(fingerprint for fingerprint, ends in going["ends"].items() if not ends)),
    )
    with transaction.atomic():
        KeyReference.objects.filter(department=work.department).delete()
        forget_pasted(key_of(work.department))
        row.state, row.archived_at = ProviderProject.State.ARCHIVED, receipt.archived_at
        row.project_id = row.service_account_id = row.step = row.failure = row.mint_token = ""
        row.asked_at, row.applied = None, {}
        row.save()
        details = {**asdict(receipt), "archived_at": receipt.archived_at.isoformat()}
        record(project_entry(work.department, Event.PROJECT_ARCHIVED, receipt.project_id, details, actor))
    return receipt
