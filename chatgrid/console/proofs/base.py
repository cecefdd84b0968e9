"""What a proof is made of: checks that look at the running system and bring back sentences of evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from chatgrid.console.models import ControlProof
from departments.models import Organization

State = ControlProof.State


@dataclass(frozen=True)
class Evidence:
    """One thing that was looked at. `holds` is None where nothing could be said; `url` leads to where to look."""

    text: str
    holds: bool | None = True
    url: str = ""

    def as_json(self) -> dict[str, str | bool | None]:
        return {"text": self.text, "holds": self.holds, "url": self.url}


@dataclass(frozen=True)
class Check:
    """One check of a control: when it is due and for how long its result counts as fresh.

    `shared` ones look at the whole deployment: they are made once for all organizations, and their evidence may name
    nothing that belongs to one.
    """

    name: str
    control: int
    title: str
    look: Callable[[Organization], list[Evidence]]
    every: timedelta
    fresh_for: timedelta
    shared: bool = False


def state_of(evidence: Sequence[Evidence]) -> State:
    """Green only where something was looked at and all of it holds."""
    if any(each.holds is False for each in evidence):
        return State.FAILED
    if not evidence or any(each.holds is None for each in evidence):
        return State.OPEN
    return State.HOLDS


def named(names: Sequence[str], most: int = 3) -> str:
    """As in "HR, Finance, Legal and 4 more"."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
