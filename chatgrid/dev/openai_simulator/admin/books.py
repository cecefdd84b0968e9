"""What each key used of each model, minute by minute, and what it cost: the source of usage, costs and spend limits.

Prices are in US dollars for a million tokens, as of November 2026; they make a demo's bill plausible and nothing else.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chatgrid.dev.openai_simulator.journal import Sums

# input, cached input, output
PRICES = {
    "gpt-6-luna": (0.10, 0.01, 0.50),
    "gpt-6.1-terra": (1.0, 0.05, 5.0),
    "gpt-6.2-sol": (2.0, 0.10, 10.0),
    "gpt-4.1-mini": (0.40, 0.10, 1.60),
    "text-embedding-3-small": (0.02, 0.02, 0.0),
    "text-embedding-3-large": (0.13, 0.13, 0.0),
}
MINUTE = 60


@dataclass(frozen=True)
class Place:
    """What a row is about. `kind` is completions or embeddings."""

    minute: int
    kind: str
    project: str
    key: str
    model: str

    @property
    def at(self) -> int:
        return self.minute * MINUTE


@dataclass
class Row(Sums):
    cached_tokens: int = 0

    def lines(self, model: str) -> Iterator[tuple[str, int, float]]:
        """Line item, tokens and dollars."""
        fresh, cached, written = PRICES.get(model, (1.0, 0.1, 5.0))
        yield f"{model}, input_tokens", self.prompt_tokens - self.cached_tokens, fresh
        yield f"{model}, cached_input_tokens", self.cached_tokens, cached
        yield f"{model}, output_tokens", self.completion_tokens, written

    def dollars(self, model: str) -> float:
        return sum(tokens * price / 1e6 for _, tokens, price in self.lines(model))


def month_of(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m")


class Books:
    """`rows` are by minute; `months` repeat the same amounts by project, month and model, for the spend limit."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.rows: dict[Place, Row] = defaultdict(Row)
        self.months: dict[tuple[str, str], dict[str, Row]] = defaultdict(lambda: defaultdict(Row))

    def open(self, kind: str, project: str, key: str, model: str, at: float | None = None) -> tuple[Row, Row]:
        """The two rows that a request is booked on from now on; each counts the request."""
        seconds = time.time() if at is None else at
        place = Place(int(seconds // MINUTE), kind, project, key, model)
        rows = self.rows[place], self.months[project, month_of(seconds)][model]
        for row in rows:
            row.requests += 1
        return rows

    def spent_cents(self, project: str) -> float:
        """This month's cost of a project so far."""
        months = self.months.get((project, month_of(time.time())), {})
        return 100 * sum(row.dollars(model) for model, row in months.items())

    def chosen(self, start: int, end: int, kinds: Iterable[str]) -> Iterator[tuple[Place, Row]]:
        wanted = set(kinds)
        return ((place, row) for place, row in self.rows.items() if start <= place.at < end and place.kind in wanted)

    def dump(self) -> list[dict[str, Any]]:
        return [
            {
                "at": place.at,
                "kind": place.kind,
                "project": place.project,
                "key": place.key,
                "model": place.model,
                "requests": row.requests,
                "prompt_tokens": row.prompt_tokens,
                "completion_tokens": row.completion_tokens,
                "cached_tokens": row.cached_tokens,
            }
            for place, row in self.rows.items()
        ]

    def load(self, lines: Iterable[dict[str, Any]]) -> None:
        for line in lines:
            self.add(**line)

    def add(
        self,
        *,
        at: float,
        kind: str,
        project: str,
        key: str,
        model: str,
        requests: int = 1,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        cached_tokens: int = 0,
    ) -> None:
        """Book what was used at another time."""
        for row in self.open(kind, project, key, model, at):
            row.requests += requests - 1
            row.prompt_tokens += prompt_tokens
            row.completion_tokens += completion_tokens
            row.cached_tokens += cached_tokens
