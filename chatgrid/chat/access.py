"""The one way to get a conversation: it is its owner's, as long as they belong to its department."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from audit.database import fetch
from chatgrid.chat.models import Conversation, Message
from departments.access import NotFound, aaccess_department_by_id, departments_of
from departments.http import Person
from departments.models import Department
from departments.roles import Right


def access_conversation(person: Person, conversation_id: UUID) -> Conversation:
    """The person's own conversation in a department they still belong to."""
    conversation = _own(person).select_related("department__organization").filter(pk=conversation_id).first()
    if conversation is None or not departments_of(person).filter(department=conversation.department).exists():
        raise NotFound("There is no such conversation.")
    return conversation


async def aaccess_conversation(person: Person, conversation_id: UUID) -> tuple[Conversation, Department]:
    """The same, without a thread."""
    found = await fetch(_own(person).filter(pk=conversation_id).order_by())
    if not found:
        raise NotFound("There is no such conversation.")
    return found[0], await aaccess_department_by_id(person, found[0].department_id, Right.CHAT)


async def aaccess_answer(person: Person, call_id: UUID) -> None:
    """Raises NotFound unless the call writes an answer in a conversation of the person's."""
    if not await fetch(Conversation.objects.filter(owner_id=person.id, messages__call_id=call_id).order_by()):
        raise NotFound("There is no such answer.")


def access_question_of(conversation: Conversation, answer_id: UUID) -> tuple[Message, Message]:
    """The answer in this conversation and the question before it, for asking again."""
    answer = conversation.messages.filter(pk=answer_id, role=Message.Role.ASSISTANT).first()
    if answer is None:
        raise NotFound("There is no such answer.")
    question = conversation.messages.filter(role=Message.Role.PERSON, created_at__lt=answer.created_at).last()
    if question is None:
        raise NotFound("There is no such answer.")
    return answer, question


def _own(person: Person) -> QuerySet[Conversation]:
    return Conversation.objects.filter(owner_id=person.id)
