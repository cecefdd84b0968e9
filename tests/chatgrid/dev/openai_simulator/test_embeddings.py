"""Embeddings: the contract, and whether they bring related texts together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import openai as sdk
import pytest
from openai import AsyncOpenAI
from openai.types.embedding_create_params import EmbeddingCreateParams

from chatgrid.dev.openai_simulator import embeddings, server, tokens
from chatgrid.dev.openai_simulator.options import KeyPolicy, Options
from chatgrid.dev.openai_simulator.validation import EMBEDDING_FIELDS

SMALL = "text-embedding-3-small"


async def embed(openai: AsyncOpenAI, texts: Any, **changes: Any) -> Any:
    return await openai.embeddings.create(**{"model": SMALL, "input": texts, **changes})


async def test_base64_and_float_are_the_same_vector_of_length_one(openai: AsyncOpenAI) -> None:
    packed = (await embed(openai, "Annual leave")).data[0].embedding
    plain = (await embed(openai, ["Annual leave"], encoding_format="float")).data[0].embedding
    assert len(packed) == 1536
    assert np.allclose(packed, plain, atol=1e-7)
    assert np.linalg.norm(plain) == pytest.approx(1.0, abs=1e-5)


async def test_many_inputs_come_back_in_order_with_their_usage(openai: AsyncOpenAI) -> None:
    texts = [f"Paragraph {i} of the handbook" for i in range(40)]
    answer = await embed(openai, texts)
    assert [one.index for one in answer.data] == list(range(40))
    assert answer.usage.prompt_tokens == sum(map(tokens.count_embedding, texts))
    assert answer.data[7].embedding == (await embed(openai, texts[7])).data[0].embedding


async def test_token_ids_are_as_good_as_their_text(openai: AsyncOpenAI) -> None:
    assert (await embed(openai, [[15339, 1917]])).data[0].embedding == (await embed(openai, "hello world")).data[
        0
    ].embedding


async def test_dimensions_are_obeyed(openai: AsyncOpenAI) -> None:
    assert len((await embed(openai, "x", dimensions=256)).data[0].embedding) == 256
    assert len((await embed(openai, "x", model="text-embedding-3-large")).data[0].embedding) == 3072


REFUSED: list[tuple[dict[str, Any], int, str | None]] = [
    ({"input": ""}, 400, None),
    ({"input": ["fine", ""]}, 400, None),
    ({"input": []}, 400, "empty_array"),
    ({"input": ["x"] * 2049}, 400, "array_above_max_length"),
    ({"input": "word " * 8200}, 400, None),
    ({"input": ["word " * 8000] * 38}, 400, "max_tokens_per_request"),
    ({"input": [{"text": "x"}]}, 400, "invalid_type"),
    ({"dimensions": 1537}, 400, "invalid_value"),
    ({"model": "gpt-6-luna"}, 400, None),
    ({"model": "text-embedding-9"}, 404, "model_not_found"),
    ({"extra_body": {"truncate": True}}, 400, "unknown_parameter"),
    ({"encoding_format": "hex"}, 400, "invalid_value"),
]


@pytest.mark.parametrize(("changes", "status", "code"), REFUSED, ids=lambda value: str(value)[:40])
async def test_it_refuses_what_openai_refuses(
    openai: AsyncOpenAI, changes: dict[str, Any], status: int, code: str | None
) -> None:
    assert await embed(openai, "fine")
    with pytest.raises(sdk.APIStatusError) as refused:
        await embed(openai, **{"texts": "fine", **_as_arguments(changes)})
    assert (refused.value.status_code, refused.value.code) == (status, code)


def _as_arguments(changes: dict[str, Any]) -> dict[str, Any]:
    return {"texts" if name == "input" else name: value for name, value in changes.items()}


async def test_it_knows_every_field_the_sdk_can_send() -> None:
    assert set(get_type_hints(EmbeddingCreateParams)) == EMBEDDING_FIELDS


PASSAGES = [
    "Every employee has 28 days of annual leave a year. Unused leave expires in March.",
    "A lost or stolen laptop must be reported to the service desk at once.",
    "Meals on business trips are reimbursed up to 42 EUR a day against receipts.",
    "Salaries are transferred on the 25th of each month.",
    "Visitors sign in at the front desk and wear a badge at all times.",
    "Backups of the finance database run every night and are kept for thirty days.",
]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How many vacation days do I get?", 0),
        ("Somebody took my notebook, whom do I tell that it was stolen?", 1),
        ("Can I reclaim the cost of lunch on a journey?", 2),
        ("When are wages paid?", 3),
        ("Do guests need a badge?", 4),
        ("how long are database backups keept", 5),
    ],
)
def test_a_question_is_nearest_to_the_passage_that_answers_it(question: str, expected: int) -> None:
    likeness = embeddings.embed(PASSAGES, 1536) @ embeddings.embed([question], 1536)[0]
    assert int(np.argmax(likeness)) == expected


@pytest.mark.parametrize("text", ["?!", "the", "\n", "日本語のテキスト", "🎉", "\x00"])
def test_every_text_has_a_direction(text: str) -> None:
    vector = embeddings.embed([text], 1536)[0]
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_it_does_not_depend_on_the_process_it_runs_in() -> None:
    """Vectors are stored; a restart must not make them strangers."""
    package = "chatgrid.dev.openai_simulator"
    program = f"from {package} import embeddings as e; print(e.as_base64(e.embed(['Annual leave'], 64)[0]))"
    seeded = {**os.environ, "PYTHONHASHSEED": "7"}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=seeded, cwd=Path.cwd(), capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == embeddings.as_base64(embeddings.embed(["Annual leave"], 64)[0])


def test_a_large_batch_takes_well_under_a_second() -> None:
    texts = [" ".join(f"{word}{i % 50}" for word in PASSAGES[i % 6].split() * 25) for i in range(256)]
    embeddings.embed(texts[:2], 1536)
    begun = time.thread_time()
    embeddings.embed(texts, 1536)
    assert time.thread_time() - begun < 2.0


async def test_a_measurement_can_put_a_real_model_behind_the_same_wire() -> None:
    options = Options(keys=KeyPolicy.ANY, embed=lambda texts, dimensions: np.eye(len(texts), dimensions))
    with server.running(options) as simulator:
        async with AsyncOpenAI(api_key="-".join(("sk", "proj", "x" * 48)), base_url=simulator.base_url) as client:
            answer = await client.embeddings.create(model=SMALL, input=["one", "two"], dimensions=8)
    assert [one.embedding.index(1.0) for one in answer.data] == [0, 1]
