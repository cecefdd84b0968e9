"""A change that has not been made yet, and making it.

Rules:
- A plan holds every change with its values before and after; applying it stops, with nothing done, where somebody has
  changed one of those rows meanwhile.
- All of a plan is one transaction, with an event for each change.
- What is not allowed is found while planning, with the place in the file, all of it at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Model

from chatgrid.console.recording import KINDS, Values, snapshot

Recorder = Callable[[Model, str, Values, Values], None]


class Refused(Exception):
    """What is wanted cannot be done. `problems` are sentences, each with its place."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class ChangedMeanwhile(Exception):
    """A row is no longer what the plan saw. Nothing was done."""


@dataclass(frozen=True)
class Change:
    """One row as it should be. `before` is None for a new one, `after` None for one that goes."""

    subject: Model
    place: str
    before: Values | None
    after: Values | None

    @property
    def kind(self) -> str:
        if self.before is None:
            return "add"
        return "remove" if self.after is None else "change"

    @property
    def differing(self) -> list[tuple[str, Any, Any]]:
        """Field, before, after; only what differs, without the reason, which differs always."""
        before, after = self.before or {}, self.after or {}
        names = [name for name in KINDS[type(self.subject)].fields if name != "reason"]
        return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]

    def lines(self) -> Iterator[str]:
        """As a command prints it."""
        sign = {"add": "+", "change": "~", "remove": "-"}[self.kind]
        yield f"{sign} {self.place}"
        for name, before, after in self.differing:
            yield f"    {name}: {_shown(before)} -> {_shown(after)}" if self.before else f"    {name}: {_shown(after)}"


def changed(subject: Model, place: str, before: Values | None) -> Change | None:
    """The change from `before` to the subject as it is now; None where nothing differs. Raises ValidationError."""
    change = Change(subject, place, before, snapshot(subject))
    if before is not None and not change.differing:
        return None
    return change


def digest(changes: Sequence[Change]) -> str:
    """Names a plan, so that what is applied is what was shown."""
    told = [[each.kind, each.place, each.differing] for each in changes]
    return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()


def apply_changes(changes: Sequence[Change], record: Recorder) -> None:
    """Make all of them, in their order. Raises ChangedMeanwhile."""
    try:
        with transaction.atomic():
            for change in changes:
                _apply(change, record)
    except IntegrityError:  # somebody added the same row between the look and the writing
        raise ChangedMeanwhile(
            "Somebody else has just added one of these. Nothing was done: make a new plan."
        ) from None


def _apply(change: Change, record: Recorder) -> None:
    before = change.before
    if before is not None and _now(change.subject) != before:
        raise ChangedMeanwhile(f"{change.place} was changed meanwhile. Nothing was done: make a new plan.")
    if change.after is None:
        record(change.subject, "deleted", before or {}, {})
        change.subject.delete()
        return
    change.subject.save()
    record(change.subject, "changed" if before else "added", before or {}, change.after)


def _now(subject: Model) -> Values | None:
    found = type(subject)._default_manager.select_for_update().filter(pk=subject.pk).order_by().first()
    return snapshot(found) if found else None


def sentences_of(error: ValidationError, place: str) -> list[str]:
    """What Django says about a row, with its place."""
    if not hasattr(error, "error_dict"):
        return [f"{place}: {' '.join(error.messages)}"]
    named = error.message_dict.items()
    return [f"{place}: {'' if name == '__all__' else f'{name}: '}{' '.join(said)}" for name, said in named]


def _shown(value: Any) -> str:
    text = str(value)
    return "none" if value is None else f"{text[:60]}…" if len(text) > 60 else text or "empty"
