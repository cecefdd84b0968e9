"""Who knows a secret or can get at it, so that a person who leaves takes no working key or password along.

Rules:
- Three ways: having pasted the key that is in use, administering its entry in the secret manager (IT notes who does),
  and IT, who may rotate it. Nobody can read a key through ChatGrid.
- Whoever administers a department's entries there can see its key and the password of its store; whoever pasted a key
  has seen that key. A row without a department is about the organization's admin key.
- Whoever stops being one of them, by whatever path (console, a command, SQL), is noticed by the tick: the rows
  here say who was, the tables of people say who still is.
- A row is removed in the transaction that starts the rotation, so it is started once and never lost.
- Exactly those secrets are rotated that the person could have seen or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F, Q, QuerySet

from audit.events import Event
from audit.writer import Entry, record
from departments.keys.models import AdminKeyReference, KeyReference
from departments.keys.rotation_models import KeyAccess
from departments.keys.rotation_subjects import Subject, What, admin_key_of, as_subject, key_of, store_password_of
from departments.models import Department
from departments.roles import OrganizationRole

Rotate = Callable[[Subject], object]


def note_pasted(target: Department | Subject, person_id: UUID) -> None:
    """This person has seen this key."""
    _note(as_subject(target), person_id, KeyAccess.How.PASTED)


def note_vault_administrator(target: Department | Subject, person_id: UUID) -> None:
    """IT says that this person administers the entries of a department, or the admin key's, in the secret manager."""
    _note(as_subject(target), person_id, KeyAccess.How.VAULT)


def note_it() -> None:
    """Everybody in IT may rotate the keys of their organization: keep the rows of those who are."""
    missing = [
        KeyAccess(organization_id=organization, department_id=department, person_id=person, how=KeyAccess.How.ROTATES)
        for organization, department, person in _it_without_a_row()
    ]
    KeyAccess.objects.bulk_create(missing, ignore_conflicts=True)


def ended() -> QuerySet[KeyAccess]:
    """Rows of people who are no longer what the row says: they left, moved to another company, or lost the role."""
    return KeyAccess.objects.filter(
        Q(person__is_active=False)
        | Q(person__organization_id=None)
        | ~Q(person__organization_id=F("organization_id"))
        | Q(how=KeyAccess.How.ROTATES) & ~Q(person__role=OrganizationRole.IT)
    )


def end_access(person_id: UUID, rotate: Rotate) -> int:
    """End what this person had, whatever the tables say, and rotate it. Returns how many secrets it was."""
    return _end(KeyAccess.objects.filter(person_id=person_id), rotate)


def end_row(row: KeyAccess, rotate: Rotate) -> int:
    """The same for one way of access only: IT says that somebody does not administer an entry any more."""
    return _end(KeyAccess.objects.filter(pk=row.pk), rotate)


def end_lapsed(rotate: Rotate) -> int:
    """The same for everybody who is noticed to be gone."""
    return _end(ended(), rotate)


def forget_pasted(subject: Subject, but: UUID | None = None) -> None:
    """The keys that people had pasted are dead, all but the one that this person has just pasted."""
    pasted = KeyAccess.objects.filter(organization=subject.organization, department=subject.department)
    pasted.filter(how=KeyAccess.How.PASTED).exclude(person_id=but).delete()


def _note(subject: Subject, person_id: UUID, how: str) -> None:
    KeyAccess.objects.get_or_create(
        organization=subject.organization, department=subject.department, person_id=person_id, how=how
    )


def _end(rows: QuerySet[KeyAccess], rotate: Rotate) -> int:
    """A secret that was never stored needs no rotation; its rows go all the same."""
    held: dict[tuple[UUID, UUID | None], list[KeyAccess]] = {}
    for row in rows.select_related("organization", "department__organization", "person"):
        held.setdefault((row.organization_id, row.department_id), []).append(row)
    return sum(_end_place(rows_of_one, rotate) for rows_of_one in held.values())


def _end_place(held: list[KeyAccess], rotate: Rotate) -> int:
    with transaction.atomic():
        mine = KeyAccess.objects.select_for_update().filter(pk__in=[row.pk for row in held])
        if not mine.delete()[0]:
            return 0  # another worker was faster
        for row in held:
            _record(row)
        seen = {subject.secret_name: subject for row in held for subject in _seen_by(row)}
        for subject in seen.values():
            rotate(subject)
    return len(seen)


def _seen_by(row: KeyAccess) -> Iterable[Subject]:
    """What somebody with this row could have seen or changed, of what is there."""
    if row.department is None:
        if AdminKeyReference.objects.filter(organization=row.organization).exists():
            yield admin_key_of(row.organization)
        return
    if KeyReference.objects.filter(department=row.department).exists():
        yield key_of(row.department)
    if row.how == KeyAccess.How.VAULT and row.department.store_ready:
        yield store_password_of(row.department)


def _it_without_a_row() -> Iterator[tuple[UUID, UUID, UUID]]:
    people = get_user_model()._default_manager.filter(
        is_active=True, role=OrganizationRole.IT, organization__departments__key__isnull=False
    )
    named = people.values_list("organization", "organization__departments", "pk")
    rows = KeyAccess.objects.filter(how=KeyAccess.How.ROTATES)
    yield from set(named) - set(rows.values_list("organization", "department", "person"))


def _record(row: KeyAccess) -> None:
    department, organization = row.department, row.organization
    record(
        Entry(
            event=Event.KEY_ACCESS_ENDED,
            organization_id=organization.pk,
            organization_name=organization.name,
            department_id=department.pk if department else None,
            department_name=department.name if department else "",
            actor_name="ChatGrid",
            subject_kind="person",
            subject_id=str(row.person_id),
            details={"person": str(row.person), "how": row.how, "what": What.KEY if department else What.ADMIN_KEY},
        )
    )
