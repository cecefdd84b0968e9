"""Golden questions: a department's own, each with the passage that answers it, by which its search is measured.

Rules:
- A right passage is kept as its document and its words, so it is known again in a newer version and however the
  documents are cut: half of the shorter one's sequences of three words are enough.
- A question can also be one that nothing here answers; then it is right that the search has no confident match.
- A question is kept once: kept again, it has the passage that was named last.
- A run asks all of them of one generation and is kept for ever: `hit` is right among the passages that an answer gets.
- After a change of the documents a run is made by itself (departments/documents/tasks.py), once nothing is being read.
  A question's vector is kept, so that asking again costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from pgvector import HalfVector

from audit.events import Event
from audit.writer import arecord
from departments.calls.caller import Caller, Purpose
from departments.calls.embeddings import embed
from departments.documents.events import search_entry
from departments.documents.records import Recipe
from departments.documents.repetitions import shared_words
from departments.documents.search import Found, SearchResult, search_by_vector
from departments.documents.store import Store

DEPTH = 6  # passages that an answer gets
SAME_PASSAGE = 0.5
LONGEST_QUESTION = 1_000
MOST_QUESTIONS = 200
RUNS_SHOWN = 40

AFTER_CHANGE = "The documents have changed"
TOO_MANY = f"There are {MOST_QUESTIONS} golden questions already: remove some that say the same."

_CHANGE = """
    UPDATE golden_question SET
        document_id = %(document)s, quote = %(quote)s, person_id = %(person)s, person_name = %(name)s
    WHERE lower(question) = lower(%(question)s) RETURNING id
"""
_ADD = """
    INSERT INTO golden_question (id, question, document_id, quote, person_id, person_name)
    SELECT %(id)s, %(question)s, %(document)s, %(quote)s, %(person)s, %(name)s
    WHERE (SELECT count(*) FROM golden_question) < %(most)s
    RETURNING id
"""
_REMOVE = "DELETE FROM golden_question WHERE id = %s RETURNING question"
_LIST = """
    SELECT
        golden_question.id, golden_question.question, golden_question.document_id, golden_question.quote,
        golden_question.person_id, golden_question.person_name, golden_question.created_at,
        golden_question.vector, golden_question.vector_model, coalesce(document.title, '') AS title
    FROM golden_question LEFT JOIN document ON document.id = golden_question.document_id
    ORDER BY golden_question.created_at, golden_question.id
"""
_KEEP_VECTOR = "UPDATE golden_question SET vector = %s, vector_model = %s WHERE id = %s"
_STATE = """
    SELECT corpus.generation || ':' || md5(coalesce(string_agg(current_version::text, ',' ORDER BY id), '')) AS state
    FROM corpus LEFT JOIN document ON deleted_at IS NULL AND current_version IS NOT NULL
    GROUP BY corpus.generation
"""
_KEEP_RUN = """
    INSERT INTO golden_run
        (id, reason, person_name, generation, model, passage_tokens, state, questions, found, first)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_KEEP_RESULT = """
    INSERT INTO golden_result (run_id, question_id, rank, confident, is_right)
    SELECT %s, id, %s, %s, %s FROM golden_question WHERE id = %s
"""
_RUNS = """
    SELECT id, at, reason, person_name, generation, model, passage_tokens, questions, found, first
    FROM golden_run ORDER BY at DESC, id LIMIT %s
"""
_RESULTS = "SELECT question_id, rank, confident, is_right FROM golden_result WHERE run_id = %s"
_IS_DUE = """
    SELECT EXISTS (SELECT FROM golden_question)
        AND NOT EXISTS (SELECT FROM version WHERE state IN ('received', 'extracting', 'embedding'))
        AND (SELECT state FROM golden_run ORDER BY at DESC LIMIT 1) IS DISTINCT FROM %s AS due
"""


@dataclass(frozen=True)
class GoldenQuestion:
    """A question and what answers it: words of a document, or nothing (`document_id` is None)."""

    id: UUID
    question: str
    document_id: UUID | None
    quote: str
    person_id: UUID
    person_name: str
    created_at: datetime
    vector: Any
    vector_model: str
    title: str

    def is_answered_by(self, found: Found) -> bool:
        """Whether this is the right passage."""
        return found.document_id == self.document_id and shared_words(found.text, self.quote) >= SAME_PASSAGE


@dataclass(frozen=True)
class GoldenResult:
    """What became of one question: `rank` of the right passage from 1, None where it was not found."""

    question_id: UUID
    rank: int | None
    confident: bool
    is_right: bool


@dataclass(frozen=True)
class GoldenRun:
    """One measurement of all questions. `found` counts the right results, `first` those with the right one on top."""

    id: UUID
    at: datetime
    reason: str
    person_name: str
    generation: int
    model: str
    passage_tokens: int
    questions: int
    found: int
    first: int

    @property
    def percent(self) -> int:
        """The hit rate."""
        return round(100 * self.found / self.questions) if self.questions else 0


