"""The console's home page: eight tiles, one a control, each with its proof and with what is true of it right now.

Rules:
- A tile is green when every check of its control was made, holds and is fresh; amber when one is old or could prove
  nothing; red when one does not hold. Nothing is green by default (chatgrid/console/proofs).
- The facts beside the proof are read when the page is asked for. One that somebody should act on says what to do.
- Every fact is one query that an index answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.utils import timezone

from chatgrid.accounts.models import User
from chatgrid.console import facts
from chatgrid.console.facts import Fact
from chatgrid.console.models import ControlProof
from chatgrid.console.navigation import SECTIONS, Section, address_of
from chatgrid.console.proofs import CHECKS, Check
from chatgrid.console.scope import visible

MOST_LINES = 10  # an operator sees the checks of every company


class State(StrEnum):
    """How a tile stands, the worst first."""

    FAILED = "failed"
    STALE = "stale"
    OPEN = "open"
    HOLDS = "holds"

    @property
    def words(self) -> str:
        return {"failed": "Does not hold", "stale": "Stale", "open": "Not proven", "holds": "Holds"}[self.value]


@dataclass(frozen=True)
class Line:
    """One check on a tile: when it was made, how it stands and the sentences it left."""

    title: str
    state: State
    checked_at: datetime | None
    evidence: Sequence[dict[str, Any]] = ()
    took_ms: int = 0
    is_awaited: bool = False


@dataclass(frozen=True)
class Tile:
    """A control: its proof, and what is true of it right now."""

    number: int
    name: str
    icon: str
    url: str
    lines: list[Line]
    facts: list[Fact] = field(default_factory=list)

    @property
    def state(self) -> State:
        return min((line.state for line in self.lines), key=list(State).index, default=State.OPEN)

    @property
    def checked_at(self) -> datetime | None:
        """The oldest check: a proof is as old as its oldest part."""
        moments = [line.checked_at for line in self.lines]
        return None if not moments or None in moments else min(moment for moment in moments if moment)

    @property
    def sentence(self) -> str:
        """What to read at a glance: what is wrong first."""
        told = [each for line in self.lines for each in line.evidence]
        wrong = [each["text"] for each in told if each["holds"] is False]
        unsaid = [each["text"] for each in told if each["holds"] is None]
        if wrong or unsaid:
            return str((wrong or unsaid)[0])
        if self.state == State.STALE:
            return "Nobody has looked for too long. Is a worker running?"
        return str(told[0]["text"]) if told else "Nobody has looked yet."

    @property
    def is_awaited(self) -> bool:
        return any(line.is_awaited for line in self.lines)


def tiles_for(viewer: User) -> list[Tile]:
    """The tiles of this viewer, limited to what they may see."""
    lines = _lines(viewer)
    known = facts.by_control(viewer)
    controls = [section for section in SECTIONS if section.number]
    return [_tile(section, lines.get(section.number, []), known.get(section.number, [])) for section in controls]


def summary(tiles: Iterable[Tile]) -> str:
    """The page's first sentence."""
    states = [tile.state for tile in tiles]
    failed = [tile.name for tile in tiles if tile.state == State.FAILED]
    if failed:
        return f"Look at {', '.join(failed)} first."
    held = states.count(State.HOLDS)
    return "All eight controls hold." if held == len(states) else f"{held} of {len(states)} controls are proven."


def _tile(section: Section, lines: list[Line], known: list[Fact]) -> Tile:
    url = address_of(section.pages[0]) if section.pages else ""
    return Tile(section.number, section.name, section.icon, url, lines, known)


def _lines(viewer: User) -> dict[int, list[Line]]:
    """The checks of each control. One that was never made is a line too."""
    rows: dict[str, list[ControlProof]] = {name: [] for name in CHECKS}
    for row in visible(ControlProof.objects.select_related("organization"), viewer):
        if row.check_name in rows:  # a check of another version
            rows[row.check_name].append(row)
    found: dict[int, list[Line]] = {}
    for name, check in CHECKS.items():
        lines = [_line(check, row, viewer) for row in rows[name]] or [Line(check.title, State.OPEN, None)]
        found.setdefault(check.control, []).extend(_worst(lines))
    return found


def _worst(lines: list[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: list(State).index(line.state))[:MOST_LINES]


def _line(check: Check, row: ControlProof, viewer: User) -> Line:
    whose = f" ({row.organization})" if viewer.organization_id is None else ""
    return Line(
        title=check.title + whose,
        state=_state(check, row),
        checked_at=row.checked_at,
        evidence=row.evidence,
        took_ms=row.took_ms,
        is_awaited=row.is_awaited,
    )


def _state(check: Check, row: ControlProof) -> State:
    if row.state == ControlProof.State.FAILED:
        return State.FAILED  # until somebody looks again and it holds
    if row.checked_at is None:
        return State.OPEN
    if timezone.now() - row.checked_at > check.fresh_for:
        return State.STALE
    return State.HOLDS if row.state == ControlProof.State.HOLDS else State.OPEN
