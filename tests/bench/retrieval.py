"""How well a department's documents are found and cited: `make bench-retrieval [CORPUS=folder] [EMBEDDINGS=url]`.

Measures the demo company, or each folder of the form that tests/bench/corpus.py describes. Vectors are the
simulator's, or with EMBEDDINGS those of an OpenAI-compatible server (tests/bench/minilm.py is one): only the latter
say what a model's vectors reach. The three searches compared use the same vectors, passages and statement.

- nDCG@10, recall@10, recall@5, hit@5 and first: see tests/bench/measures.py.
- answers: each question asked as an employee asks it, answered by the simulator. Right citation: a passage that the
  answer cites holds the labelled quote. Abstention: nothing is cited where this department has no answer.
- turned away: the search gave the assistant nothing to read; of answerable questions this is a loss. In doubt: it gave
  passages and said that it has no confidence in them.
- without a right citation: at which step it was lost (`LOSSES`); only the last is the simulated assistant's.
- leaks: passages that a question was given and that stand in no file of its department, which must be 0. The leak rate
  is the share of questions on another department's subject that were given one.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import corpus, shelf, vectors
from tests.bench.corpus import Corpus, Question, shortened
from tests.bench.measures import Ranked, hit, mean, ndcg, percentile, recall
from tests.bench.vectors import Vectors

if TYPE_CHECKING:
    from departments.documents.store import Store

SEARCHES = {"fused": None, "vector alone": 1.0, "text alone": 0.0}
ROUNDS = 3  # of timing, after one that warms
LOSSES = {  # where a right citation can be lost, in the order of the steps
    "no passage holds the quote": lambda asked: not asked.ranked["fused"].there,
    "not among those found": lambda asked: not any(asked.given),
    "turned away by the search": lambda asked: not asked.worth_reading,
    "given in doubt, and not cited by the assistant": lambda asked: not asked.confident,
    "given, and not cited by the assistant": lambda asked: True,
}


@dataclass
class Asked:
    """What became of one question: the order of each search, and its whole answer."""

    question: Question
    ranked: dict[str, Ranked]
    confident: bool
    worth_reading: bool
    milliseconds: list[float]
    leaks: int
    given: list[bool]  # each passage of an answer's: whether it holds the quote
    cited: list[bool] = field(default_factory=list)  # each citation of the answer: whether it holds the quote
    refused: str = ""  # the sentence with which the question was not asked
    evidence: Any = None

    @property
    def right(self) -> bool:
        """The answer cites a passage that holds the quote, or nothing where there is nothing to cite."""
        return any(self.cited) if self.question.answerable else not self.cited

    @property
    def lost(self) -> str:
        """The step at which an answerable question's right citation was lost."""
        return next(name for name, is_it in LOSSES.items() if is_it(self))


@dataclass
class Measured:
    """A corpus with its questions asked."""

    corpus: Corpus
    asked: list[Asked]
    passages: int
    seconds: float  # of ingestion
    unread: list[str] = field(default_factory=list)  # files that are not searched, with the reason


def main() -> None:
    arguments = _arguments()
    try:
        source = vectors.served(arguments.embeddings, arguments.model) if arguments.embeddings else vectors.simulated()
        corpora = [corpus.folder(path) for path in arguments.folders] or [corpus.demo()]
    except (corpus.Unusable, vectors.Unreachable) as error:
        raise SystemExit(str(error)) from None
    with shelf.product(source):
        for each in corpora:
            measured = asyncio.run(_measure(each, source))
            print("\n".join(report(measured, source)), flush=True)
            if arguments.details:
                arguments.details.write_text("\n".join(_detail(asked) for asked in measured.asked))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures how well documents are found.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--embeddings", metavar="URL", help="an OpenAI-compatible server, ending in /v1")
    parser.add_argument("--model", help="its model; the first that it lists unless given")
    parser.add_argument("--details", type=Path, help="a file for one line of JSON a question")
    return parser.parse_args()


async def _measure(each: Corpus, source: Vectors) -> Measured:
    from departments.documents.pools import close_pools

    measured = Measured(each, [], 0, 0.0)
    try:
        for slug in sorted({document.department for document in each.documents}):
            await _measure_department(measured, slug, source)
    finally:
        await close_pools()
    return measured


async def _measure_department(measured: Measured, slug: str, source: Vectors) -> None:
    from departments.documents.store import open_store

    department, person = await asyncio.to_thread(shelf.make_department, slug)
    files = [(each.filename, each.content) for each in measured.corpus.documents if each.department == slug]
    own = {hashlib.sha256(content).hexdigest() for _, content in files}
    started = time.perf_counter()
    measured.unread += await shelf.fill(department, person, files)
    measured.seconds += time.perf_counter() - started
    async with open_store(department) as store:
        texts = await shelf.texts_of(store)
        measured.passages += len(texts)
        for question in measured.corpus.questions:
            if question.department == slug:
                asked = await _search(store, question, source, texts, own)
                await _answer(department, person, asked)
                measured.asked.append(asked)


async def _search(store: Store, question: Question, source: Vectors, texts: list[str], own: set[str]) -> Asked:
    from departments.documents.search import VECTOR_WEIGHT, search_by_vector

    [vector] = source.embed([question.text], source.dimensions).tolist()
    recipe = await store.recipe()
    there = sum(corpus.is_relevant(question, text) for text in set(texts))  # a copy is shown once
    ranked = {}
    for name, weight in SEARCHES.items():
        weighed = VECTOR_WEIGHT if weight is None else weight
        found = await search_by_vector(store, question.text, vector, recipe=recipe, limit=10, weight=weighed)
        ranked[name] = Ranked(tuple(corpus.is_relevant(question, each.text) for each in found.passages), there)
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        result = await search_by_vector(store, question.text, vector, recipe=recipe)
        times.append((time.perf_counter() - started) * 1000)
    versions = [await store.get_version(each.version_id) for each in result.passages]
    leaks = sum(version is None or version.sha256 not in own for version in versions)
    evidence = [
        [each.similarity, each.background, each.relevance, each.coverage, each.score] for each in result.passages
    ]
    given = [corpus.is_relevant(question, each.text) for each in result.passages]
    return Asked(question, ranked, result.confident, result.worth_reading, times, leaks, given, evidence=evidence)


