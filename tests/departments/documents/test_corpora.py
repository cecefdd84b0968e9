"""What `make bench-retrieval CORPUS=folder` makes of folders that nobody prepared for it: figures or a sentence."""

from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path

import pytest

from tests.bench import corpus, retrieval
from tests.bench.corpus import Question, Unusable, folder
from tests.bench.measures import Ranked, hit, ndcg, recall
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


def test_one_department_that_no_folder_is_called_after_has_all_documents(tmp_path: Path) -> None:
    found = folder(made(tmp_path, lines(GOOD), documents__leave="five unused days", documents__forms__a="x"))
    assert {each.department for each in found.documents} == {"hr"}
    assert [each.department for each in found.questions] == ["hr"]


def test_names_that_look_the_same_are_the_same_department(tmp_path: Path) -> None:
    (place := tmp_path / "docs" / unicodedata.normalize("NFD", "Büro")).mkdir(parents=True)
    (place / "leave").write_text("five unused days")
    [question] = folder(made(tmp_path, lines(GOOD | {"dept": "Büro"}))).questions
    assert question.department == "Büro"


@pytest.mark.parametrize(
    ("about", "kind", "foreign"),
    [
        ({"kind": "unanswerable"}, "unanswerable", False),
        ({"kind": "wrong_department", "evidence": ["five unused days"]}, "wrong_department", True),
        ({"answerable": False, "kind": "keyword"}, "unanswerable", False),
    ],
)
def test_a_question_without_an_answer_may_stand_among_the_others(
    tmp_path: Path, about: dict[str, object], kind: str, foreign: bool
) -> None:
    row = {"dept": "hr", "question": "How many days?", "evidence": []} | about
    [question] = folder(made(tmp_path, lines(row), docs__hr__leave="x")).questions
    assert (question.kind, question.answerable, question.foreign) == (kind, False, foreign)


def test_a_line_ends_at_a_line_feed_only(tmp_path: Path) -> None:
    row = json.dumps(GOOD | {"question": "How many\u2028days\x85?"}, ensure_ascii=False)
    [question] = folder(made(tmp_path, f"{row}\n\n", docs__hr__leave="x")).questions
    assert question.text == "How many\u2028days\x85?"


def test_a_file_that_cannot_be_read_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = made(tmp_path, lines(GOOD), docs__hr__leave="five unused days", docs__hr__locked="x")
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    found = folder(place)
    assert [each.filename for each in found.documents] == ["leave"]
    assert found.notes == ("Left out, cannot be read (Permission denied): docs/hr/locked.",)


@pytest.mark.parametrize(
    ("quote", "passage"),
    [
        ("five   unused\n days", "Up to five unused days, not more."),
        ("未用完的年假可以在次年使用", "员工每年有二十天年假。未用完的年假可以在次年使用，最多五天。"),
        ("年次有給休暇は二十日", "社員の年次有給休暇は二十日です。"),
        (unicodedata.normalize("NFD", "Das Büro öffnet um 7"), "Das Büro öffnet um 7 Uhr."),
    ],
)
def test_a_quote_is_known_again_however_it_is_spaced_and_spelled(quote: str, passage: str) -> None:
    question = Question("1", "hr", "keyword", "?", (quote,))
    assert corpus.is_relevant(question, passage)
    assert not corpus.is_relevant(question, passage[: len(passage) // 3])


def test_figures_are_those_that_a_person_computes_by_hand() -> None:
    # two of the three right passages are found, second and sixth
    ranked = Ranked((False, True, False, False, False, True), there=3)
    found, best = 1 / math.log2(3) + 1 / math.log2(7), 1 + 1 / math.log2(3) + 1 / 2
    assert (ndcg(ranked), recall(ranked)) == pytest.approx((found / best, 2 / 3))
    assert (recall(ranked, 5), hit(ranked, 5), hit(ranked, 1)) == (1 / 3, True, False)


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


def test_leaks_are_counted_over_all_and_their_rate_over_questions_of_other_departments(tmp_path: Path) -> None:
    foreign = Question("1", "hr", "wrong_department", "Which VPN?", ())
    asked = [
        retrieval.Asked(question, {}, False, True, [1.0], leaks, [False, False])
        for question, leaks in [(foreign, 2), (foreign, 0), (Question("2", "hr", "unanswerable", "Who?", ()), 1)]
    ]
    found = folder(made(tmp_path, docs__hr__leave="x"))
    told = "\n".join(retrieval.report(retrieval.Measured(found, asked, 1, 0.5), Vectors("m", 3, lambda *_: None)))
    assert "leaks               3 of 6 passages" in told
    assert "leak rate           0.500 (1 of 2)" in told


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
