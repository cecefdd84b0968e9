"""What a person and a program are told of a refusal: never too early, and nothing that waiting does not bring."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from departments.calls.caller import CallRefused
from departments.calls.sentences import dollars, refused
from departments.limits.budget import Refusal

MOMENT = datetime(2026, 11, 23, 12, 0, 20, 300_000, tzinfo=UTC)


def refusal(**changes: Any) -> Refusal:
    fields: dict[str, Any] = {
        "scope": "person",
        "measure": "requests",
        "period": "minute",
        "limit": 5,
        "used": 5,
        "resets_at": MOMENT,
    }
    return Refusal(**fields | changes)


@pytest.mark.parametrize("seconds", [0.2, 1.0, 19.4, 19.6])
def test_whoever_waits_as_long_as_told_is_not_too_early(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    told = CallRefused("", refusal=refusal())
    monkeypatch.setattr(timezone, "now", lambda: MOMENT - timedelta(seconds=seconds))
    assert told.retry_after is not None
    assert seconds <= told.retry_after < seconds + 1


def test_the_second_that_is_shown_has_room() -> None:
    assert "You can ask again at 13:00:21." in refused(refusal(), "Europe/Berlin")
    assert "You can ask again at 13:00:20." in refused(
        refusal(resets_at=MOMENT.replace(microsecond=0)), "Europe/Berlin"
    )


@pytest.mark.parametrize(
    ("measure", "period", "sentence"),
    [
        ("requests", "minute", "Your limit of 0 questions a minute lets nothing through. IT can raise it."),
        ("answers", "now", "Your limit of 0 answers at the same time lets nothing through. IT can raise it."),
        (
            "tokens",
            "day",
            "Your budget for today is 0, so nothing is sent. You can ask your department admin for more.",
        ),
        (
            "money",
            "month",
            "Your budget for this month is 0, so nothing is sent. You can ask your department admin for more.",
        ),
    ],
)
def test_a_limit_of_nothing_promises_no_time_at_which_it_is_over(measure: str, period: str, sentence: str) -> None:
    nothing = refusal(measure=measure, period=period, limit=0, used=0)
    assert refused(nothing, "Europe/Berlin") == sentence


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (Decimal("0.0049"), "$0.0049"),
        (Decimal("0.005"), "$0.005"),
        (Decimal("0.00000001"), "$0.00"),
        (0, "$0.00"),
        (Decimal("0.9"), "$0.90"),
        (Decimal("1.005"), "$1.00"),
        (Decimal("9999999999.9999"), "$10,000,000,000.00"),
    ],
)
def test_a_small_amount_of_money_is_not_rounded_to_nothing(amount: Decimal, words: str) -> None:
    assert dollars(amount) == words
