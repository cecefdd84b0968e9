"""When a search says that it has no confident match."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.conf import LazySettings

from departments.documents.confidence import CALIBRATIONS, ENOUGH, SIMULATED, UNMEASURED, calibration_of, is_measured


@dataclass(frozen=True)
class Seen:
    similarity: float
    background: float
    coverage: float


STRONG, WEAK = Seen(0.75, 0.3, 0.9), Seen(0.25, 0.2, 0.1)
EVERY = [UNMEASURED, *CALIBRATIONS.values()]


@pytest.mark.parametrize("calibration", EVERY)
def test_strong_evidence_is_enough_and_weak_is_not(calibration: object) -> None:
    assert calibration.probability([STRONG]) > 0.9  # type: ignore[attr-defined]
    assert calibration.probability([WEAK]) < ENOUGH  # type: ignore[attr-defined]


@pytest.mark.parametrize("calibration", EVERY)
def test_more_evidence_never_lowers_it_and_later_passages_do_not_count(calibration: object) -> None:
    probability = calibration.probability  # type: ignore[attr-defined]
    assert probability([WEAK, STRONG]) >= probability([WEAK])
    assert probability([WEAK, WEAK, WEAK, STRONG]) == probability([WEAK])
    assert probability([]) == 0.0


def test_words_and_meaning_come_from_whichever_passage_has_them() -> None:
    both = UNMEASURED.probability([Seen(0.7, 0.2, 0.0), Seen(0.2, 0.2, 0.8)])
    assert both == pytest.approx(UNMEASURED.probability([Seen(0.7, 0.2, 0.8)]))


def test_a_model_that_nobody_measured_is_known_as_such(settings: LazySettings) -> None:
    settings.SIMULATED = False
    assert calibration_of("a-new-model") is UNMEASURED
    assert not is_measured("a-new-model")
    assert is_measured("all-MiniLM-L6-v2")


def test_the_simulator_has_a_calibration_of_its_own_whatever_model_it_poses_as(settings: LazySettings) -> None:
    settings.SIMULATED = True
    assert calibration_of("text-embedding-3-small") is CALIBRATIONS[SIMULATED]
    settings.SIMULATED = False
    assert calibration_of("text-embedding-3-small") is UNMEASURED
