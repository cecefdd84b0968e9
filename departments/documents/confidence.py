"""How likely the answer is among the passages found, and when that is too little: "no confident match".

Rules:
- The evidence is of two kinds, each the best of the first three passages: similarity of vectors (or its lead over the
  middle of all candidates), and coverage, the share of the question's words, weighed by how rare they are, that stand
  in the passage. A word that stands nowhere in the store is the rarest. Vectors alone cannot tell, for a question on a
  neighbouring subject is near to something in every store; words alone cannot, for a paraphrase shares few.
- A calibration turns evidence into a probability by a logistic curve. It belongs to an embedding model, because the
  scale of its similarities does: `make calibrate` makes one from labelled questions asked in the right departments and
  in wrong ones, and docs/performance.md says what it is worth on questions that were not used for it.
- It is looked up by the model that made the searched passages: first in the setting CHATGRID_SEARCH_CALIBRATION, which
  is a customer's own, then in `CALIBRATIONS`.
- A model that nobody has measured gets `UNMEASURED`, an estimate; the test bench says so.
- Nothing that is cheap to know tells a question on a neighbouring subject from a paraphrase, so there are two
  thresholds. Below `LEAST`, where fewer than one in ten questions with an answer lies, the assistant gets no passages.
  Between it and `ENOUGH` the assistant gets them and is told that the search is in doubt. Questions without an answer
  are told so in nine of ten cases by both together. Where nothing is cited, a person sees the nearest passages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from django.conf import settings

LOOKED_AT = 3
ENOUGH = 0.28
LEAST = 0.10


class Evidence(Protocol):
    """What is known of a found passage; `background` is the middle similarity of all candidates."""

    @property
    def similarity(self) -> float: ...
    @property
    def background(self) -> float: ...
    @property
    def coverage(self) -> float: ...


@dataclass(frozen=True)
class Calibration:
    """The weights of the evidence on the scale of log odds."""

    similarity: float
    lead: float
    coverage: float
    bias: float

    def probability(self, found: Sequence[Evidence]) -> float:
        """0 to 1; 0 where nothing was found."""
        best = found[:LOOKED_AT]
        if not best:
            return 0.0
        similarity = max(each.similarity for each in best)
        coverage = max(each.coverage for each in best)
        lead = similarity - best[0].background
        odds = self.bias + self.similarity * similarity + self.lead * lead + self.coverage * coverage
        return 1 / (1 + math.exp(-odds))


# Between the curves that were measured, and meant to turn away too few rather than too many: who reads the passages can
# still say that the answer is not among them. No lead: in a department of few passages nothing leads.
UNMEASURED = Calibration(similarity=9.0, lead=0.0, coverage=4.5, bias=-5.0)
SIMULATED = "simulated"
CALIBRATIONS = {
    "all-MiniLM-L6-v2": Calibration(similarity=11.0, lead=0.0, coverage=4.9, bias=-7.8),
    SIMULATED: Calibration(similarity=13.5, lead=0.0, coverage=4.3, bias=-6.3),
}


def calibration_of(model: str) -> Calibration:
    """The calibration of an embedding model; the simulator's vectors have their own, whatever model they pose as."""
    if model in settings.SEARCH_CALIBRATION:
        similarity, coverage, bias = settings.SEARCH_CALIBRATION[model]
        return Calibration(similarity, 0.0, coverage, bias)
    if settings.SIMULATED and model not in CALIBRATIONS:
        return CALIBRATIONS.get(SIMULATED, UNMEASURED)
    return CALIBRATIONS.get(model, UNMEASURED)


def is_own(model: str) -> bool:
    """Whether the confidence for this model rests on the setting, which is a customer's own measurement."""
    return model in settings.SEARCH_CALIBRATION


def is_measured(model: str) -> bool:
    """Whether the confidence for this model rests on a measurement."""
    return calibration_of(model) is not UNMEASURED
