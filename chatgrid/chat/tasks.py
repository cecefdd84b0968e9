"""The chat's background work."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from chatgrid.chat.models import Message
from chatgrid.chat.retention import delete_expired_conversations
from departments.calls.sentences import LOST

SILENT = timedelta(seconds=45)


@shared_task
def close_lost_answers() -> None:
    """Answers that nobody writes any more say so, with the text that was saved."""
    lost = Message.objects.filter(state=Message.State.WRITING, alive_at__lt=timezone.now() - SILENT)
    lost.update(state=Message.State.INTERRUPTED, problem=LOST)


@shared_task
def expire_conversations() -> None:
    """Conversations whose organization's time for them is over."""
    delete_expired_conversations()
