"""Telling the workers that files wait: fair between departments, and never in the way of the person who uploads.

Rules:
- A department has at most `INGEST_PARALLEL` files in the queue or in work. After each the next goes to the queue's
  end, so that a folder of 500 files keeps nobody else waiting for more than a few of them.
- The row is the outbox. A broker that is away costs an upload at most `PUBLISH_SECONDS`, and for a while nothing more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from uuid import UUID

from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError

from departments.documents.store import Store
from departments.models import Department

PUBLISH_SECONDS = 1.0
BROKER_PAUSE_SECONDS = 5.0

logger = logging.getLogger(__name__)
_broker_away_until = 0.0


async def publish_due(store: Store) -> list[UUID]:
    """Publishes the tasks of versions whose turn it is, as many as a department may have in the queue."""
    due = await store.queue_due(settings.INGEST_PARALLEL)
    for version_id in due:
        await publish_task(store.department, version_id)
    return due


async def publish_task(department: Department, version_id: UUID) -> None:
    """Tells the workers, if that can be done at once."""
    global _broker_away_until
    if time.monotonic() < _broker_away_until:
        return
    try:
        await asyncio.wait_for(asyncio.to_thread(_publish, str(department.pk), str(version_id)), PUBLISH_SECONDS)
    except (OSError, TimeoutError, OperationalError) as error:
        _broker_away_until = time.monotonic() + BROKER_PAUSE_SECONDS
        logger.warning("the broker takes no tasks (%r); the sweep will find document version %s", error, version_id)


async def tell(task: str, department: Department) -> None:
    """Publishes a task about a department, by its name; where the broker takes nothing, the sweep comes again."""
    try:
        sending = asyncio.to_thread(current_app.send_task, task, (str(department.pk),), retry=False)
        await asyncio.wait_for(sending, PUBLISH_SECONDS)
    except (OSError, TimeoutError, OperationalError) as error:
        logger.warning("the broker does not take %s (%r); the sweep publishes it again", task, error)


def _publish(department_id: str, version_id: str) -> None:
    from departments.documents import tasks  # the task leads back here

    tasks.ingest.apply_async((department_id, version_id), retry=False)
