"""Finding passages for a question, in one department's store.

Rules:
- Two sides: cosine similarity of vectors, and BM25 over lexemes. Each finds candidates, every candidate gets both
  scores, each score is stretched to 0 to 1 over the candidates, and the sum weighs the vector with `VECTOR_WEIGHT`.
- Only passages of current versions are looked at, within `Scope` where the person has narrowed it; passages that repeat
  a better one are left out (departments/documents/repetitions.py).
- A question that leans on an earlier one is searched together with it (departments/documents/followups.py).
- A store without passages is answered without a call to the provider.
- `confident` says whether there is reason to believe that the answer is among the passages, `worth_reading` whether
  it might be (departments/documents/confidence.py).
- The question is embedded by the model that embedded the searched passages, whatever the settings say now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any
from uuid import UUID

from pgvector import HalfVector
from psycopg import sql

from departments.calls.caller import Caller, Purpose
from departments.calls.embeddings import embed
from departments.documents.confidence import ENOUGH, LEAST, calibration_of
from departments.documents.followups import searched_text, with_earlier
from departments.documents.pools import Connection
from departments.documents.records import Recipe, place_in_words
from departments.documents.repetitions import without_repetitions
from departments.documents.schema import LANGUAGE
from departments.documents.store import Store
from departments.models import Department

VECTOR_WEIGHT = 0.6
CANDIDATES = 60  # of each side
EVERYTHING = 10 * CANDIDATES  # candidates and passages of a second look, where the first brought repetitions only
LONGEST_QUESTION = 8_000  # characters; a question that is a pasted document is searched by its beginning

_FILE = Path(__file__).parent / "sql" / "search.sql"
# an index walk goes on where a narrowed search has not found enough within its reach; to compile the plan would cost
# more than it saves
_SET_REACH = """
    SELECT
        set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'strict_order', true),
        set_config('jit', 'off', true)
"""
_CHOSEN = """
    SELECT version.id FROM document JOIN version ON version.id = document.current_version
    WHERE (%(documents)s::uuid[] IS NULL OR document.id = ANY(%(documents)s))
        AND (%(kinds)s::text[] IS NULL OR version.kind = ANY(%(kinds)s))
        AND (%(since)s::date IS NULL OR version.uploaded_at >= %(since)s::date)
        AND (%(until)s::date IS NULL OR version.uploaded_at < %(until)s::date + 1)
