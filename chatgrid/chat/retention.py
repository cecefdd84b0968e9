"""Conversations end too: as many days after their last message as their organization says, or never.

- The record keeps its own time (audit/retention.py): what was asked is answered for there after the conversation went.
- A legal hold keeps conversations as well.
- Deleting is in batches, so that no page waits behind it; each organization's run is one event with the count.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.events import Event
from audit.models import LegalHold
from audit.writer import Entry, record
from chatgrid.chat.models import Conversation
from departments.models import Organization

BATCH = 500


def delete_expired_conversations() -> int:
    """Delete what is due in every organization; how many conversations."""
    return sum(_expire(organization) for organization in Organization.objects.exclude(conversation_days=None))


def _expire(organization: Organization) -> int:
    if organization.conversation_days is None or _is_held(organization):
        return 0
    ended = timezone.now() - timedelta(days=organization.conversation_days)
    due = Conversation.objects.filter(department__organization=organization, updated_at__lt=ended)
    total = 0
    while ids := list(due.order_by().values_list("pk", flat=True)[:BATCH]):
        total += _delete(organization, ids)
    return total


def _delete(organization: Organization, ids: list[UUID]) -> int:
    with transaction.atomic():
        Conversation.objects.filter(pk__in=ids).delete()
        record(
            Entry(
                event=Event.CONVERSATIONS_EXPIRED,
                organization_id=organization.pk,
                organization_name=organization.name,
                details={"conversations": len(ids), "days": organization.conversation_days},
            )
        )
    return len(ids)


def _is_held(organization: Organization) -> bool:
    return LegalHold.objects.filter(organization_id=organization.pk, lifted_at=None).exists()
