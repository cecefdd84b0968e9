"""A department of 200,000 passages: `make bench-scale [CORPUS=folder] [EMBEDDINGS=url] [PASSAGES=200000]`.

Passages are made of sentences of a corpus, put together at random, and their vectors of the corpus's own vectors: two
of them mixed, with noise, at length 1. So words have the frequencies and vectors the neighbourhoods of real text;
what is found is not looked at, only how well the index finds it and how long that takes. Prints:

- the index's build, and recall@10 of the nearest by index against the exact nearest, over `QUESTIONS` questions;
- latency of the whole fused search, warm, alone and while documents are published into the same store.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from tests.bench import corpus, shelf, vectors
from tests.bench.corpus import Corpus
from tests.bench.measures import mean, percentile
from tests.bench.vectors import Vectors

if TYPE_CHECKING:
    from departments.documents.records import Recipe
    from departments.documents.store import Store

QUESTIONS = 200
EACH = 100  # passages of a document
NOISE = 0.35
SENTENCES = 5

COPY = """
    COPY passage (version_id, ordinal, context, text, heading_path, locator, tokens, searchable, embedding) FROM STDIN
"""
COUNT = """
    INSERT INTO lexeme (word, passages)
    SELECT lexeme, count(*) FROM passage, unnest(lexemes) WHERE searchable GROUP BY lexeme;
    UPDATE corpus SET (passages, length) = (SELECT count(*), sum(length_of(lexemes)) FROM passage WHERE searchable);
    UPDATE corpus SET average = length::double precision / passages;
    UPDATE passage SET weights = bm25_weights(lexemes, (SELECT average FROM corpus));
