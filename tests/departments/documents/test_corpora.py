"""What `make bench-retrieval CORPUS=folder` makes of folders that nobody prepared for it: figures or a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import corpus, retrieval
from tests.bench.corpus import Question, Unusable, folder
from tests.bench.measures import Ranked
from tests.bench.vectors import Unreachable, Vectors, served

GOOD = {"id": "1", "dept": "hr", "question": "How many days?", "evidence": ["five unused days"]}


def made(place: Path, questions: str = "", **files: str) -> Path:
    """A corpus; `files` are texts by path, with `__` for a slash."""
    for name, text in files.items():
        file = place / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (place / "questions.jsonl").write_text(questions)
    return place


def lines(*rows: object) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def test_documents_and_questions_are_enough(tmp_path: Path) -> None:
    found = folder(made(tmp_path, lines(GOOD), docs__hr__leave="five unused days", docs__hr__deep__er__b="b"))
    assert [(each.department, each.filename) for each in found.documents] == [("hr", "b"), ("hr", "leave")]
    assert found.questions == [Question("1", "hr", "questions", "How many days?", ("five unused days",))]
    assert found.notes == ()


def test_questions_that_name_no_department_make_it_one_department(tmp_path: Path) -> None:
    row = {"question": "How many days?", "evidence": "five unused days"}
    found = folder(made(tmp_path, lines(row), a__leave="x", b__travel="y", top="z"))
    assert {each.department for each in found.documents} == {corpus.ONLY}
    assert [(each.id, each.department) for each in found.questions] == [("questions.jsonl, line 1", corpus.ONLY)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{not json", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ("[1, 2]", "no JSON object"),
        (lines(GOOD | {"question": "  \x00 "}), "empty question"),
        (lines(GOOD | {"question": None}), "empty question"),
        (lines(GOOD | {"dept": "legal"}), "no documents of department “legal”"),
        (lines(GOOD | {"evidence": []}), "no evidence"),
        (lines(GOOD | {"evidence": ["?!", 3.5, None]}), "no evidence"),
    ],
)
def test_a_line_that_cannot_be_used_is_left_out_and_named(tmp_path: Path, row: str, said: str) -> None:
    found = folder(made(tmp_path, f"\n{lines(GOOD)}\n{row}\n", docs__hr__leave="five unused days"))
    assert [each.id for each in found.questions] == ["1"]
    assert any(said in note and "line 3" in note for note in found.notes)


def test_what_nobody_can_send_is_taken_out_of_a_question(tmp_path: Path) -> None:
    odd = GOOD | {"question": "How\x00many \ud800 days?"}
    [question] = folder(made(tmp_path, lines(odd), docs__hr__leave="x")).questions
    assert question.text == "How many ? days?"


def test_without_questions_only_reading_is_measured(tmp_path: Path) -> None:
    found = folder(made(tmp_path, docs__hr__leave="x"))
    measured = retrieval.Measured(found, [], passages=1, seconds=0.5)
    assert "only reading is measured" in "\n".join(retrieval.report(measured, Vectors("m", 3, lambda *_: None)))


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_documents_is_refused_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty" / "docs" / ".git").mkdir(parents=True)
    (tmp_path / "empty" / "docs" / ".git" / "config").write_text("hidden files are not documents")
    with pytest.raises(Unusable, match=r"no folder|holds no documents"):
        folder(tmp_path / name)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "no address at all", ""])
def test_an_embedding_server_that_is_away_is_named(url: str) -> None:
    with pytest.raises(Unreachable, match="No embedding server answers at"):
        served(url)


@pytest.mark.parametrize(
    ("there", "given", "confident", "worth_reading", "lost"),
    [
        (0, [], False, False, "no passage holds the quote"),
        (1, [False, False], False, True, "not among those found"),
        (1, [False, True], False, False, "turned away by the search"),
        (1, [False, True], False, True, "given in doubt, and not cited by the assistant"),
        (1, [False, True], True, True, "given, and not cited by the assistant"),
    ],
)
def test_a_lost_citation_is_laid_at_the_step_that_lost_it(
    there: int, given: list[bool], confident: bool, worth_reading: bool, lost: str
) -> None:
    question = Question("1", "hr", "keyword", "How many days?", ("five unused days",))
    asked = retrieval.Asked(question, {"fused": Ranked((), there)}, confident, worth_reading, [1.0], 0, given)
    assert asked.lost == lost
