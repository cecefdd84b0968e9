"""Where a measurement's vectors come from: the simulator's function, or any OpenAI-compatible embedding server.

The simulator of a measurement is given the same source, so that a question that goes through the whole product gets
the same vectors as one that is asked of the search alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx2
import numpy as np
from numpy.typing import NDArray

Embed = Callable[[Sequence[str], int], NDArray[np.float32]]

TOGETHER = 64  # texts of one request
PATIENCE = 600.0  # seconds: a model on a shared processor is slow


class Unreachable(Exception):
    """The embedding server does not answer as one; the message says what came."""


@dataclass(frozen=True)
class Vectors:
    """A source of vectors: the model's name, the length of a vector, and the function (texts, dimensions)."""

    model: str
    dimensions: int
    embed: Embed


def simulated() -> Vectors:
    """The simulator's own: hashed words, no model."""
    from chatgrid.dev.openai_simulator.embeddings import embed

    return Vectors("text-embedding-3-small", 1536, embed)


def served(url: str, model: str | None = None) -> Vectors:
    """Those of the server at `url` (ending in /v1), of `model` or the first that it lists. Raises Unreachable."""
    try:
        return _served(url.rstrip("/"), model)
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, LookupError, TypeError) as error:
        raise Unreachable(
            f"No embedding server answers at {url} ({error!r}). Start it, or check the address."
        ) from None


def _served(url: str, model: str | None) -> Vectors:
    named = model or str(
        httpx2.get(f"{url}/models", headers=_key(), timeout=10).raise_for_status().json()["data"][0]["id"]
    )

    def embed(texts: Sequence[str], _: int) -> NDArray[np.float32]:
        return np.concatenate([_batch(url, named, texts[at : at + TOGETHER]) for at in range(0, len(texts), TOGETHER)])

    return Vectors(named, embed(["A short sentence."], 0).shape[1], embed)


def _key() -> dict[str, str]:
    """The header that a server of OpenAI's asks for, where its key is in the environment."""
    key = os.environ.get("OPENAI_API_KEY", "")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _batch(url: str, model: str, texts: Sequence[str]) -> NDArray[np.float32]:
    body = {"model": model, "input": list(texts), "encoding_format": "float"}
    answer = httpx2.post(f"{url}/embeddings", json=body, headers=_key(), timeout=PATIENCE).raise_for_status().json()
    vectors = np.array([row["embedding"] for row in answer["data"]], np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
