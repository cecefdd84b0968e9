"""Writes conversations and messages on the chat path: short statements on the asynchronous pool, no thread.

Rules:
- A question and the place of its answer are written in one transaction: neither is ever there without the other.
- While an answer is written its text is saved every `SAVE_SECONDS`; a killed process loses no more than that, and
  `close_lost_answers` says on the page that the answer broke off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from django.db.models import QuerySet
from psycopg.types.json import Jsonb

from audit.database import connection, pipelined_transaction
from audit.statements import Statement
from chatgrid.chat.models import TITLE_LENGTH, Conversation, Message
from departments.http import Person
from departments.models import Department

SAVE_SECONDS = 1.5
HISTORY_MESSAGES = 24

_CONVERSATION = """
    INSERT INTO chat_conversation (id, department_id, owner_id, title, scope, created_at, updated_at)
    VALUES (%s, %s, %s, %s, %s, clock_timestamp(), clock_timestamp())
"""
_MESSAGE = """
    INSERT INTO chat_message (id, conversation_id, role, text, state, problem, call_id, citations, created_at, alive_at)
    VALUES (%s, %s, %s, %s, %s, '', %s, %s, clock_timestamp(), clock_timestamp())
"""
_TOUCH = "UPDATE chat_conversation SET updated_at = clock_timestamp(), scope = %s WHERE id = %s"
_DELETE = "DELETE FROM chat_message WHERE id = %s AND conversation_id = %s"
_SAVE = "UPDATE chat_message SET text = %s, alive_at = clock_timestamp() WHERE id = %s AND state = 'writing'"
_FINISH = """
    UPDATE chat_message SET
        text = %s, state = %s, problem = %s, citations = %s, citation_check = %s, labels = %s,
        alive_at = clock_timestamp()
    WHERE id = %s
"""


def _history(conversation_id: UUID) -> QuerySet[Message, tuple[str, str]]:
    latest = Message.objects.filter(conversation_id=conversation_id).exclude(text="").order_by("-created_at")
    return latest.values_list("role", "text")[:HISTORY_MESSAGES]


_HISTORY = Statement(_history, UUID)


async def history_of(conversation: Conversation) -> list[tuple[str, str]]:
    """Role and text of the latest messages, oldest first; what failed without a word is left out."""
    return [(role, text) for role, text in reversed(await _HISTORY.rows(conversation.pk))]


async def begin(
    conversation: Conversation | None,
    department: Department,
    person: Person,
    question: str,
    call_id: UUID,
    replaced: UUID | None = None,
    scope: Mapping[str, Any] | None = None,
) -> tuple[Conversation, Message]:
    """Write a question and the place of its answer, with the conversation where it is new.

    With `replaced`, the answer of that id makes room and its question stays. `scope` is what it was narrowed to.
    """
    new = conversation is None
    if conversation is None:
        title = title_of(question)
        conversation = Conversation(pk=uuid4(), department_id=department.pk, owner_id=person.id, title=title)
    answer = Message(
        pk=uuid4(),
        conversation_id=conversation.pk,
        role=Message.Role.ASSISTANT,
        state=Message.State.WRITING,
        call_id=call_id,
    )
    async with pipelined_transaction() as held:
        if new:
            whose = [conversation.pk, department.pk, person.id]
            await held.execute(_CONVERSATION, [*whose, conversation.title, Jsonb(scope or {})])
        else:
            await held.execute(_TOUCH, [Jsonb(scope or {}), conversation.pk])
        if replaced:
            await held.execute(_DELETE, [replaced, conversation.pk])
        else:
            await held.execute(_MESSAGE, _question_row(conversation, question))
        await held.execute(_MESSAGE, [answer.pk, conversation.pk, answer.role, "", answer.state, call_id, Jsonb([])])
    return conversation, answer


async def save(answer: Message) -> None:
    """Keep what was shown so far, and say that somebody still writes."""
    async with connection() as held:
        await held.execute(_SAVE, [_storable(answer.text), answer.pk])


async def finish(answer: Message) -> None:
    """The answer's last word."""
    cited = [Jsonb(answer.citations), Jsonb(answer.citation_check), Jsonb(answer.labels)]
    async with connection() as held:
        await held.execute(_FINISH, [_storable(answer.text), answer.state, answer.problem, *cited, answer.pk])


def title_of(question: str) -> str:
    """The first line of a question, cut at a word."""
    line = next((line for line in _storable(question).splitlines() if line.strip()), "").strip()
    if len(line) <= TITLE_LENGTH:
        return line
    cut = line[: TITLE_LENGTH - 1].rsplit(" ", 1)[0]
    return f"{cut}…"


def _question_row(conversation: Conversation, question: str) -> list[Any]:
    state = Message.State.COMPLETE
    return [uuid4(), conversation.pk, Message.Role.PERSON, _storable(question), state, None, Jsonb([])]


def _storable(text: str) -> str:
    """PostgreSQL stores neither NUL nor lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