"""


def _statement(tables: str, *, narrowed: bool) -> bytes:
    """The search in the tables of a generation, in all of it or in the versions that are given."""
    text = sql.SQL(_FILE.read_text(encoding="utf-8"))
    return (
        text.format(
            language=sql.Literal(LANGUAGE),
            passage=sql.Identifier(f"passage{tables}"),
            lexeme=sql.Identifier(f"lexeme{tables}"),
            corpus=sql.Identifier(f"corpus{tables}"),
            narrowed=sql.SQL("AND passage.version_id = ANY(%(versions)s)" if narrowed else ""),
        )
        .as_string()
        .encode()
    )


_STATEMENTS = {
    (tables, narrowed): _statement(tables, narrowed=narrowed)
    for tables in ("", "_shadow")
    for narrowed in (False, True)
}


@dataclass(frozen=True)
class Found:
    """A passage that was found. `score` is 0 to 1 within one search; a rank is None where that side did not find it.

    `similarity` is the cosine, `background` its median over the candidates, `coverage` the share of the question's
    words, weighed by how rare they are, that stand in the passage.
    """

    document_id: UUID
    version_id: UUID
    generation: int
    ordinal: int
    title: str
    heading_path: list[str]
    locator: Mapping[str, Any]
    text: str
    score: float
    vector_rank: int | None
    text_rank: int | None
    version_number: int
    uploader: str
    uploaded_at: datetime
    similarity: float
    relevance: float
    background: float
    coverage: float

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return place_in_words(self.locator)


@dataclass(frozen=True)
class Scope:
    """What a question is about, where the person has narrowed it; nothing chosen means everything.

    Days are those on which a version was uploaded, in UTC, both included.
    """

    documents: tuple[UUID, ...] = ()
    kinds: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None

    @property
    def is_everything(self) -> bool:
        return self == Scope()


@dataclass(frozen=True)
class SearchResult:
    """Passages, best first; how likely the answer is among them, 0 to 1; and whether that is enough.

    `searched` is the text that was searched for: the question, perhaps with the one it continues.
    """

    passages: list[Found]
    confident: bool
    probability: float = 0.0
    searched: str = ""

    @property
    def worth_reading(self) -> bool:
        """Whether an assistant should be given the passages, in doubt where the search is not confident."""
        return self.confident or self.probability >= LEAST


async def search(
    store: Store,
    department: Department,
    caller: Caller,
    question: str,
    *,
    earlier: Sequence[str] = (),
    scope: Scope = Scope(),
    limit: int = 6,
) -> SearchResult:
    """The passages that fit a question best; `earlier` are the person's questions before it, oldest first.

    Raises CallRefused or CallFailed from the door, and StoreDown.
    """
    if store.department.pk != department.pk:
        raise ValueError("A department's question is asked in its own store: open the store of this department.")
    recipe = await store.recipe()
    if not recipe.passages or not question.strip():
        return SearchResult([], confident=False)
    alone, together = searched_text(question, earlier), with_earlier(question, earlier)
    result = await _search_once(store, caller, recipe, alone, scope, limit)
    if result.confident or alone == together:
        return result
    # in another language, or in words that followups.py does not know, a question may lean on the one before
    second = await _search_once(store, caller, recipe, together, scope, limit)
    return second if second.confident else result


async def _search_once(
    store: Store, caller: Caller, recipe: Recipe, text: str, scope: Scope, limit: int
) -> SearchResult:
    text = text.replace("\x00", " ")[-LONGEST_QUESTION:]
    [vector] = await embed(
        store.department, caller, [text], purpose=Purpose.SEARCH, model=recipe.model, dimensions=recipe.dimensions
    )
    return await search_by_vector(store, text, vector, recipe=recipe, scope=scope, limit=limit)


async def search_by_vector(
    store: Store,
    question: str,
    vector: list[float],
    *,
    recipe: Recipe,
    scope: Scope = Scope(),
    limit: int = 6,
    weight: float = VECTOR_WEIGHT,
    tables: str = "",
) -> SearchResult:
    """The same for a question whose vector is known, in the passages that `recipe` made.

    `weight` is the vector's share of a score: 1 is the search by meaning alone, 0 the one by words alone. `tables` is
    "_shadow" for a generation that is being prepared.
    """
    asked: dict[str, Any] = {"question": question, "vector": HalfVector(vector), "weight": weight}
    asked["reach"] = text_reach(recipe.passages)
    found: list[Found] = []
    async with store.connection() as held, held.transaction():
        await held.execute(_SET_REACH, [str(index_reach(recipe.passages))])
        if not scope.is_everything:
            asked["versions"] = await _chosen(held, scope)
        statement = _STATEMENTS[tables, not scope.is_everything]
        for size in ({"candidates": CANDIDATES, "wanted": 3 * limit}, {"candidates": EVERYTHING, "wanted": EVERYTHING}):
            rows = await (await held.execute(statement, asked | size)).fetchall()
            found = without_repetitions([Found(**row) for row in rows], limit, attrgetter("text"))
            if len(found) == limit or len(rows) < size["wanted"]:
                break
    probability = calibration_of(recipe.model).probability(found)
    return SearchResult(found, probability >= ENOUGH, probability, question)


async def _chosen(held: Connection, scope: Scope) -> list[UUID]:
    """The versions within a scope."""
    asked = {
        "documents": list(scope.documents) or None,
        "kinds": list(scope.kinds) or None,
        "since": scope.since,
        "until": scope.until,
    }
    return [row["id"] for row in await (await held.execute(_CHOSEN, asked)).fetchall()]


def text_reach(passages: int) -> int:
    """How many passages the words should bring, so that common words do not read the whole store.

    Each costs a look at its row. In 200,000 passages these hold 99 of 100 of the best ten by all words.
    """
    return 8_000 if passages <= 50_000 else 1_500


def index_reach(passages: int) -> int:
    """How far a search walks the vector index (hnsw.ef_search): recall falls with size, so it grows with the store."""
    if passages <= 5_000:
        return 80
    return 160 if passages <= 50_000 else 320
