"""Vectors that make retrieval sensible without a model: hashed words, word pairs and character n-grams.

- Deterministic: the same text, model and size give the same vector on every machine.
- Terms are stemmed and synonyms of office English are made one (`words.py`); sublinear counts; length 1.
- A text without a single word still has a direction of its own, since a zero vector has no cosine.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chatgrid.dev.openai_simulator.words import STOP_WORDS, term_of, words_of

Vector = NDArray[np.float32]
Features = tuple[NDArray[np.uint64], NDArray[np.float64]]

TERM_WEIGHT = 1.0
COMMON_TERM_WEIGHT = 0.35
OWN_WORD_WEIGHT = 0.35
GRAMS_WEIGHT = 0.45
PAIR_WEIGHT = 0.5
GRAM_LENGTH = 4

COMMON_WORDS = """company employee work business team group time day use make person people new information include
provide apply section page document department general question following"""
COMMON_TERMS = frozenset(map(term_of, COMMON_WORDS.split()))


def embed(texts: Sequence[str], dimensions: int) -> NDArray[np.float32]:
    """One unit vector a text, as an array of shape (texts, dimensions)."""
    return np.stack([_vector(text, dimensions) for text in texts])


def as_base64(vector: Vector) -> str:
    """Little-endian 32-bit floats, the form the SDK asks for unless told otherwise."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _vector(text: str, dimensions: int) -> Vector:
    hashes, weights = _features(text)
    signs = np.where(hashes >> np.uint64(63), -1.0, 1.0)
    places = (hashes % np.uint64(dimensions)).astype(np.intp)
    vector = np.bincount(places, weights * signs, minlength=dimensions)
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        return _vector(f"{text} {_digest(text)}", dimensions)
    return (vector / length).astype(np.float32)


def _features(text: str) -> Features:
    """Hashes and weights of everything in a text that counts."""
    words = [word for word in words_of(text) if word not in STOP_WORDS]
    parts = [_scaled(_word_features(word), times) for word, times in Counter(words).items()]
    terms = [term_of(word) for word in words]
    pairs = Counter(itertools.pairwise(terms))
    hashes = [_digest(f"{first} {second}") for first, second in pairs]
    weights = PAIR_WEIGHT * (1.0 + np.log(np.fromiter(pairs.values(), np.float64, len(pairs))))
    parts.append((np.array(hashes, np.uint64), weights))
    if not words:
        parts.append((np.array([_digest(text)], np.uint64), np.ones(1)))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _scaled(features: Features, times: int) -> Features:
    return features if times == 1 else (features[0], features[1] * (1.0 + np.log(times)))


@functools.lru_cache(maxsize=50_000)
def _word_features(word: str) -> Features:
    """A word is its meaning (the stem shared by its synonyms), itself, and its letters."""
    term = term_of(word)
    grams = _grams(word)
    names = [f"term {term}", f"word {word}", *(f"gram {gram}" for gram in grams)]
    weight = COMMON_TERM_WEIGHT if term in COMMON_TERMS else TERM_WEIGHT
    each_gram = GRAMS_WEIGHT / max(1.0, len(grams) ** 0.5)
    weights = [weight, weight * OWN_WORD_WEIGHT, *[weight * each_gram] * len(grams)]
    return np.array([_digest(name) for name in names], np.uint64), np.array(weights)


def _grams(word: str) -> list[str]:
    padded = f"<{word}>"
    return sorted({padded[i : i + GRAM_LENGTH] for i in range(len(padded) - GRAM_LENGTH + 1)})


@functools.lru_cache(maxsize=100_000)
def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
