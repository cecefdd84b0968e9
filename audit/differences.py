"""A difference between the record and what the provider counted: its reason, its amount, and how both are said.

It is a value: audit/reconciliation.py finds it, audit/billing.py puts a price on it, an event and a finding hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

Place = tuple[str, str, str, date]
"""Project, key, model, day."""


class Reason(StrEnum):
    """Why two counts differ, as the console says it."""

    LEAKED_KEY = "calls with this key that ChatGrid did not make"
    DELETED_KEY = "calls with a key that was deleted"
    FOREIGN_KEY = "calls with a key that is not ChatGrid's"
    FOREIGN_PROJECT = "calls in a project that is not ChatGrid's"
    LATE = "the provider has not counted everything yet"
    ESTIMATED = "token counts of broken-off answers are our own estimate"
    MIDNIGHT = "calls at midnight that were counted for the day beside"
    TOKENS = "the same calls with other token counts"
    NOT_COUNTED = "calls that the provider never counted"
    PRICE = "the same calls at another price than the catalogue has"


ALARMS = frozenset({Reason.LEAKED_KEY, Reason.DELETED_KEY, Reason.FOREIGN_KEY})


@dataclass(frozen=True)
class Difference:
    """One key, model and day on which the counts differ. Positive numbers: the provider counted more.

    `amount` is in US dollars, None where nothing is known of it; `is_billed` says that it comes from a complete bill.
    """

    reason: Reason
    project_id: str
    key_id: str
    model: str
    day: date
    requests: int
    input_tokens: int
    output_tokens: int
    hours: tuple[int, ...] = ()
    amount: Decimal | None = None
    is_billed: bool = False

    @property
    def place(self) -> Place:
        return self.project_id, self.key_id, self.model, self.day

    @property
    def is_alarm(self) -> bool:
        return self.reason in ALARMS

    def __str__(self) -> str:
        hours = f" between {self.hours[0]:02}:00 and {self.hours[-1] + 1:02}:00 UTC" if self.hours else ""
        tokens = self.input_tokens + self.output_tokens
        words = (
            f"{self.day}{hours}: {self.reason}: {requests_in_words(self.requests)}, {tokens:,} tokens of {self.model}"
        )
        return words if self.amount is None else f"{words}, {dollars(self.amount, is_billed=self.is_billed)}"

    def as_json(self) -> dict[str, Any]:
        """As an event and a finding hold it."""
        return {
            "reason": self.reason.name.lower(),
            "project_id": self.project_id,
            "key_id": self.key_id,
            "model": self.model,
            "day": self.day.isoformat(),
            "hours": list(self.hours),
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "amount": None if self.amount is None else f"{self.amount:.8f}",
            "is_billed": self.is_billed,
        }

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Difference:
        return cls(
            **{
                **held,
                "reason": Reason[held["reason"].upper()],
                "day": date.fromisoformat(held["day"]),
                "hours": tuple(held["hours"]),
                "amount": held["amount"] and Decimal(held["amount"]),
            }
        )


def dollars(amount: Decimal, *, is_billed: bool) -> str:
    """An amount in words: cents where there are any, more digits where there are none."""
    sign, size = "-" if amount < 0 else "", abs(amount)
    shown = f"{sign}${size:,.2f}" if size >= Decimal("0.01") else f"{sign}${size:.6f}"
    return shown if is_billed else f"about {shown}"


def requests_in_words(requests: int) -> str:
    """A number of requests in words."""
    return f"{requests:,} request" if requests == 1 else f"{requests:,} requests"