async def add(store: Store, caller: Caller, question: str, document_id: UUID | None, quote: str) -> bool:
    """Keeps a question, or gives one that is kept another answer; False where there are too many."""
    asked = {
        "id": uuid4(),
        "question": question.strip()[:LONGEST_QUESTION],
        "document": document_id,
        "quote": quote,
        "person": caller.person_id,
        "name": caller.person_name,
        "most": MOST_QUESTIONS,
    }
    async with store.connection() as held, held.transaction():
        await held.execute("SELECT pg_advisory_xact_lock(hashtext('golden'))")  # a button pressed twice
        kept = await (await held.execute(_CHANGE, asked)).fetchone()
        kept = kept or await (await held.execute(_ADD, asked)).fetchone()
        if kept is None:
            return False
        details = {"question_id": str(kept["id"]), "document": str(document_id or "")}
        await arecord(search_entry(Event.SEARCH_GOLDEN_ADDED, store.department, caller, details))
    return True


async def remove(store: Store, caller: Caller, question_id: UUID) -> bool:
    """Removes a question; False if it is not there."""
    async with store.connection() as held, held.transaction():
        if await (await held.execute(_REMOVE, [question_id])).fetchone() is None:
            return False
        await arecord(
            search_entry(Event.SEARCH_GOLDEN_REMOVED, store.department, caller, {"question_id": str(question_id)})
        )
    return True


async def list_questions(store: Store) -> list[GoldenQuestion]:
    """All of them, oldest first."""
    async with store.connection() as held:
        return [GoldenQuestion(**row) for row in await (await held.execute(_LIST)).fetchall()]


async def list_runs(store: Store, limit: int = RUNS_SHOWN) -> list[GoldenRun]:
    """The latest measurements, newest first."""
    async with store.connection() as held:
        return [GoldenRun(**row) for row in await (await held.execute(_RUNS, [limit])).fetchall()]


async def results_of(store: Store, run_id: UUID) -> dict[UUID, GoldenResult]:
    """What became of each question in a run."""
    async with store.connection() as held:
        rows = await (await held.execute(_RESULTS, [run_id])).fetchall()
    return {row["question_id"]: GoldenResult(**row) for row in rows}


async def is_due(store: Store) -> bool:
    """Whether the documents have changed since the last run and nothing is being read any more."""
    async with store.connection() as held:
        state = await (await held.execute(_STATE)).fetchone()
        row = await (await held.execute(_IS_DUE, [state["state"] if state else ""])).fetchone()
    return bool(row and row["due"])


async def measure(store: Store, caller: Caller, reason: str, *, recipe: Recipe, tables: str = "") -> GoldenRun | None:
    """Asks all questions of a generation and keeps what came of it; None without questions.

    `tables` is "_shadow" for the generation that is being prepared. Raises CallRefused or CallFailed from the door.
    """
    questions = await list_questions(store)
    if not questions:
        return None
    vectors = await _vectors(store, caller, questions, recipe, keeps=not tables)
    results = [
        _judged(question, await search_by_vector(store, question.question, vector, recipe=recipe, tables=tables))
        for question, vector in zip(questions, vectors, strict=True)
    ]
    await _keep(store, caller, reason, recipe, results)
    return (await list_runs(store, 1))[0]


def _judged(question: GoldenQuestion, result: SearchResult) -> GoldenResult:
    ranks = [place for place, found in enumerate(result.passages[:DEPTH], start=1) if question.is_answered_by(found)]
    rank = ranks[0] if ranks else None
    is_right = result.worth_reading and rank is not None if question.document_id else not result.confident
    return GoldenResult(question.id, rank, result.confident, is_right)


async def _vectors(
    store: Store, caller: Caller, questions: Sequence[GoldenQuestion], recipe: Recipe, *, keeps: bool
) -> list[list[float]]:
    """Those that are kept, and new ones in one call for the others."""
    wanted = f"{recipe.model}/{recipe.dimensions}"
    missing = [question for question in questions if question.vector_model != wanted]
    made = await embed(
        store.department,
        caller,
        [question.question for question in missing],
        purpose=Purpose.SEARCH,
        model=recipe.model,
        dimensions=recipe.dimensions,
    )
    fresh = {question.id: vector for question, vector in zip(missing, made, strict=True)}
    if keeps and fresh:
        async with store.connection() as held:
            for question_id, vector in fresh.items():
                await held.execute(_KEEP_VECTOR, [HalfVector(vector), wanted, question_id])
    return [fresh.get(question.id) or question.vector.to_list() for question in questions]


async def _keep(store: Store, caller: Caller, reason: str, recipe: Recipe, results: Sequence[GoldenResult]) -> None:
    run, found = uuid4(), sum(result.is_right for result in results)
    first = sum(result.is_right and result.rank in {1, None} for result in results)
    about = [recipe.generation, recipe.model, recipe.passage_tokens]
    details = {"generation": recipe.generation, "model": recipe.model, "questions": len(results), "found": found}
    async with store.connection() as held, held.transaction():
        state = await (await held.execute(_STATE)).fetchone()
        counts = [state["state"] if state else "", len(results), found, first]
        await held.execute(_KEEP_RUN, [run, reason, caller.person_name, *about, *counts])
        for each in results:
            await held.execute(_KEEP_RESULT, [run, each.rank, each.confident, each.is_right, each.question_id])
        await arecord(search_entry(Event.SEARCH_GOLDEN_ASKED, store.department, caller, {"reason": reason, **details}))
