"""How well a department's documents are found: `python -m tests.bench.retrieval [FOLDER ...]`.

Measures the demo company, and each folder of the form that tests/bench/corpus.py describes, with the simulator's
vectors: the figures show that the search works as a whole and what a change does to it, not what a provider's vectors
would reach.

- recall@5: the answer is among the five best passages; nDCG@10 by the rule of tests/bench/corpus.py; right: it is the
  first.
- turned away: an answerable question that the search has no confidence in. not found: one without an answer here in
  which it has none, as it should.
- leaks: passages of another department, which must be 0.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import corpus, shelf
from tests.bench.corpus import Corpus, Question

if TYPE_CHECKING:
    from departments.documents.store import Store


@dataclass(frozen=True)
class Result:
    """What one question found: which passages are right, best first."""

    question: Question
    right: tuple[bool, ...]
    confident: bool
    leaks: int
    milliseconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures how well documents are found.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    corpora = [corpus.demo(), *map(corpus.folder, parser.parse_args().folders)]
    with shelf.product():
        for measured in corpora:
            print("\n".join(report(measured, asyncio.run(_measure(measured)))))


async def _measure(measured: Corpus) -> list[Result]:
    return [result for department in sorted({document.department for document in measured.documents})
            for result in await _measure_department(measured, department)]  # fmt: skip


async def _measure_department(measured: Corpus, slug: str) -> list[Result]:
    from departments.documents.pools import close_pools
    from departments.documents.store import open_store

    department = await asyncio.to_thread(shelf.make_department, slug)
    documents = [
        (document.filename, document.content) for document in measured.documents if document.department == slug
    ]
    questions = [question for question in measured.questions if question.department == slug]
    try:
        async with open_store(department) as store:
            passages = await shelf.fill(store, documents)
            names = {name for name, _ in documents}
            return [await _ask(store, question, passages, names) for question in questions]
    finally:
        await close_pools()


async def _ask(store: Store, question: Question, passages: int, own: set[str]) -> Result:
    from departments.documents.search import search_by_vector

    [vector] = shelf.embed([question.text])
    started = time.perf_counter()
    result = await search_by_vector(store, question.text, vector, passages=passages, limit=10)
    milliseconds = (time.perf_counter() - started) * 1000
    cited = [await store.get_passage(found.version_id, found.ordinal) for found in result.passages]
    leaks = sum(passage is None or passage.filename not in own for passage in cited)
    right = tuple(corpus.is_relevant(question, found.text) for found in result.passages)
    return Result(question, right, result.confident, leaks, milliseconds)


def report(measured: Corpus, results: Sequence[Result]) -> list[str]:
    """The figures as lines."""
    answerable = [result for result in results if result.question.answerable]
    others = [result for result in results if not result.question.answerable]
    times = sorted(result.milliseconds for result in results)
    return [
        f"{measured.name}: {len(measured.documents)} documents, {len(results)} questions",
        f"  recall@5      {_mean([any(result.right[:5]) for result in answerable]):.3f}",
        f"  nDCG@10       {_mean([_gain(result.right) for result in answerable]):.3f}",
        f"  right         {_mean([result.right[:1] == (True,) for result in answerable]):.3f}",
        f"  turned away   {_mean([not result.confident for result in answerable]):.3f} of {len(answerable)}",
        f"  not found     {_mean([not result.confident for result in others]):.3f} of {len(others)}",
        f"  leaks         {sum(result.leaks for result in results)}",
        f"  p50 / p95     {statistics.median(times):.1f} / {times[int(len(times) * 0.95)]:.1f} ms",
    ]


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def _gain(right: Sequence[bool]) -> float:
    """nDCG of the first ten, with as many right ones as were found at all."""
    ideal = sum(1 / math.log2(rank + 2) for rank in range(sum(right[:10])))
    return sum(is_right / math.log2(rank + 2) for rank, is_right in enumerate(right[:10])) / ideal if ideal else 0.0


if __name__ == "__main__":
    main()
