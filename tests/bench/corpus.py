"""What retrieval is measured on: documents of several departments, and questions whose answers are known.

Two forms are read:
- the demo company, rendered to real files (chatgrid/dev/demo);
- a folder with `docs/<department>/**` and `questions.jsonl` (`dept`, `question`, `evidence`), and where they are there
  `unanswerable.jsonl` and `wrong_department.jsonl`, whose questions must find nothing.

A folder may be plainer:
- documents in `documents/` or beside the questions;
- one department, where no question names any, or all name the same one and no folder is called so;
- questions that must find nothing in `questions.jsonl` itself, by a `kind` of `WITHOUT_ANSWER` or `answerable: false`.

What cannot be used is left out and named in `Corpus.notes`; a folder in which nothing can be used raises `Unusable`,
with a sentence.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatgrid.dev.demo.company import COMPANIES, TARNHOLM
from chatgrid.dev.demo.render import HANDBOOK, handbook, render

COMMON_SHARE = 0.7  # of a quote's words in a row: chunkers cut
ONLY = "documents"  # the department of a corpus that knows none
KINDS = ("questions", "unanswerable", "wrong_department")
FOREIGN = frozenset({"wrong_department", "other_department"})  # the answer lies in another department
WITHOUT_ANSWER = FOREIGN | {"unanswerable"}
NOTES = 8  # more are counted

# scripts that set no spaces between words: there each sign is one
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")


class Unusable(Exception):
    """Nothing can be measured on this folder; the message says why."""


@dataclass(frozen=True)
class Document:
    """A file of one department."""

    department: str
    filename: str
    content: bytes


@dataclass(frozen=True)
class Question:
    """`quotes` are what a right passage holds, none where nothing may be found."""

    id: str
    department: str
    kind: str
    text: str
    quotes: tuple[str, ...]

    @property
    def answerable(self) -> bool:
        return bool(self.quotes)

    @property
    def foreign(self) -> bool:
        """Whether another department has the answer."""
        return self.kind in FOREIGN


@dataclass(frozen=True)
class Corpus:
    """`notes` say what of it was left out, and why."""

    name: str
    documents: list[Document]
    questions: list[Question]
    notes: tuple[str, ...] = ()


def demo() -> Corpus:
    """The first demo company and its questions."""
    documents = [_rendered(department, path) for department, path in handbook(TARNHOLM.slug)]
    lines = (HANDBOOK.parent / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    questions = [Question(row["id"], row["department"], row["kind"], row["question"], _quotes(row)) for row in rows]
    return Corpus(COMPANIES[0].name, documents, questions)


def folder(path: Path) -> Corpus:
    """A corpus of the second form. Raises Unusable."""
    if not path.is_dir():
        raise Unusable(f"There is no folder {path}.")
    notes: list[str] = []
    rows = [(kind, line, row) for kind in KINDS for line, row in _rows(path / f"{kind}.jsonl", notes)]
    documents = list(_documents(path, {_department(row) for _, _, row in rows} - {""}, notes))
    if not documents:
        raise Unusable(f"{path} holds no documents: put them into {path / 'docs'}, a folder for each department.")
    departments = {document.department for document in documents}
    questions = [
        question for kind, line, row in rows if (question := _question(kind, line, row, departments, notes)) is not None
    ]
    if not questions:
        notes.append("There are no questions, so only reading is measured: they are lines of questions.jsonl.")
    return Corpus(path.resolve().name, documents, questions, tuple(shortened(notes)))


def is_relevant(question: Question, text: str) -> bool:
    """Whether a passage holds one of the quotes, or at least `COMMON_SHARE` of one in a row."""
    words = _words(text)
    return any(_holds(words, _words(quote)) for quote in question.quotes)


def _holds(words: list[str], quote: list[str]) -> bool:
    needed = max(1, round(len(quote) * COMMON_SHARE))
    text = f" {' '.join(words)} "
    return any(f" {' '.join(quote[at : at + needed])} " in text for at in range(len(quote) - needed + 1))


def _quotes(row: dict[str, Any]) -> tuple[str, ...]:
    """What must be found in the department that is asked: nothing, where another one has the answer."""
    return () if row["kind"] in WITHOUT_ANSWER else (row["passage"],)


def _words(text: str) -> list[str]:
    return WORD.findall(unicodedata.normalize("NFKC", text).lower())


def _rendered(department: str, path: Path) -> Document:
    document = render(path)
    return Document(department, document.filename, document.content)


# -- a folder of somebody else's


def _documents(path: Path, named: set[str], notes: list[str]) -> Iterator[Document]:
    """Its files; the department is the first folder's name, where the questions name departments at all.

    Where they name one and no folder is called so, everything belongs to it.
    """
    root = next((path / name for name in ("docs", "documents") if (path / name).is_dir()), path)
    files = [file for file in sorted(root.rglob("*")) if file.is_file() and not _is_passed_by(root, file, path)]
    folders = {_named(file.relative_to(root).parts) for file in files}
    only = next(iter(named)) if len(named) == 1 and named.isdisjoint(folders) else ""
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            notes.append(f"Left out, cannot be read ({error.strerror}): {_clean(str(file.relative_to(path)))}.")
            continue
        folder = _named(file.relative_to(root).parts) if named else ONLY
        yield Document(only or folder, _clean(file.name), content)


def _is_passed_by(root: Path, file: Path, path: Path) -> bool:
    """Hidden files, and questions that stand beside the documents."""
    is_hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return is_hidden or (root == path and file.suffix == ".jsonl")


def _named(parts: Sequence[str]) -> str:
    """The department by the first folder; a name may be spelled in two ways that look the same."""
    return unicodedata.normalize("NFC", _clean(parts[0])) if len(parts) > 1 else ONLY


def _rows(path: Path, notes: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a file of questions with their numbers, those that are objects."""
    if not path.is_file():
        return
    # a line ends at a line feed only: the other line ends of Unicode may stand inside a string
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield number, row
        else:
            notes.append(f"Left out, no JSON object: {path.name}, line {number}.")


