"""Passages follow the structure of a document and never exceed their size."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from departments.calls.tokens import count_tokens
from departments.documents.chunks import Passage, chunk, embedded_text
from departments.documents.extracted import Block, Extracted, Kind, Locator

SENTENCE = "Employees may take ten days of leave each year, if the manager agrees. "  # 15 tokens


def document(*blocks: Block) -> Extracted:
    return Extracted(Kind.TEXT, "Handbook", None, list(blocks))


def paragraph(text: str, page: int | None = 1, path: tuple[str, ...] = ("Leave",)) -> Block:
    return Block(text, Locator(page=page), path)


def row(number: int, text: str) -> Block:
    return Block(text, Locator(sheet="Prices", row_from=number, row_to=number), ("Prices",), "table")


def test_it_puts_small_neighbours_under_one_heading_together() -> None:
    passages = chunk(document(paragraph("One."), paragraph("Two."), paragraph("Three.")))
    assert passages == [
        Passage(
            0, "One.\n\nTwo.\n\nThree.", Locator(page=1), ("Leave",), count_tokens("One.\n\nTwo.\n\nThree.", "cl100k")
        )
    ]


def test_it_stops_putting_together_when_a_passage_says_enough() -> None:
    passages = chunk(document(*[paragraph(SENTENCE * 4) for _ in range(20)]), max_tokens=400)
    assert all(250 <= passage.tokens <= 400 for passage in passages[:-1])
    assert [passage.ordinal for passage in passages] == list(range(len(passages)))


@pytest.mark.parametrize(
    "second",
    [
        paragraph("Two.", page=2),
        paragraph("Two.", path=("Pay",)),
        paragraph("Two.", path=("Leave", "Unpaid")),
        Block("Two.", Locator(slide=1), ("Leave",)),
    ],
    ids=["page", "heading", "subheading", "kind of place"],
)
def test_it_never_puts_different_places_together(second: Block) -> None:
    assert [passage.text for passage in chunk(document(paragraph("One."), second))] == ["One.", "Two."]


def test_it_keeps_the_rows_of_a_table_whole_and_names_their_range() -> None:
    rows = [
        row(number, f"Item: screw number {number}; Price: {number} EUR; Stock: {number * 7}")
        for number in range(2, 102)
    ]
    passages = chunk(document(*rows), max_tokens=200)
    assert [line for passage in passages for line in passage.text.split("\n")] == [block.text for block in rows]
    assert passages[0].locator.row_from == 2
    assert passages[-1].locator.row_to == 101
    for before, after in pairwise(passages):
        assert after.locator.row_from == (before.locator.row_to or 0) + 1
    assert all(passage.locator.sheet == "Prices" for passage in passages)


def test_every_part_of_a_long_row_begins_with_the_first_cell() -> None:
    long_row = row(2, "Name: Ada; " + "; ".join(f"Question {number}: {SENTENCE}" for number in range(60)))
    passages = chunk(document(long_row), max_tokens=100)
    assert len(passages) > 5
    assert all(passage.text.startswith("Name: Ada; ") and passage.tokens <= 100 for passage in passages)


def test_it_cuts_a_long_paragraph_between_sentences_with_an_overlap() -> None:
    sentences = [f"Rule {number} gives each employee {number} days of leave." for number in range(200)]
    passages = chunk(document(paragraph(" ".join(sentences))), max_tokens=120, overlap_tokens=30)
    assert all(passage.text.endswith(".") and passage.tokens <= 120 for passage in passages)
    assert all(any(sentence in passage.text for passage in passages) for sentence in sentences)
    assert all(before.text.rsplit(". ", 1)[1] in after.text for before, after in pairwise(passages))


def test_it_cuts_without_overlap_on_request() -> None:
    text = " ".join(f"Sentence number {number}." for number in range(500))
    passages = chunk(document(paragraph(text)), max_tokens=100, overlap_tokens=0)
    assert " ".join(passage.text for passage in passages) == text


def test_a_heading_stands_beside_the_text_below_it() -> None:
    heading = Block("Leave", Locator(page=1), ("Leave",), "heading")
    assert [passage.text for passage in chunk(document(heading, paragraph("One.")))] == ["One."]


def test_a_heading_with_nothing_below_it_is_not_lost() -> None:
    blocks = [Block(name, Locator(page=1), (name,), "heading") for name in ("Intro", "Leave")]
    assert [passage.text for passage in chunk(document(*blocks, paragraph("One.")))] == ["Intro", "One."]
    assert [passage.text for passage in chunk(document(*blocks))] == ["Intro", "Leave"]


def test_it_embeds_a_passage_under_its_title_and_headings() -> None:
    passage = chunk(document(paragraph("One.", path=("Leave", "Unpaid"))))[0]
    assert embedded_text(passage, "Handbook") == "Handbook > Leave > Unpaid\nOne."
    assert embedded_text(passage, "Leave") == "Leave > Unpaid\nOne."
    assert embedded_text(passage, None) == "Leave > Unpaid\nOne."


def test_it_embeds_a_passage_without_any_heading_as_it_is() -> None:
    assert embedded_text(chunk(document(paragraph("One.", path=())))[0], None) == "One."


@pytest.mark.parametrize(("size", "overlap"), [(100, 100), (100, -1), (0, 0)])
def test_it_refuses_an_overlap_that_does_not_fit(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        chunk(document(paragraph("One.")), max_tokens=size, overlap_tokens=overlap)


BLOCKS = st.builds(
    Block,
    st.text(min_size=1, max_size=400).filter(str.strip),
    st.builds(Locator, page=st.integers(1, 2)),
    st.sampled_from([(), ("A",), ("A", "B")]),
    st.sampled_from(["heading", "paragraph", "table", "list", "code"]),
)


@settings(deadline=None)
@given(st.lists(BLOCKS, max_size=12), st.integers(20, 60))
def test_no_passage_exceeds_the_limit_and_none_is_empty(blocks: list[Block], size: int) -> None:
    for passage in chunk(document(*blocks), max_tokens=size, overlap_tokens=5):
        assert passage.text.strip()
        assert passage.tokens == count_tokens(passage.text, "cl100k") <= size


@pytest.mark.parametrize("text", ["a" * 20_000, "字" * 5_000, "👩🏽‍💻" * 1_000, "- " * 10_000, "x\n" * 10_000])
def test_it_cuts_text_without_any_boundary(text: str) -> None:
    passages = chunk(document(paragraph(text)), max_tokens=50, overlap_tokens=0)
    assert all(0 < passage.tokens <= 50 for passage in passages)
    assert sum(len(passage.text.replace("\n", "").replace(" ", "")) for passage in passages) == len(
        text.replace("\n", "").replace(" ", "")
    )