async def _answer(department: Any, person: Any, asked: Asked) -> None:
    """Asks as an employee does, and notes of each citation of the answer whether its passage holds the quote."""
    from chatgrid.chat.ask import Exchange, ask
    from departments.calls.caller import CallEndedEarly

    exchange = Exchange(person, department, asked.question.text, "")
    try:
        async for _ in ask(exchange):
            pass
    except CallEndedEarly as refusal:
        asked.refused = refusal.sentence
        return
    assert exchange.answer is not None
    cited = [exchange.found[citation["number"] - 1] for citation in exchange.answer.citations]
    asked.cited = [corpus.is_relevant(asked.question, found.text) for found in cited]


def report(measured: Measured, source: Vectors) -> list[str]:
    """The figures as lines."""
    answerable = [asked for asked in measured.asked if asked.question.answerable]
    documents = len(measured.corpus.documents)
    return [
        f"{measured.corpus.name}: {documents} documents, {measured.passages} passages, {len(measured.asked)} questions;"
        f" vectors of {source.model} ({source.dimensions})",
        *(f"  {note}" for note in measured.corpus.notes),
        *(f"  not searched: {note}" for note in shortened(measured.unread)),
        *(_found(answerable) if answerable else ["  no question that these documents should answer"]),
        *_told([asked for asked in measured.asked if not asked.question.answerable]),
        *(_asked(measured.asked) if measured.asked else []),
        f"  ingest              {documents / measured.seconds:.1f} documents, "
        f"{measured.passages / measured.seconds:.0f} passages a second",
    ]


def _found(answerable: Sequence[Asked]) -> list[str]:
    """How well passages are found and cited, and where right citations are lost."""
    lost = Counter(asked.lost for asked in answerable if not asked.right)
    return [
        f"  {'':<14}{'nDCG@10':>9}{'recall@10':>11}{'recall@5':>10}{'hit@5':>8}{'first':>8}",
        *(_line(name, [asked.ranked[name] for asked in answerable]) for name in SEARCHES),
        f"  right passage given {_share([any(asked.given) for asked in answerable])}, among the passages of an answer",
        f"  turned away         {_share([not asked.worth_reading for asked in answerable])}",
        f"  given in doubt      {_share([asked.worth_reading and not asked.confident for asked in answerable])}",
        f"  right citation      {_share([any(asked.cited) for asked in answerable])}",
        *(f"    lost, {name}: {lost[name]}" for name in LOSSES if lost[name]),
    ]


def _told(others: Sequence[Asked]) -> list[str]:
    return [
        f"  abstention, search  {_share([not asked.worth_reading for asked in others])}",
        f"  abstention, answer  {_share([not asked.cited for asked in others])}",
    ]


def _asked(asked: Sequence[Asked]) -> list[str]:
    """All questions together: what came of them, leaks and times."""
    times = [milliseconds for each in asked for milliseconds in each.milliseconds]
    leaks, given = sum(each.leaks for each in asked), sum(len(each.given) for each in asked)
    foreign = [each.leaks > 0 for each in asked if each.question.foreign]
    return [
        f"  answered rightly    {_share([each.right for each in asked])}; {_by_kind(asked)}",
        *(f"    wrong: {_name(each.question)}" for each in asked if not each.right),
        *(f"    not asked: {_name(each.question)}: {each.refused}" for each in asked if each.refused),
        f"  leaks               {leaks} of {given} passages",
        f"  leak rate           {_share(foreign)}, of questions on another department's subject",
        f"  search p50 / p99    {percentile(times, 50):.1f} / {percentile(times, 99):.1f} ms",
    ]


def _line(name: str, ranked: Sequence[Ranked]) -> str:
    figures = (
        mean([ndcg(each) for each in ranked]),
        mean([recall(each) for each in ranked]),
        mean([recall(each, 5) for each in ranked]),
        mean([hit(each, 5) for each in ranked]),
        mean([hit(each, 1) for each in ranked]),
    )
    return "  {:<14}{:>9.3f}{:>11.3f}{:>10.3f}{:>8.3f}{:>8.3f}".format(name, *figures)


def _share(values: Sequence[bool]) -> str:
    return f"{mean(values):.3f} ({sum(values)} of {len(values)})" if values else "no such question"


def _by_kind(asked: Sequence[Asked]) -> str:
    kinds = dict.fromkeys(each.question.kind for each in asked)
    counted = {kind: [each.right for each in asked if each.question.kind == kind] for kind in kinds}
    return ", ".join(f"{kind} {sum(right)} of {len(right)}" for kind, right in counted.items())


def _name(question: Question) -> str:
    return f"{question.id} [{question.department}, {question.kind}] {question.text}"


def _detail(asked: Asked) -> str:
    question = asked.question
    known = {"id": question.id, "department": question.department, "kind": question.kind, "question": question.text}
    found = {
        "confident": asked.confident,
        "worth_reading": asked.worth_reading,
        "cited": asked.cited,
        "evidence": asked.evidence,
    }
    return json.dumps({**known, **found, "ranked": {name: each.right for name, each in asked.ranked.items()}})


if __name__ == "__main__":
    main()
