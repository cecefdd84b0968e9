"""Conversations end when their organization says so, and only then."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent, LegalHold
from chatgrid.chat.models import Conversation, Message
from chatgrid.chat.retention import delete_expired_conversations
from chatgrid.chat.tasks import expire_conversations
from tests.company import Company


def conversation(company: Company, days_old: int) -> Conversation:
    made = Conversation.objects.create(department=company.hr, owner=company.bob, title=f"{days_old} days old")
    Message.objects.create(conversation=made, role=Message.Role.PERSON, text="?")
    Conversation.objects.filter(pk=made.pk).update(updated_at=timezone.now() - timedelta(days=days_old))
    return made


def keep_for(company: Company, days: int | None) -> None:
    company.organization.conversation_days = days
    company.organization.save()


def left(company: Company) -> list[str]:
    return sorted(Conversation.objects.filter(owner=company.bob).values_list("title", flat=True))


def test_what_nobody_went_on_with_goes_and_the_rest_stays(company: Company, other_company: Company) -> None:
    keep_for(company, 30)
    for days in (1, 29, 31, 400):
        conversation(company, days)
    conversation(other_company, 400)
    expire_conversations()
    assert left(company) == ["1 days old", "29 days old"]
    assert left(other_company) == ["400 days old"]
    event = AuditEvent.objects.get(organization_id=company.organization.pk, event=Event.CONVERSATIONS_EXPIRED)
    assert event.details == {"conversations": 2, "days": 30}


def test_nothing_goes_twice_and_nothing_to_do_is_no_event(company: Company) -> None:
    keep_for(company, 30)
    conversation(company, 31)
    delete_expired_conversations()
    delete_expired_conversations()
    events = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.CONVERSATIONS_EXPIRED)
    assert events.count() == 1


def test_a_legal_hold_keeps_conversations(company: Company) -> None:
    keep_for(company, 30)
    conversation(company, 400)
    hold = LegalHold.objects.create(organization_id=company.organization.pk, reason="a case")
    delete_expired_conversations()
    assert left(company) == ["400 days old"]
    hold.lifted_at = timezone.now()
    hold.save()
    delete_expired_conversations()
    assert left(company) == []
