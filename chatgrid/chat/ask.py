"""Asking a question, from the words in the box to the last word of the answer.

The story, told once for the streaming page and for the page without JavaScript:
search the department's documents -> make the call -> write question and answer down -> pass the text on -> finish.

Rules:
- A question that a limit refuses leaves no trace in the conversation: the person still has it in the box.
- A question with a secret in it is warned of, blocked or redacted before any of it is sent or kept.
- A question whose call fails is kept, with the sentence that says why and a button to ask again.
- An answer's citations are those numbers in its text that a passage was given for. When it is whole they are checked,
  and what is not confirmed is marked in the message and on the page (chatgrid/chat/citations.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from audit.database import DatabaseDown
from audit.events import Outcome
from chatgrid.chat import messages
from chatgrid.chat.citations import Check, check
from chatgrid.chat.markdown import cited_statements
from chatgrid.chat.models import Conversation, Message
from chatgrid.chat.scope import scope_of
from departments.calls import run
from departments.calls.answer import ABANDONED, Answer, Ending
from departments.calls.caller import Caller, CallFailed
from departments.calls.guard_in import Guarded
from departments.calls.meter import Meter
from departments.calls.run import Ask, PassageData, Turn
from departments.calls.typed import allow_typed, without_secrets
from departments.documents.search import Found, search
from departments.documents.store import StoreDown, open_store
from departments.documents.use import note_citations, note_unanswered
from departments.http import Person
from departments.models import Department

PASSAGES = 6
NEAREST = 3  # passages shown where there is no confident match
QUOTE = 1_200  # characters of a passage that a citation keeps; a passage is rarely longer
STATES = {
    Outcome.ANSWERED: Message.State.COMPLETE,
    Outcome.STOPPED: Message.State.STOPPED,
    Outcome.FAILED: Message.State.FAILED,
}

logger = logging.getLogger(__name__)


@dataclass
class Exchange:
    """A question and its answer while they are made. `conversation` and `answer` are there once `begun`."""

    person: Person
    department: Department
    question: str
    address: str
    conversation: Conversation | None = None
    history: Sequence[tuple[str, str]] = ()
    replaced: UUID | None = None
    answer: Message | None = None
    found: list[Found] = field(default_factory=list)
    in_doubt: bool = False  # the passages are given to the assistant, and the search has no confidence in them
    nearest: list[Found] = field(default_factory=list)  # for the person, where the search has none
    meter: Meter | None = None  # after the answer, once it is settled
    call_id: UUID = field(default_factory=uuid4)
    guarded: Guarded = field(
        default_factory=lambda: Guarded("")
    )  # what was seen in question and passages, once they were looked at
    scope: dict[str, Any] = field(default_factory=dict)  # what the search is narrowed to (chatgrid/chat/scope.py)
    problem: str = ""  # what is wrong with the question's form; then it is not asked
    confirmed: bool = False  # warned of a secret in the question, the person sends it all the same

    @property
    def caller(self) -> Caller:
        return Caller(self.person.id, self.person.name, self.address)

    @property
    def numbers(self) -> range:
        """The citation numbers that exist for this answer."""
        return range(1, len(self.found) + 1)

    async def begin(self) -> Message:
        self.conversation, self.answer = await messages.begin(
            self.conversation,
            self.department,
            self.person,
            self.question,
            self.call_id,
            self.replaced,
            self.scope,
        )
        return self.answer


async def ask(exchange: Exchange) -> AsyncGenerator[str]:
    """Make the exchange. The first item is empty and says that it has begun; then comes the answer's text.

    Raises CallRefused or SecretTyped before the first item, where a limit or a secret in the question is in the way.
    Everything else ends in `exchange.answer`.
    """
    # before the search, whose embedding sends the question, and before anything of it is kept
    exchange.question = await allow_typed(
        exchange.department, exchange.caller, exchange.question, confirmed=exchange.confirmed
    )
    try:
        exchange.found = await _search(exchange)
        async with run.answering(_call(exchange)) as (answer, text), _written_down(exchange, answer):
            yield ""
            async for flush in _saved(exchange, text):
                yield flush
        exchange.meter = answer.meter
    except CallFailed as failure:
        if exchange.answer is None:
            await _keep_question(exchange)
            yield ""
        await _finish(exchange, Ending(Outcome.FAILED, failure.sentence, failure.reason))


@asynccontextmanager
async def _written_down(exchange: Exchange, answer: Answer) -> AsyncIterator[None]:
    """The question and the place of its answer are there while the block runs; however that ends, the answer does."""
    exchange.guarded = answer.guarded
    await exchange.begin()
    try:
        yield
    finally:
        await asyncio.shield(_finish(exchange, answer.ending or ABANDONED))


async def _search(exchange: Exchange) -> list[Found]:
    try:
        async with open_store(exchange.department) as store:
            result = await search(
                store,
                exchange.department,
                exchange.caller,
                exchange.question,
                earlier=[text for role, text in exchange.history if role == Message.Role.PERSON],
                scope=scope_of(exchange.scope),
                limit=PASSAGES,
            )
    except StoreDown as down:
        logger.error("store of department %s is down: %s", exchange.department.pk, down)
        raise CallFailed(down.sentence, reason="store_down") from down
    if result.confident:
        return list(result.passages)
    exchange.nearest = list(result.passages[:NEAREST])
    exchange.in_doubt = result.worth_reading
    return list(result.passages) if exchange.in_doubt else []


def _call(exchange: Exchange) -> Ask:
    return Ask(
        department=exchange.department,
        caller=exchange.caller,
        question=exchange.question,
        history=[Turn(role, text) for role, text in exchange.history],
        passages=[
            PassageData(number, found.title, " > ".join(found.heading_path), found.text)
            for number, found in enumerate(exchange.found, start=1)
        ],
        passage_ids=[f"{found.version_id}:{found.ordinal}" for found in exchange.found],
        in_doubt=exchange.in_doubt,
        call_id=exchange.call_id,
        confirmed=exchange.confirmed,
    )


async def _saved(exchange: Exchange, text: AsyncIterator[str]) -> AsyncIterator[str]:
    """The text as it comes, kept in the answer and, every so often, in the database."""
    answer = exchange.answer
    assert answer is not None, "begun before anything is passed on"  # noqa: S101
    saved_at = time.monotonic()
    async for flush in text:
        answer.text += flush
        if time.monotonic() > saved_at + messages.SAVE_SECONDS:
            await _try_to_save(answer)
            saved_at = time.monotonic()
        yield flush


async def _try_to_save(answer: Message) -> None:
    try:
        await messages.save(answer)
    except DatabaseDown:
        logger.error("answer %s not saved, the database is away; it is tried again", answer.pk)


async def _keep_question(exchange: Exchange) -> None:
    try:
        await exchange.begin()
    except DatabaseDown:
        # nothing can be kept: the page still gets its sentence, from an answer that exists only here
        exchange.answer = Message(role=Message.Role.ASSISTANT, state=Message.State.WRITING)


async def _finish(exchange: Exchange, ending: Ending) -> None:
    answer = exchange.answer
    assert answer is not None, "an exchange that ends has begun"  # noqa: S101
    answer.state = STATES.get(ending.outcome, Message.State.INTERRUPTED)
    answer.problem = ending.sentence
    answer.citations = [_citation(number, exchange.found[number - 1], exchange) for number in _cited(exchange)]
    answer.citation_check = {**_checked(exchange).to_json(), **_nearest(exchange)}
    answer.labels = list(exchange.guarded.seen)
    if exchange.conversation is None:
        return  # the database was away when it began: there is no row to finish
    try:
        await messages.finish(answer)
    except DatabaseDown:
        logger.error("answer %s not finished, the database is away; it will be closed as broken off", answer.pk)
        return
    if answer.state == Message.State.COMPLETE:
        await _note_use(exchange)


async def _note_use(exchange: Exchange) -> None:
    """For the department's admins: which documents were cited, or that nothing was found. It knows nobody's name."""
    cited = {exchange.found[number - 1].document_id for number in _cited(exchange)}
    try:
        async with open_store(exchange.department) as store:
            if cited or (exchange.found and not exchange.in_doubt):
                await note_citations(store, cited)
            else:
                await note_unanswered(store, without_secrets(exchange.question), narrowed=bool(exchange.scope))
    except StoreDown:
        logger.warning("the use of documents of department %s was not noted", exchange.department.pk)


def _cited(exchange: Exchange) -> list[int]:
    assert exchange.answer is not None  # noqa: S101
    mentioned = {number for _, number in cited_statements(exchange.answer.text, exchange.numbers)}
    return [number for number in exchange.numbers if number in mentioned]


def _checked(exchange: Exchange) -> Check:
    assert exchange.answer is not None  # noqa: S101
    texts = {number: _whole(exchange.found[number - 1]) for number in exchange.numbers}
    return check(exchange.answer.text, texts)


def _nearest(exchange: Exchange) -> dict[str, Any]:
    """What the search had no confidence in and no answer cites: for the person, who can judge."""
    if _cited(exchange):
        return {}
    nearest = [_citation(number, found) for number, found in enumerate(exchange.nearest, start=1)]
    return {"nearest": nearest} if nearest else {}


def _whole(found: Found) -> str:
    """A passage as the model was given it: title and headings belong to what it says."""
    return "\n".join([found.title, *found.heading_path, found.text])


def _citation(number: int, found: Found, exchange: Exchange | None = None) -> dict[str, Any]:
    """What a citation keeps: enough to be read when the document is gone, and what was seen in what was sent."""
    planted = exchange.guarded.planted if exchange else ()
    return {
        "number": number,
        "document": str(found.document_id),
        "version": str(found.version_id),
        "version_number": found.version_number,
        "generation": found.generation,
        "ordinal": found.ordinal,
        "title": found.title,
        "headings": list(found.heading_path),
        "locator": found.locator,
        "quote": found.text[:QUOTE],
        "uploader": found.uploader,
        "uploaded_at": found.uploaded_at.isoformat(),
        "labels": list(planted[number - 1]) if planted else [],
    }
