"""What separates questions that a department answers from those that it does not: `make calibrate [CORPUS=...]`.

Every question of the corpora is asked in every department's store of its corpus. It counts as answered where some
passage of the store holds its quote; elsewhere it is a question on another department's subject. Nothing of
`unanswerable.jsonl` and `wrong_department.jsonl` is used: those stay for judging the result.

Prints the calibration for the model of the vectors as the line of CHATGRID_SEARCH_CALIBRATION, and what it would do to
the questions it was made from, each judged by a calibration that was made without its own department. With a key in
OPENAI_API_KEY, EMBEDDINGS=https://api.openai.com/v1 MODEL=text-embedding-3-small measures OpenAI's own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bench import corpus, shelf, vectors
from tests.bench.corpus import Corpus, Question
from tests.bench.measures import mean
from tests.bench.vectors import Vectors

if TYPE_CHECKING:
    from departments.documents.confidence import Calibration


@dataclass(frozen=True)
class Example:
    """A question in a store: what was found there, and whether the answer is there."""

    corpus: str
    department: str
    question: Question
    held_out: bool
    answered: bool
    found: list[Any]


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes a calibration of the search's confidence.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--embeddings", metavar="URL", help="an OpenAI-compatible server, ending in /v1")
    parser.add_argument("--model", help="its model; the first that it lists unless given")
    parser.add_argument("--examples", type=Path, help="a file for one line of JSON an example")
    arguments = parser.parse_args()
    try:
        source = vectors.served(arguments.embeddings, arguments.model) if arguments.embeddings else vectors.simulated()
        corpora = [corpus.demo(), *map(corpus.folder, arguments.folders)]
    except (corpus.Unusable, vectors.Unreachable) as error:
        raise SystemExit(str(error)) from None
    with shelf.product(source):
        for each in corpora:
            print(*each.notes, sep="\n", end="\n" if each.notes else "")
        examples = [example for each in corpora for example in asyncio.run(_examples(each, source))]
        print("\n".join(_report(source, examples)))
        if arguments.examples:
            arguments.examples.write_text("\n".join(map(_line, examples)))


async def _examples(each: Corpus, source: Vectors) -> list[Example]:
    from departments.documents.pools import close_pools

    try:
        return [
            example
            for slug in sorted({document.department for document in each.documents})
            for example in await _examples_of(each, slug, source)
        ]
    finally:
        await close_pools()


async def _examples_of(each: Corpus, slug: str, source: Vectors) -> list[Example]:
    from departments.documents.search import search_by_vector
    from departments.documents.store import open_store

    department, person = await asyncio.to_thread(shelf.make_department, slug)
    files = [(document.filename, document.content) for document in each.documents if document.department == slug]
    await shelf.fill(department, person, files)
    examples = []
    async with open_store(department) as store:
        texts, recipe = await shelf.texts_of(store), await store.recipe()
        for question in each.questions:
            held_out = not question.answerable
            if held_out and question.department != slug:
                continue
            [vector] = source.embed([question.text], source.dimensions).tolist()
            result = await search_by_vector(store, question.text, vector, recipe=recipe)
            answered = any(corpus.is_relevant(question, text) for text in texts)
            examples.append(Example(each.name, slug, question, held_out, answered, result.passages))
    return examples


def _report(source: Vectors, examples: Sequence[Example]) -> list[str]:
    """The calibration as code, and what it does at the threshold in use to questions it was not made from."""
    from departments.documents.confidence import ENOUGH

    used = [example for example in examples if not example.held_out]
    best = _fitted(used)
    answered, others, unanswerable = [], [], []
    for department in sorted({example.department for example in used}):
        fitted = _fitted([example for example in used if example.department != department])
        for example in examples:
            if example.department == department:
                group = answered if example.answered else unanswerable if example.held_out else others
                group.append(fitted.probability(example.found) >= ENOUGH)
    return [
        f"CHATGRID_SEARCH_CALIBRATION={source.model} {best.similarity} {best.coverage} {best.bias}",
        f"  from {len(used)} pairs of a question and a department; judged without its own department,",
        f"  {sum(example.answered for example in used)} of them answered there; needed to be confident: {ENOUGH}",
        f"  turned away of answerable                {1 - mean(answered):.3f} of {len(answered)}",
        f"  turned away of other departments'        {1 - mean(others):.3f} of {len(others)}",
        f"  turned away of unanswerable (not used)   {1 - mean(unanswerable):.3f} of {len(unanswerable)}",
    ]


def _fitted(examples: Sequence[Example]) -> Calibration:
    """Logistic regression on similarity and coverage, by Newton's method with a little ridge."""
    from departments.documents.confidence import LOOKED_AT, Calibration

    rows = [
        [max(e.similarity for e in each.found[:LOOKED_AT]), max(e.coverage for e in each.found[:LOOKED_AT]), 1.0]
        for each in examples
        if each.found
    ]
    wanted = np.array([float(each.answered) for each in examples if each.found])
    known, weights, ridge = np.array(rows), np.zeros(3), 0.01 * np.eye(3)
    for _ in range(100):
        expected = 1 / (1 + np.exp(-known @ weights))
        slope = known.T @ (expected - wanted) + ridge @ weights
        bend = (known * (expected * (1 - expected))[:, None]).T @ known + ridge
        weights -= np.linalg.solve(bend, slope)
    similarity, coverage, bias = (round(float(weight), 1) for weight in weights)
    return Calibration(similarity, 0.0, coverage, bias)


def _line(example: Example) -> str:
    found = [[each.similarity, each.background, each.relevance, each.coverage, each.score] for each in example.found]
    about = {"corpus": example.corpus, "department": example.department, "question": example.question.text}
    labels = {"id": example.question.id, "own": example.question.department, "held_out": example.held_out}
    return json.dumps({**about, **labels, "answered": example.answered, "found": found})


if __name__ == "__main__":
    main()
