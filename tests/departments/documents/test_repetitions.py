"""Which passages are left out because a better one says the same."""

from __future__ import annotations

from departments.documents.repetitions import without_repetitions

RULE = "Everybody in the office may carry {} unused days of leave into the next year if their manager has agreed to it."
OTHER = "Meals on a journey are refunded against the receipts."


def kept(*texts: str, limit: int = 6) -> list[str]:
    return without_repetitions(texts, limit, str)


def test_a_copy_is_shown_once_and_makes_room_for_others() -> None:
    copies = [RULE.format("five")] * 10
    assert kept(*copies, OTHER, limit=2) == [RULE.format("five"), OTHER]


def test_a_part_of_a_longer_passage_adds_nothing() -> None:
    long = f"{RULE.format('five')} {OTHER}"
    assert kept(long, OTHER) == [long]
    assert kept(OTHER, long) == [OTHER, long]


def test_two_versions_of_a_rule_are_both_shown() -> None:
    assert kept(RULE.format(5), RULE.format(7)) == [RULE.format(5), RULE.format(7)]


def test_a_form_that_was_filled_in_many_times_does_not_take_every_place() -> None:
    forms = [RULE.format(number) for number in range(30)]
    assert kept(*forms, OTHER) == [forms[0], forms[1], OTHER]


def test_words_in_another_case_or_with_other_signs_are_the_same() -> None:
    assert len(kept(RULE.format("five"), RULE.format("five").upper().replace(" ", "  "))) == 1