"""
NEAREST = "SELECT id FROM passage WHERE searchable ORDER BY embedding <#> %s LIMIT 10"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures search in a large department.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--embeddings", metavar="URL", help="an OpenAI-compatible server, ending in /v1")
    parser.add_argument("--passages", type=int, default=200_000)
    arguments = parser.parse_args()
    source = vectors.served(arguments.embeddings) if arguments.embeddings else vectors.simulated()
    measured = corpus.folder(arguments.folders[0]) if arguments.folders else corpus.demo()
    with shelf.product(source):
        asyncio.run(_measure(measured, source, arguments.passages))


async def _measure(measured: Corpus, source: Vectors, passages: int) -> None:
    from departments.documents.pools import close_pools
    from departments.documents.store import open_store

    department, person = await asyncio.to_thread(shelf.make_department, "large")
    sentences, seeds = _material(measured, source)
    print(f"{passages:,} passages of {source.dimensions} dimensions, vectors after {source.model}", flush=True)
    try:
        async with open_store(department) as store:
            await _fill(store, sentences, seeds, passages)
            await _index(store)
            recipe = await store.recipe()
            asked = [(each.text, _mixed(seeds, 1)[0]) for each in measured.questions][:QUESTIONS]
            asked += [(random.choice(sentences), _mixed(seeds, 1)[0]) for _ in range(QUESTIONS - len(asked))]
            await _recall(store, [vector for _, vector in asked])
            await _latency(store, recipe, asked, "alone")
            await _server_time(store, recipe, asked[:50])
            publishing = asyncio.create_task(_publish_forever(department, person, sentences))
            await _latency(store, recipe, asked, "while documents are published")
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
    finally:
        await close_pools()


def _material(measured: Corpus, source: Vectors) -> tuple[list[str], Any]:
    """Sentences of the corpus, and the vectors of some of them."""
    text = "\n".join(document.content.decode("utf-8", "ignore") for document in measured.documents)
    sentences = [each.strip() for each in re.split(r"(?<=[.!?])\s+|\n+", text) if 30 < len(each.strip()) < 400]
    chosen = random.Random(1).sample(sentences, min(len(sentences), 1_500))
    return sentences, source.embed(chosen, source.dimensions)


def _mixed(seeds: Any, count: int) -> list[list[float]]:
    chance = np.random.default_rng()
    first, second = (seeds[chance.integers(len(seeds), size=count)] for _ in range(2))
    share = chance.random((count, 1))
    noise = chance.normal(size=first.shape) / np.sqrt(first.shape[1])
    made = share * first + (1 - share) * second + NOISE * noise
    unit: list[list[float]] = (made / np.linalg.norm(made, axis=1, keepdims=True)).tolist()
    return unit


async def _fill(store: Store, sentences: list[str], seeds: Any, passages: int) -> None:
    started = time.perf_counter()
    for _ in range(passages // EACH):
        await _document(store, sentences, _mixed(seeds, EACH))
    copied = time.perf_counter()
    async with store.connection() as held, held.transaction():
        await held.execute("SET LOCAL statement_timeout = '60min'")
        await held.execute(COUNT)
    ended = time.perf_counter()
    print(f"  copied in {copied - started:.0f} s, statistics and weights in {ended - copied:.0f} s", flush=True)


async def _document(store: Store, sentences: list[str], made: list[list[float]]) -> None:
    from pgvector import HalfVector
    from psycopg.types.json import Jsonb

    document, version = uuid4(), uuid4()
    async with store.connection() as held, held.transaction():
        await held.execute("INSERT INTO document (id, title, filename) VALUES (%s, 'Made', 'made.md')", [document])
        await held.execute(
            "INSERT INTO version (id, document_id, number, title, filename, original_key, sha256, bytes, uploader_id, "
            "uploader_name, state) VALUES (%s, %s, 1, 'Made', 'made.md', '', %s, 1, %s, 'Bench', 'live')",
            [version, document, version.hex, uuid4()],
        )
        await held.execute("UPDATE document SET current_version = %s WHERE id = %s", [version, document])
        async with held.cursor().copy(COPY) as copy:
            for ordinal, vector in enumerate(made):
                text = " ".join(random.choices(sentences, k=SENTENCES))
                await copy.write_row(
                    [version, ordinal, "Made", text, [], Jsonb({}), len(text) // 4, True, HalfVector(vector)]
                )


async def _index(store: Store) -> None:
    started = time.perf_counter()
    await store.build_index()
    async with store.connection() as held:
        await held.execute("SET statement_timeout = 0")
        await held.execute(
            "VACUUM ANALYZE passage"
        )  # as the server does by itself a little later, amid the measurement
        await held.execute("RESET statement_timeout")
    print(f"  vector index built in {time.perf_counter() - started:.0f} s", flush=True)


async def _recall(store: Store, asked: list[list[float]]) -> None:
    from pgvector import HalfVector

    from departments.documents.search import index_reach

    reach = index_reach((await store.recipe()).passages)
    shares, times = [], []
    async for held in _connections(store, len(asked)):
        vector = HalfVector(asked[len(shares)])
        async with held.transaction():
            await held.execute("SET LOCAL enable_indexscan = off")
            # never prepared: a plan that the server has kept would be that of the other way
            exact = {row["id"] for row in await (await held.execute(NEAREST, [vector], prepare=False)).fetchall()}
        async with held.transaction():
            await held.execute("SELECT set_config('hnsw.ef_search', %s, true)", [str(reach)])
            started = time.perf_counter()
            near = {row["id"] for row in await (await held.execute(NEAREST, [vector], prepare=False)).fetchall()}
            times.append((time.perf_counter() - started) * 1000)
        shares.append(len(exact & near) / 10)
    print(
        f"  recall@10 {mean(shares):.3f} at ef_search {reach}; vectors alone p50 / p99 "
        f"{percentile(times, 50):.1f} / {percentile(times, 99):.1f} ms",
        flush=True,
    )


async def _connections(store: Store, count: int) -> AsyncIterator[Any]:
    async with store.connection() as held:
        for _ in range(count):
            yield held


async def _latency(store: Store, recipe: Recipe, asked: list[tuple[str, list[float]]], when: str) -> None:
    from departments.documents.search import search_by_vector

    times = []
    for warming in (True, False):
        for text, vector in asked:
            started = time.perf_counter()
            await search_by_vector(store, text, vector, recipe=recipe)
            if not warming:
                times.append((time.perf_counter() - started) * 1000)
    print(f"  fused search {when}: p50 / p99 {percentile(times, 50):.1f} / {percentile(times, 99):.1f} ms", flush=True)


async def _server_time(store: Store, recipe: Recipe, asked: list[tuple[str, list[float]]]) -> None:
    """What of it is spent in PostgreSQL: planning and execution as the server itself counts them."""
    from pgvector import HalfVector

    from departments.documents import search

    times = []
    async with store.connection() as held, held.transaction():
        await held.execute(search._SET_REACH, [str(search.index_reach(recipe.passages))])
        for text, vector in asked:
            values = {"question": text, "vector": HalfVector(vector), "reach": search.text_reach(recipe.passages)}
            values |= {"weight": search.VECTOR_WEIGHT, "candidates": search.CANDIDATES, "wanted": 18}
            statement = b"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + search._STATEMENTS["", False]
            [row] = await (await held.execute(statement, values)).fetchall()
            [plan] = row["QUERY PLAN"]
            times.append((plan["Planning Time"], plan["Execution Time"]))
    planning, execution = ([each[part] for each in times] for part in (0, 1))
    print(
        f"  in the server: planning p50 {percentile(planning, 50):.1f} ms, execution p50 / p99 "
        f"{percentile(execution, 50):.1f} / {percentile(execution, 99):.1f} ms",
        flush=True,
    )


async def _publish_forever(department: Any, person: Any, sentences: list[str]) -> None:
    """Uploads of a few pages, one after the other, through the product's own door."""
    while True:
        text = "\n\n".join(" ".join(random.choices(sentences, k=SENTENCES)) for _ in range(40))
        await shelf.fill(department, person, [(f"{uuid4()}.md", text.encode())])


if __name__ == "__main__":
    main()
