"""How what happens to a document is written into the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from audit.events import Event
from audit.writer import Entry
from departments.calls.caller import Caller
from departments.documents.records import DocumentVersion
from departments.http import Person
from departments.models import Department


def document_entry(
    event: Event,
    department: Department,
    version: DocumentVersion,
    *,
    person: Person | None = None,
    address: str = "",
    details: Mapping[str, Any] | None = None,
) -> Entry:
    """An entry on a version. Without a person the uploader is named: background work is done on their behalf."""
    return Entry(
        event=event,
        **department.in_record,
        actor_id=person.id if person else version.uploader_id,
        actor_name=person.name if person else version.uploader_name,
        client_address=address,
        subject_kind="document",
        subject_id=str(version.document_id),
        details={
            "version_id": str(version.id),
            "version": version.number,
            "filename": version.filename,
            "sha256": version.sha256,
            **(details or {}),
        },
    )


def deletion_entry(
    department: Department,
    document_id: UUID,
    person_id: UUID,
    person_name: str,
    address: str,
    details: Mapping[str, Any],
) -> Entry:
    """An entry on a document that is gone; the details are its receipt."""
    return Entry(
        event=Event.DOCUMENT_DELETED,
        **department.in_record,
        actor_id=person_id,
        actor_name=person_name,
        client_address=address,
        subject_kind="document",
        subject_id=str(document_id),
        details=details,
    )


def search_entry(event: Event, department: Department, caller: Caller, details: Mapping[str, Any]) -> Entry:
    """An entry on the search of a department: what somebody tried, measured or changed there."""
    return Entry(
        event=event,
        **department.in_record,
        actor_id=caller.person_id,
        actor_name=caller.person_name,
        client_address=caller.address,
        subject_kind="store",
        subject_id=str(department.pk),
        details=details,
    )
