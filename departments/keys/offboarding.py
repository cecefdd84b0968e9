"""A person leaves, or loses their role: every secret they could have seen is exchanged, and nothing else.

For whoever closes a person's access (the console's "leave now", a command): one call, in the transaction that
closes it or right after.

Rules:
- What somebody could have seen is what the rows of `key_people` say; the table is brought up to date first.
- Asking twice is harmless: a department has one open rotation, and a person's rows go with the first.
- Nothing here waits for a secret manager or a provider: the rotations are rows, and the rotator's worker takes them on.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from departments.keys import key_people
from departments.keys.rotation import By, start
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_subjects import Subject


def rotate_what_they_could_see(person_id: UUID, actor: By | None, reason: str) -> list[Rotation]:
    """End what this person had and exchange it at once; the rotations that were opened or joined.

    `actor` is the person who asked, None for the clock; `reason` is kept in the rotations and in the record.
    """
    key_people.note_it()
    rotations: list[Rotation] = []
    key_people.end_access(person_id, leaving(rotations, actor, reason))
    return rotations


def leaving(rotations: list[Rotation], actor: By | None, reason: str) -> Callable[[Subject], object]:
    """For `key_people`: exchange a subject because somebody left, and keep its rotation in the list."""

    def rotate(subject: Subject) -> None:
        rotations.append(start(subject, Rotation.Trigger.PERSON_LEFT, by=actor, reason=reason))

    return rotate
