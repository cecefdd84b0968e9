"""Who holds a rotation: a claim with a short end, pushed on by a heartbeat for as long as its process lives.

Rules:
- A claim is won by a conditional update whose row count says who won.
- A process that dies stops its heartbeat, and another worker may take the rotation `CLAIM` later. No step needs to be
  shorter than a claim.
- A heartbeat that cannot write (the database is away, or the claim was lost) ends; the step goes on, and its result is
  thrown away where somebody else has the rotation by then. Each step bears that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.db import Error, connections
from django.db.models import Q, QuerySet

from departments.keys.rotation_models import Rotation

CLAIM = timedelta(seconds=20)
BEAT = 5.0  # seconds

logger = logging.getLogger(__name__)


class ClaimLost(Exception):
    """Another worker has gone on with the rotation. Nothing was written."""


def unclaimed(now: datetime) -> QuerySet[Rotation]:
    """Rotations that no worker holds."""
    return Rotation.objects.filter(Q(claimed_until=None) | Q(claimed_until__lt=now))


def due(now: datetime) -> QuerySet[Rotation]:
    """Open rotations that nobody holds and whose next step may be taken."""
    return unclaimed(now).filter(Q(not_before=None) | Q(not_before__lte=now), closed_at=None)


def win_claim(rotation_id: UUID, now: datetime) -> UUID | None:
    """The claim, or None where somebody else has it or it is not yet time."""
    claim = uuid4()
    won = due(now).filter(pk=rotation_id).update(claim=claim, claimed_until=now + CLAIM)
    return claim if won else None


@contextmanager
def kept(rotation_id: UUID, claim: UUID, now: Callable[[], datetime]) -> Iterator[None]:
    """Push the claim's end on while the block runs."""
    over = threading.Event()
    heart = threading.Thread(target=_beat, args=(rotation_id, claim, now, over), daemon=True, name="rotation-claim")
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join(timeout=BEAT)


def _beat(rotation_id: UUID, claim: UUID, now: Callable[[], datetime], over: threading.Event) -> None:
    held = Rotation.objects.filter(pk=rotation_id, claim=claim, closed_at=None)
    try:
        while not over.wait(BEAT):
            if not held.filter(claimed_until__isnull=False).update(claimed_until=now() + CLAIM):
                return
    except Error as error:
        logger.warning("rotation %s: its claim could not be pushed on (%s)", rotation_id, type(error).__name__)
    finally:
        connections.close_all()  # this thread's own
