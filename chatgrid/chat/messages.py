"""Writes conversations and messages on the chat path: short statements on the asynchronous pool, no thread.

Rules:
- A question and the place of its answer are written in one statement: neither is ever there without the other.
- While an answer is written its text is saved every `SAVE_SECONDS`; a killed process loses no more than that, and
  `close_lost_answers` says on the page that the answer broke off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from django.db.models import QuerySet
from psycopg.types.json import Jsonb

from audit.database import connection
from audit.statements import Statement
from chatgrid.chat.models import TITLE_LENGTH, Conversation, Message
from departments.calls.typed import without_secrets
from departments.http import Person
from departments.models import Department

SAVE_SECONDS = 1.5
HISTORY_MESSAGES = 24

_CREATED = """
    WITH conversation AS (
        INSERT INTO chat_conversation (id, department_id, owner_id, title, scope, created_at, updated_at)
        VALUES (%(conversation)s, %(department)s, %(owner)s, %(title)s, %(scope)s, clock_timestamp(), clock_timestamp())
    )
"""
_TOUCHED = """
    WITH conversation AS (
        UPDATE chat_conversation SET updated_at = clock_timestamp(), scope = %(scope)s WHERE id = %(conversation)s
    )
"""
_DELETED = """, replaced AS (DELETE FROM chat_message WHERE id = %(replaced)s AND conversation_id = %(conversation)s)"""
_INSERT = """
    INSERT INTO chat_message (id, conversation_id, role, text, state, problem, call_id, citations, created_at, alive_at)
    VALUES
"""
_QUESTION = """(
        %(question)s, %(conversation)s, 'person', %(text)s, 'complete', '', NULL, '[]',
        clock_timestamp(), clock_timestamp()
    ),
"""
# both are written within a microsecond, and the page puts them in the order of their times
_ANSWER = """(
        %(answer)s, %(conversation)s, 'assistant', '', 'writing', '', %(call)s, '[]',
        clock_timestamp() + interval '1 microsecond', clock_timestamp()
    )
"""
_BEGIN_NEW = (_CREATED + _INSERT + _QUESTION + _ANSWER).encode()
_BEGIN = (_TOUCHED + _INSERT + _QUESTION + _ANSWER).encode()
_BEGIN_AGAIN = (_TOUCHED + _DELETED + _INSERT + _ANSWER).encode()
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
    statement = _BEGIN_AGAIN if replaced else _BEGIN
    if conversation is None:
        title, statement = title_of(question), _BEGIN_NEW
        conversation = Conversation(pk=uuid4(), department_id=department.pk, owner_id=person.id, title=title)
    answer = Message(
        pk=uuid4(),
        conversation_id=conversation.pk,
        role=Message.Role.ASSISTANT,
        state=Message.State.WRITING,
        call_id=call_id,
    )
    written = {
        "conversation": conversation.pk,
        "department": department.pk,
        "owner": person.id,
        "title": conversation.title,
        "scope": Jsonb(scope or {}),
        "replaced": replaced,
        "question": uuid4(),
        "text": _storable(question),
        "answer": answer.pk,
        "call": call_id,
    }
    async with connection() as held:
        await held.execute(statement, written)
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
    """The first line of a question, without a secret, cut at a word."""
    line = next((line for line in _storable(question).splitlines() if line.strip()), "").strip()
    line = without_secrets(line)
    if len(line) <= TITLE_LENGTH:
        return line
    cut = line[: TITLE_LENGTH - 1].rsplit(" ", 1)[0]
    return f"{cut}…"


def _storable(text: str) -> str:
    """PostgreSQL stores neither NUL nor lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
