"""Finding passages for a question, in one department's store.

Rules:
- Two sides: cosine similarity of vectors, and BM25 over lexemes. Each finds candidates, every candidate gets both
  scores, each score is stretched to 0 to 1 over the candidates, and the sum weighs the vector with `VECTOR_WEIGHT`.
- Only passages of current versions are looked at; passages that say nearly the same are shown once.
- A store without passages is answered without a call to the provider.
- `confident` says whether there is reason to believe that the answer is among the passages; see `_is_confident`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from pgvector import HalfVector
from psycopg import sql

from departments.calls.caller import Caller, Purpose
from departments.calls.embeddings import embed
from departments.documents.records import place_in_words
from departments.documents.schema import LANGUAGE
from departments.documents.store import Store
from departments.models import Department

VECTOR_WEIGHT = 0.6
CANDIDATES = 60  # of each side
TEXT_REACH = 8_000  # passages; rarer words first, so a question of common words does not read the whole store
NEARLY_SAME = 0.8  # share of three-word sequences that two passages have in common
COVERAGE_WEIGHT = 0.25
EVIDENCE = 0.29
LONGEST_QUESTION = 8_000  # characters; a question that is a pasted document is searched by its beginning

_FILE = Path(__file__).parent / "sql" / "search.sql"
_STATEMENT = sql.SQL(_FILE.read_text(encoding="utf-8")).format(language=sql.Literal(LANGUAGE)).as_string().encode()
_SET_REACH = "SELECT set_config('hnsw.ef_search', %s, true)"


@dataclass(frozen=True)
class Found:
    """A passage that was found. `score` is 0 to 1 within one search; a rank is None where that side did not find it.

    `similarity` is the cosine, `background` its median over the candidates, `coverage` the share of the question's
    words, weighed by how rare they are, that stand in the passage.
    """

    document_id: UUID
    version_id: UUID
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
class SearchResult:
    """Passages, best first, and whether the answer is likely to be among them."""

    passages: list[Found]
    confident: bool


async def search(
    store: Store, department: Department, caller: Caller, question: str, *, limit: int = 6
) -> SearchResult:
    """The passages that fit a question best. Raises CallRefused or CallFailed from the door, and StoreDown."""
    if store.department.pk != department.pk:
        raise ValueError("A department's question is asked in its own store: open the store of this department.")
    question = question.replace("\x00", " ")[:LONGEST_QUESTION]
    passages = await store.count_searchable()
    if not passages or not question.strip():
        return SearchResult([], confident=False)
    [vector] = await embed(store.department, caller, [question], purpose=Purpose.SEARCH)
    return await search_by_vector(store, question, vector, passages=passages, limit=limit)


async def search_by_vector(
    store: Store,
    question: str,
    vector: list[float],
    *,
    passages: int,
    limit: int = 6,
    weight: float = VECTOR_WEIGHT,
) -> SearchResult:
    """The same for a question whose vector is known; `passages` is the size of the store.

    `weight` is the vector's share of a score: 1 is the search by meaning alone, 0 the one by words alone.
    """
    asked = {
        "question": question,
        "vector": HalfVector(vector),
        "candidates": CANDIDATES,
        "reach": TEXT_REACH,
        "weight": weight,
        "wanted": 3 * limit,
    }
    async with store.connection() as held, held.transaction():
        await held.execute(_SET_REACH, [str(index_reach(passages))])
        rows = await (await held.execute(_STATEMENT, asked)).fetchall()
    found = without_repetitions([Found(**row) for row in rows], limit)
    return SearchResult(found, _is_confident(found))


def index_reach(passages: int) -> int:
    """How far a search walks the vector index (hnsw.ef_search): recall falls with size, so it grows with the store."""
    if passages <= 5_000:
        return 80
    return 160 if passages <= 50_000 else 320


def without_repetitions(found: list[Found], limit: int) -> list[Found]:
    """The first `limit` passages, without those that say nearly the same as a better one."""
    kept: list[Found] = []
    seen: list[frozenset[tuple[str, ...]]] = []
    for passage in found:
        sequences = _sequences(passage.text)
        if len(kept) < limit and not any(_alike(sequences, others) for others in seen):
            kept.append(passage)
            seen.append(sequences)
    return kept


def _sequences(text: str) -> frozenset[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return frozenset(zip(words, words[1:], words[2:], strict=False)) or frozenset([tuple(words)])


def _alike(first: frozenset[tuple[str, ...]], second: frozenset[tuple[str, ...]]) -> bool:
    return len(first & second) >= NEARLY_SAME * len(first | second)


def _is_confident(found: list[Found]) -> bool:
    """Whether one of the first three passages has evidence enough: its similarity and a quarter of its coverage.

    - Vectors alone cannot tell: their scale differs from model to model, and a question on a neighbouring subject is
      near to something in every store. Words alone cannot either: a paraphrase shares few with its answer.
    - Coverage weighs words by how rare they are and counts those that stand nowhere in the store as the rarest, so a
      question about something the department never wrote of loses most of it.
    - The threshold was set with `python -m tests.bench.retrieval` so that hardly an answerable question is turned
      away; about half of the others still pass, and for those the assistant's own instruction is to say that nothing
      fits.
    """
    return any(passage.similarity + COVERAGE_WEIGHT * passage.coverage >= EVIDENCE for passage in found[:3])
