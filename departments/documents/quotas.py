"""How many files and bytes a department may keep: what IT set on the department, else what the settings say.

The check that decides stands in the transaction that adds a file (`has_room` in schema/), so that files which come at
the same time cannot pass it together.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.template.defaultfilters import filesizeformat

from departments.documents.records import Counts, Room
from departments.documents.store import Store
from departments.models import Department

NO_ROOM_FILES = (
    "This department may keep {files:,} files and has {kept:,}, older versions counted. "
    "Delete some that nobody needs, or ask IT for more."
)
NO_ROOM_BYTES = (
    "This department may keep {bytes} of files and has {kept}. Delete some that nobody needs, or ask IT for more."
)


@dataclass(frozen=True)
class Usage:
    """What a department keeps, of what it may keep. Files are all versions of all documents."""

    files: int
    bytes: int
    room: Room

    @property
    def percent(self) -> int:
        """How full it is by the measure that is nearer to its end."""
        shares = (self.files / max(1, self.room.files), self.bytes / max(1, self.room.bytes))
        return min(100, int(100 * max(shares)))


def room_of(department: Department) -> Room:
    """What the department may keep."""
    return Room(
        files=settings.DEPARTMENT_FILES if department.files_allowed is None else department.files_allowed,
        bytes=settings.DEPARTMENT_BYTES if department.bytes_allowed is None else department.bytes_allowed,
    )


def usage_of(department: Department, counts: Counts) -> Usage:
    """What the department keeps, of what it may."""
    return Usage(counts.versions, counts.bytes, room_of(department))


async def no_room(store: Store) -> str:
    """Why there is no room for one more file, and what to do."""
    counts, room = await store.count(), room_of(store.department)
    if counts.versions >= room.files:
        return NO_ROOM_FILES.format(files=room.files, kept=counts.versions)
    return NO_ROOM_BYTES.format(bytes=filesizeformat(room.bytes), kept=filesizeformat(counts.bytes))
