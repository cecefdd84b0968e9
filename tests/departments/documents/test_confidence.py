"""When a search says that it has no confident match."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured

from chatgrid.env import read_curves
from departments.documents.confidence import (
    CALIBRATIONS,
    ENOUGH,
    SIMULATED,
    UNMEASURED,
    Calibration,
    calibration_of,
    is_measured,
)
from tests.bench import calibrate
from tests.bench.calibrate import Example
from tests.bench.corpus import Question
from tests.bench.vectors import Vectors


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


def test_a_customers_own_calibration_comes_before_ours(settings: LazySettings) -> None:
    settings.SIMULATED = False
    settings.SEARCH_CALIBRATION = {"text-embedding-3-small": (20.0, 1.0, -4.0), "all-MiniLM-L6-v2": (1.0, 2.0, -3.0)}
    assert calibration_of("text-embedding-3-small").probability([Seen(0.2, 0.1, 0.0)]) == pytest.approx(0.5)
    assert calibration_of("all-MiniLM-L6-v2") == Calibration(1.0, 0.0, 2.0, -3.0)
    assert is_measured("text-embedding-3-small")
    assert not is_measured("text-embedding-3-large")


def test_the_setting_is_what_make_calibrate_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [Seen(0.7, 0.2, 0.8), Seen(0.3, 0.2, 0.2)]
    question = Question("1", "hr", "keyword", "How many days?", ("five unused days",))
    found = [Example("c", f"d{n % 2}", question, False, n < 4, [seen[n >= 4]]) for n in range(8)]
    [line, *_] = calibrate._report(Vectors("own/model-1", 3, lambda *_: None), found)
    name, value = line.split("=")
    monkeypatch.setenv(name, f"other 1 2 3, {value}")
    curve = read_curves(name)["own/model-1"]
    assert Calibration(curve[0], 0.0, curve[1], curve[2]).probability([seen[0]]) > 0.5


@pytest.mark.parametrize("wrong", ["model", "model 1 2", "model 1 2 three", "model 1 2 3 4"])
def test_a_calibration_that_cannot_be_read_stops_the_start(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("CHATGRID_SEARCH_CALIBRATION", wrong)
    with pytest.raises(ImproperlyConfigured, match="three numbers"):
        read_curves("CHATGRID_SEARCH_CALIBRATION")


def test_the_simulator_has_a_calibration_of_its_own_whatever_model_it_poses_as(settings: LazySettings) -> None:
    settings.SIMULATED = True
    assert calibration_of("text-embedding-3-small") is CALIBRATIONS[SIMULATED]
    settings.SIMULATED = False
    assert calibration_of("text-embedding-3-small") is UNMEASURED
