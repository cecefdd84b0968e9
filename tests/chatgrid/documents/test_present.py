"""What the documents pages show of passages and of long lists."""

from __future__ import annotations

from uuid import uuid4

from chatgrid.documents.present import Pager, shown_passages
from departments.documents.records import StoredPassage


def passage(ordinal: int, headings: list[str], page: int) -> StoredPassage:
    return StoredPassage(uuid4(), 0, ordinal, "text", headings, {"page": page}, 10)


def test_headings_and_places_are_said_once() -> None:
    passages = [passage(0, ["Travel", "Meals"], 1), passage(1, ["Travel", "Meals"], 2), passage(2, ["Travel"], 2)]
    shown = [(each.heading, each.place) for each in shown_passages(passages)]
    assert shown == [("Travel › Meals", "page 1"), ("", "page 2"), ("Travel", "")]


def test_a_pager_knows_its_neighbours() -> None:
    first, middle, last = (Pager(offset, 50, 120) for offset in (0, 50, 100))
    assert [(each.previous, each.next) for each in (first, middle, last)] == [(None, 50), (0, 100), (50, None)]
    assert (last.first, last.last) == (101, 120)


def test_a_pager_of_nothing_has_no_neighbours() -> None:
    nothing = Pager(0, 50, 0)
    assert (nothing.first, nothing.last, nothing.previous, nothing.next) == (0, 0, None, None)
