"""Why the search is confident or not, in words and figures: the explanation on the test bench.

Rules:
- The figures are the department's own: what the two thresholds did to its golden questions in the latest run.
- Where the curve comes from is said, and who can make a better one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from departments.documents.confidence import ENOUGH, LEAST, is_measured, is_own
from departments.documents.golden import GoldenQuestion, GoldenResult


@dataclass(frozen=True)
class Threshold:
    """Percentages, and golden questions: of those with an answer `confident`, `doubtful` (read, and told to be in
    doubt) and `lost`; of those without one `refused` and `mistaken` (taken for confident)."""

    is_own: bool
    is_measured: bool
    confident: int = 0
    doubtful: int = 0
    lost: int = 0
    refused: int = 0
    mistaken: int = 0

    enough = round(100 * ENOUGH)
    least = round(100 * LEAST)

    @property
    def answered(self) -> int:
        return self.confident + self.doubtful + self.lost

    @property
    def unanswered(self) -> int:
        return self.refused + self.mistaken


def threshold_of(model: str, latest: Iterable[tuple[GoldenQuestion, GoldenResult | None]]) -> Threshold:
    """The thresholds for this embedding model, with what they did to these questions."""
    became = Counter(_became(question, result) for question, result in latest if result is not None)
    return Threshold(is_own(model), is_measured(model), **became)


def _became(question: GoldenQuestion, result: GoldenResult) -> str:
    if question.document_id is None:
        return "refused" if result.is_right else "mistaken"
    if not result.is_right:
        return "lost"
    return "confident" if result.confident else "doubtful"
