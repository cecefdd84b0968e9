"""What an assistant is told: the department's words, and what it must not discuss."""

from __future__ import annotations

from departments.prompts.scope import NOT_DISCUSSED, rules_text, subjects_of


def test_a_list_of_subjects_becomes_one_rule_with_one_sentence() -> None:
    text = rules_text("Answer about leave.", "- salaries of others\n\n * the merger\nstrikes")
    assert text.startswith("Answer about leave.\n\n")
    assert text.endswith("\n- salaries of others\n- the merger\n- strikes")
    assert text.count(NOT_DISCUSSED) == 1


def test_nothing_written_is_nothing_told() -> None:
    assert rules_text(" \n", " \n - \n") == ""
    assert rules_text("Be kind.", "") == "Be kind."
    assert subjects_of("•\n-\n") == []
