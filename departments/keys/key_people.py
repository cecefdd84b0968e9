"""Who knows a department's key or can get at it, so that a person who leaves takes no working key along.

Rules:
- Three ways: having pasted the key that is in use, administering its entry in the secret manager (IT notes who does),
  and IT, who may rotate it. Nobody can read a key through ChatGrid.
- Whoever stops being one of them, by whatever path (console, SCIM, a command, SQL), is noticed by the tick within a
  minute: the rows here say who was, the tables of people say who still is.
- A row is removed in the transaction that starts the rotation, so it is started once and never lost.
- Exactly the departments are rotated whose keys the person could have seen or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F, Q, QuerySet

from audit.events import Event
from audit.writer import Entry, record
from departments.keys.models import KeyReference
from departments.keys.rotation_models import KeyAccess
from departments.models import Department
from departments.roles import OrganizationRole


def note_pasted(department: Department, person_id: UUID) -> None:
    """This person has seen the department's key."""
    KeyAccess.objects.get_or_create(department=department, person_id=person_id, how=KeyAccess.How.PASTED)


def note_vault_administrator(department: Department, person_id: UUID) -> None:
    """IT says that this person administers the department's entry in the secret manager."""
    KeyAccess.objects.get_or_create(department=department, person_id=person_id, how=KeyAccess.How.VAULT)


def note_it() -> None:
    """Everybody in IT may rotate the keys of their organization: keep the rows of those who are."""
    missing = [
        KeyAccess(department_id=department, person_id=person, how=KeyAccess.How.ROTATES)
        for department, person in _it_without_a_row()
    ]
    KeyAccess.objects.bulk_create(missing, ignore_conflicts=True)


def ended() -> QuerySet[KeyAccess]:
    """Rows of people who are no longer what the row says: they left, moved to another company, or lost the role."""
    return KeyAccess.objects.filter(
        Q(person__is_active=False)
        | Q(person__organization_id=None)
        | ~Q(person__organization_id=F("department__organization_id"))
        | Q(how=KeyAccess.How.ROTATES) & ~Q(person__role=OrganizationRole.IT)
    )


def end_access(person_id: UUID, rotate: Callable[[Department], object]) -> int:
    """End what this person had, whatever the tables say, and rotate it. Returns how many departments it was."""
    return _end(KeyAccess.objects.filter(person_id=person_id), rotate)


def end_lapsed(rotate: Callable[[Department], object]) -> int:
    """The same for everybody who is noticed to be gone."""
    return _end(ended(), rotate)


def forget_pasted(department: Department, but: UUID | None = None) -> None:
    """The keys that people had pasted are dead, all but the one that this person has just pasted."""
    KeyAccess.objects.filter(department=department, how=KeyAccess.How.PASTED).exclude(person_id=but).delete()


def _end(rows: QuerySet[KeyAccess], rotate: Callable[[Department], object]) -> int:
    """A department whose key was never stored has nothing to rotate; its rows go all the same."""
    departments: dict[UUID, list[KeyAccess]] = {}
    for row in rows.select_related("department__organization", "person"):
        departments.setdefault(row.department_id, []).append(row)
    for held in departments.values():
        _end_department(held, rotate)
    return len(departments)


def _end_department(held: list[KeyAccess], rotate: Callable[[Department], object]) -> None:
    department = held[0].department
    with transaction.atomic():
        mine = KeyAccess.objects.select_for_update().filter(pk__in=[row.pk for row in held])
        if not mine.delete()[0]:
            return  # another worker was faster
        for row in held:
            _record(row)
        if KeyReference.objects.filter(department=department).exists():
            rotate(department)


def _it_without_a_row() -> Iterator[tuple[UUID, UUID]]:
    people = get_user_model()._default_manager.filter(
        is_active=True, role=OrganizationRole.IT, organization__departments__key__isnull=False
    )
    pairs = set(people.values_list("organization__departments", "pk"))
    pairs -= set(KeyAccess.objects.filter(how=KeyAccess.How.ROTATES).values_list("department_id", "person_id"))
    yield from pairs


def _record(row: KeyAccess) -> None:
    department = row.department
    record(
        Entry(
            event=Event.KEY_ACCESS_ENDED,
            organization_id=department.organization_id,
            organization_name=department.organization.name,
            department_id=department.pk,
            department_name=department.name,
            actor_name="ChatGrid",
            subject_kind="person",
            subject_id=str(row.person_id),
            details={"person": str(row.person), "how": row.how},
        )
    )
