"""Turns documents and passages into what the templates show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from departments.documents.records import StoredPassage


@dataclass(frozen=True)
class ShownPassage:
    """A passage of a document's page. `heading` and `place` are empty where they repeat those of the one before."""

    ordinal: int
    heading: str
    place: str
    text: str


@dataclass(frozen=True)
class Pager:
    """Which part of a long list is shown: `first` to `last` of `total`, counted from 1."""

    offset: int
    limit: int
    total: int

    @property
    def first(self) -> int:
        return min(self.offset + 1, self.total)

    @property
    def last(self) -> int:
        return min(self.offset + self.limit, self.total)

    @property
    def previous(self) -> int | None:
        """Offset of the part before, or None."""
        return max(0, self.offset - self.limit) if self.offset else None

    @property
    def next(self) -> int | None:
        """Offset of the part after, or None."""
        return self.offset + self.limit if self.offset + self.limit < self.total else None


def shown_passages(passages: Iterable[StoredPassage]) -> list[ShownPassage]:
    """The passages of one version in order, headings and places said once."""
    shown: list[ShownPassage] = []
    heading = place = ""
    for passage in passages:
        new_heading, new_place = heading_of(passage.heading_path), passage.place
        shown.append(
            ShownPassage(
                ordinal=passage.ordinal,
                heading=new_heading if new_heading != heading else "",
                place=new_place if new_place != place else "",
                text=passage.text,
            )
        )
        heading, place = new_heading, new_place
    return shown


def heading_of(path: Sequence[str]) -> str:
    """["Travel", "Meals"] as "Travel › Meals"."""
    return " › ".join(path)
