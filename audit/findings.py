"""What a verification can find, in words, and what it says at its end.

Severity: a FAULT means that the record was changed or cannot be proven; a REMARK is true and explains itself, such as
an event that was sealed late.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from audit.signing import Seal


class Severity(StrEnum):
    FAULT = "fault"
    REMARK = "remark"


class Kind(StrEnum):
    """What was found, and the sentence an auditor reads."""

    SIGNATURE = "the signature does not fit"
    KEY = "the key that signed was never announced"
    CHAIN = "it does not follow the seal before it"
    SEAL_MISSING = "seals are missing before it"
    NUMBERS = "its events do not follow those of the seal before it"
    LEAF_MISSING = "a leaf is missing"
    LEAF_FOREIGN = "a leaf belongs to another seal"
    EVENT_MISSING = "an event is gone"
    EVENT_CHANGED = "an event was changed"
    ROOT = "the root does not fit the events"
    UNSEALED = "an event has no leaf"
    BEYOND = "leaves have no seal"
    ANCHOR_MISSING = "an anchor holds seals that the database does not"
    ANCHOR_DIFFERS = "an anchor holds another seal of this number"
    ANCHOR_BEHIND = "an anchor does not have this seal"
    ANCHOR_DOWN = "an anchor cannot be read"
    STALE = "no seal was made in the last three minutes"
    NO_SEAL = "there is no seal at all"
    CUT_OFF = "seals are gone that had been carried outside"
    MONTH_TOO_YOUNG = "a month was dropped before its time"
    MONTH_UNCLEAR = "the announcement of a month's end says nothing that ChatGrid would have written"
    LATE = "events were sealed late"
    TEXT_CHANGED = "the text of a question is not the one that was sealed with its event"
    SUMS = "a sum behind the charts is not what the record adds up to"


@dataclass(frozen=True)
class Finding:
    """One place that is not right. `seal` and `seq` are numbers, None where they mean nothing."""

    kind: Kind
    seal: int | None = None
    seq: int | None = None
    event_id: UUID | None = None
    words: str = ""
    severity: Severity = Severity.FAULT

    def __str__(self) -> str:
        places = [("seal", self.seal), ("event number", self.seq), ("event", self.event_id)]
        where = ", ".join(f"{name} {value}" for name, value in places if value is not None)
        return f"{where or 'record'}: {self.kind}" + (f" ({self.words})" if self.words else "")


@dataclass
class Report:
    """What a verification saw. Times of months are UTC."""

    seals: int = 0
    events: int = 0
    expired_seals: int = 0
    last: Seal | None = None
    keys: list[str] = field(default_factory=list)
    anchors: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def faults(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity is Severity.FAULT]

    @property
    def first_fault(self) -> Finding | None:
        """The first bad place: the lowest seal, and in it the lowest event."""
        placed = sorted(self.faults, key=lambda each: (each.seal or 1 << 62, each.seq or 0))
        return placed[0] if placed else None
