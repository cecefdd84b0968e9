"""How a rotation is told of: to the record, and to a worker that should go on with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kombu.exceptions import OperationalError

from audit.events import Event
from audit.writer import Entry, record
from departments.keys.rotation_models import Rotation

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class By:
    """The person who asked."""

    id: UUID
    name: str


def tell(rotation: Rotation, event: Event, details: Mapping[str, Any], by: By | None = None) -> None:
    """Write what happened to a rotation, in the caller's transaction."""
    organization, department = rotation.organization, rotation.department
    record(
        Entry(
            event=event,
            organization_id=organization.pk,
            organization_name=organization.name,
            department_id=department.pk if department else None,
            department_name=department.name if department else "",
            actor_id=by.id if by else None,
            actor_name=by.name if by else "ChatGrid",
            subject_kind="rotation",
            subject_id=str(rotation.pk),
            details=details if rotation.what == Rotation.What.KEY else {"what": rotation.what, **details},
        )
    )


def publish(rotation: Rotation) -> None:
    """Ask a worker to begin now. Where the broker is away the tick finds the row."""
    from departments.keys.tasks import advance_rotation  # the task leads back here

    try:
        advance_rotation.delay(str(rotation.pk))
    except OperationalError:
        logger.warning("rotation %s: the broker is away; the next tick begins it", rotation.pk)
