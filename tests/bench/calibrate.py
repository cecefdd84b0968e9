"""What separates questions that a department answers from those that it does not: `make calibrate [CORPUS=...]`.

Every question of the corpora is asked in every department's store of its corpus. It counts as answered where some
passage of the store holds its quote; elsewhere it is a question on another department's subject. Nothing of
`unanswerable.jsonl` and `wrong_department.jsonl` is used: those stay for judging the result.

Prints the calibration that departments/documents/confidence.py holds for the model of the vectors, and what it would do
to the questions it was made from, each judged by a calibration that was made without its own department.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import corpus, shelf, vectors
from tests.bench.corpus import Corpus, Question
from tests.bench.vectors import Vectors


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
    parser.add_argument("--examples", type=Path, help="a file for one line of JSON an example")
    arguments = parser.parse_args()
    source = vectors.served(arguments.embeddings) if arguments.embeddings else vectors.simulated()
    with shelf.product(source):
        corpora = [corpus.demo(), *map(corpus.folder, arguments.folders)]
        examples = [example for each in corpora for example in asyncio.run(_examples(each, source))]
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
        texts = await shelf.texts_of(store)
        for question in each.questions:
            held_out = not question.answerable
            if held_out and question.department != slug:
                continue
            [vector] = source.embed([question.text], source.dimensions).tolist()
            result = await search_by_vector(store, question.text, vector, passages=len(texts))
            answered = any(corpus.is_relevant(question, text) for text in texts)
            examples.append(Example(each.name, slug, question, held_out, answered, result.passages))
    return examples


def _line(example: Example) -> str:
    found = [[each.similarity, each.background, each.relevance, each.coverage, each.score] for each in example.found]
    about = {"corpus": example.corpus, "department": example.department, "question": example.question.text}
    labels = {"id": example.question.id, "own": example.question.department, "held_out": example.held_out}
    return json.dumps({**about, **labels, "answered": example.answered, "found": found})


if __name__ == "__main__":
    main()