def _question(kind: str, line: int, row: dict[str, Any], departments: set[str], notes: list[str]) -> Question | None:
    """A row as a question; None, with a note, where it cannot be asked or judged."""
    where = f"{kind}.jsonl, line {line}"
    text, told = _clean(row.get("question")), _clean(row.get("kind"))
    if kind == "questions" and (told in WITHOUT_ANSWER or row.get("answerable") is False):
        kind = told if told in WITHOUT_ANSWER else "unanswerable"
    quotes = _evidence(row) if kind == "questions" else ()
    department = _department(row) or (next(iter(departments)) if len(departments) == 1 else ONLY)
    if not text:
        notes.append(f"Left out, empty question: {where}.")
    elif department not in departments:
        notes.append(f"Left out, no documents of department “{department}”: {where}.")
    elif kind == "questions" and not quotes:
        notes.append(f"Left out, no evidence to judge an answer by: {where}.")
    else:
        return Question(_clean(row.get("id")) or where, department, told if quotes and told else kind, text, quotes)
    return None


def _department(row: dict[str, Any]) -> str:
    return unicodedata.normalize("NFC", _clean(row.get("dept") or row.get("department")))


def _evidence(row: dict[str, Any]) -> tuple[str, ...]:
    """The quotes of a row, one or several, those that hold a word."""
    given = row.get("evidence")
    quotes = given if isinstance(given, list) else [given]
    return tuple(quote for quote in map(_clean, quotes) if _words(quote))


def _clean(value: Any) -> str:
    """A text that a database and a provider take; nothing where it is no text."""
    if not isinstance(value, str | int):
        return ""
    return str(value).replace("\x00", " ").encode("utf-8", "replace").decode().strip()


def shortened(notes: Sequence[str]) -> list[str]:
    """The first `NOTES`, and how many more there are."""
    return [*notes[:NOTES], f"and {len(notes) - NOTES} more"] if len(notes) > NOTES else [*notes]
