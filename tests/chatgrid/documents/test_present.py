"""What the documents pages show of passages and of long lists."""

from __future__ import annotations

from uuid import uuid4

import pytest

from chatgrid.documents.present import Pager, rows_of, shown_passages
from departments.documents.records import StoredPassage


def passage(ordinal: int, headings: list[str], page: int) -> StoredPassage:
    return StoredPassage(uuid4(), 0, ordinal, "text", headings, {"page": page}, 10)


def test_headings_and_places_are_said_once() -> None:
    passages = [passage(0, ["Travel", "Meals"], 1), passage(1, ["Travel", "Meals"], 2), passage(2, ["Travel"], 2)]
    shown = [(each.heading, each.place) for each in shown_passages(passages)]
    assert shown == [("Travel › Meals", "page 1"), ("", "page 2"), ("Travel", "")]


def sheet(text: str, first: int = 2, last: int = 3) -> StoredPassage:
    return StoredPassage(uuid4(), 0, 0, text, ["Plan"], {"sheet": "Plan", "row_from": first, "row_to": last}, 10)


def test_rows_of_a_sheet_are_shown_under_their_headers_with_their_numbers() -> None:
    shown = rows_of(sheet("Grade: A; City: Oslo\nGrade: B; Hotel: 80: net; City: Rome"))
    assert shown is not None
    assert shown.headers == ["Grade", "City", "Hotel"]
    assert shown.rows == [(2, ["A", "Oslo", ""]), (3, ["B", "Rome", "80: net"])]


def test_rows_with_blank_ones_between_have_no_numbers_that_could_be_wrong() -> None:
    shown = rows_of(sheet("Grade: A; City: Oslo\nGrade: B; City: Rome", 2, 9))
    assert shown is not None
    assert [number for number, _ in shown.rows] == [None, None]


@pytest.mark.parametrize(
    "text",
    [
        "Grade: A; he said no; City: Oslo\nGrade: B; City: Rome",
        "1; 2\n3; 4",
        "Note: one\nNote: two",
        "A: 1; B: 2\nA: 1; B: 2\nA: 1; B: see; C: 4",
    ],
)
def test_rows_that_do_not_tell_for_sure_stay_text(text: str) -> None:
    assert rows_of(sheet(text)) is None


def test_only_sheets_have_rows() -> None:
    assert rows_of(passage(0, ["Travel"], 1)) is None


def test_a_pager_knows_its_neighbours() -> None:
    first, middle, last = (Pager(offset, 50, 120) for offset in (0, 50, 100))
    assert [(each.previous, each.next) for each in (first, middle, last)] == [(None, 50), (0, 100), (50, None)]
    assert (last.first, last.last) == (101, 120)


def test_a_pager_of_nothing_has_no_neighbours() -> None:
    nothing = Pager(0, 50, 0)
    assert (nothing.first, nothing.last, nothing.previous, nothing.next) == (0, 0, None, None)
