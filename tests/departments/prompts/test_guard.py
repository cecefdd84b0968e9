"""The filter on answers: what must not leave does not, however it is cut; everything else does, at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from departments.keys.patterns import contains_key
from departments.prompts.guard import LONGEST_DOUBT, OutputFilter, Withheld, canary_of
from tests.company import make_key

CANARY = canary_of("department", "rules")
KEY = make_key().reveal()
SERVICE_KEY = "sk-" + "svcacct-" + "Ab3_" * 12
KEY_WITHIN = KEY[:30] + "sk-" + KEY[33:]  # a key's body may spell "sk-" as well


def through(*pieces: str) -> tuple[str, str]:
    """What was shown, and the label if the rest was withheld."""
    the_filter, shown = OutputFilter(CANARY, contains_key), ""
    try:
        for piece in pieces:
            shown += the_filter.feed(piece)
        shown += the_filter.finish()
    except Withheld as withheld:
        return shown, withheld.label
    return shown, ""


@pytest.mark.parametrize(
    ("secret", "label"),
    [(CANARY, "canary"), (CANARY.upper(), "canary"), (KEY, "key"), (SERVICE_KEY, "key"), (KEY_WITHIN, "key")],
    ids=["canary", "canary in capitals", "key", "service key", "key within"],  # the values differ in each process
)
@pytest.mark.parametrize("before", ["The key is ", "key=", "(", '"', ""])
def test_a_secret_is_withheld_wherever_it_is_cut(secret: str, label: str, before: str) -> None:
    whole = f"{before}{secret} and so on."
    for first in range(1, len(whole)):
        shown, found = through(whole[:first], whole[first:])
        assert found == label
        assert before.startswith(shown)
    shown, found = through(*whole)
    assert (before.startswith(shown), found) == (True, label), "letter by letter"


@settings(deadline=None)
@given(st.lists(st.integers(0, len(KEY)), max_size=8).map(sorted), st.text(max_size=20))
def test_no_part_of_a_key_is_shown(cuts: list[int], before: str) -> None:
    parts = [KEY[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(KEY)], strict=True)]
    shown, label = through(before + " ", *parts, " end")
    assert label == "key"
    assert (before + " ").startswith(shown)


@settings(deadline=None)  # a busy machine is no slow filter
@given(st.lists(st.text(alphabet="sk-proj_T3BlbkFJ aZ9.\n", max_size=30), max_size=12))
def test_what_holds_no_secret_comes_out_as_it_went_in(pieces: list[str]) -> None:
    whole = "".join(pieces)
    shown, label = through(*pieces)
    if contains_key(whole):
        assert label == "key"
    else:
        assert (shown, label) == (whole, "")


@pytest.mark.parametrize("word", ["task-", "ask-", "desk-based-", "risk-", "help-desk-service-", "risk-admin-"])
def test_a_word_that_ends_like_a_keys_beginning_is_no_key(word: str) -> None:
    text = f"{word}{'a' * 60} and more"
    for first in range(1, len(text)):
        assert through(text[:first], text[first:]) == (text, "")


def test_ordinary_words_pass_at_once() -> None:
    the_filter, given, shown = OutputFilter("7" * 32, contains_key), "", ""  # a canary may begin like a word, too
    for word in ("Twenty-eight ", "days ", "of ", "leave.", " Größe", " 日本", " and ", "so ", "on."):
        given += word
        shown += the_filter.feed(word)
        assert len(given) - len(shown) <= 3


def test_a_long_word_is_not_held_back_for_ever() -> None:
    the_filter = OutputFilter(CANARY, contains_key)
    shown = the_filter.feed("sk-" + "." + "sk-" + "a" * 5 + "!" + "x" * 10_000)
    assert len(shown) > 10_000 - LONGEST_DOUBT


def test_a_department_and_its_rules_have_a_canary_of_their_own() -> None:
    assert len({canary_of("a", "x"), canary_of("b", "x"), canary_of("a", "y"), CANARY}) == 4
    assert canary_of("department", "rules") == CANARY
