"""Token counts come from bundled tables, for any text."""

from __future__ import annotations

import time

import pytest

from departments.calls.tokens import SLICE_CHARACTERS, count_tokens


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [("", "o200k", 0), ("hello world", "o200k", 2), ("hello world", "cl100k", 2), ("Straßenbahn", "cl100k", 4)],
)
def test_it_counts_as_the_encoding_does(text: str, encoding: str, expected: int) -> None:
    assert count_tokens(text, encoding) == expected


def test_it_counts_with_the_table_of_chat_models_unless_told() -> None:
    text = "Привет, как дела сегодня?"
    assert count_tokens(text) == count_tokens(text, "o200k") < count_tokens(text, "cl100k")


def test_it_counts_text_with_half_a_character() -> None:
    assert count_tokens("a\ud83db") == count_tokens("a\ufffdb")


def test_it_counts_a_long_text_in_slices_with_hardly_a_difference() -> None:
    words = "word " * SLICE_CHARACTERS
    assert abs(count_tokens(words) - SLICE_CHARACTERS) <= 6


def test_it_counts_a_million_equal_letters_in_no_time() -> None:
    count_tokens("")
    started = time.thread_time()  # of this thread alone, however busy the machine is
    count_tokens("a" * 1_000_000)
    assert time.thread_time() - started < 1


def test_it_names_the_encodings_it_knows_when_asked_for_another() -> None:
    with pytest.raises(ValueError, match="cl100k, o200k"):
        count_tokens("x", "p50k")
