"""What a search is measured by. A passage is right when it holds what the question's label quotes.

- nDCG@10: how early the right passages come, against the best possible order of all right passages there are.
- recall@10, recall@5: the share of the right passages that are among the first ten, or five.
- hit@5: whether a right passage is among the first five. first: the first passage is right.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ranked:
    """One question's passages, best first: which are right, and how many right ones there are in all."""

    right: tuple[bool, ...]
    there: int


def ndcg(ranked: Ranked, depth: int = 10) -> float:
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(ranked.there, depth)))
    gain = sum(right / math.log2(rank + 2) for rank, right in enumerate(ranked.right[:depth]))
    return gain / ideal if ideal else 0.0


def recall(ranked: Ranked, depth: int = 10) -> float:
    return sum(ranked.right[:depth]) / ranked.there if ranked.there else 0.0


def hit(ranked: Ranked, depth: int) -> bool:
    return any(ranked.right[:depth])


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of all lie, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan
