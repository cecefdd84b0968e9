"""What retrieval is measured on: documents of several departments, and questions whose answers are known.

Two forms are read:
- the demo company, rendered to real files (chatgrid/dev/demo);
- a folder with `docs/<department>/**` and `questions.jsonl` (`dept`, `question`, `evidence`), and where they are there
  `unanswerable.jsonl` and `wrong_department.jsonl`, whose questions must find nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatgrid.dev.demo.company import COMPANIES, TARNHOLM
from chatgrid.dev.demo.render import HANDBOOK, handbook, render

COMMON_SHARE = 0.7  # of a quote's words in a row: chunkers cut


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


@dataclass(frozen=True)
class Corpus:
    name: str
    documents: list[Document]
    questions: list[Question]


def demo() -> Corpus:
    """The first demo company and its questions."""
    documents = [_rendered(department, path) for department, path in handbook(TARNHOLM.slug)]
    rows = _lines(HANDBOOK.parent / "questions.jsonl")
    questions = [Question(row["id"], row["department"], row["kind"], row["question"], _quotes(row)) for row in rows]
    return Corpus(COMPANIES[0].name, documents, questions)


def folder(path: Path) -> Corpus:
    """A corpus of the second form."""
    files = sorted(file for file in (path / "docs").glob("*/**/*") if file.is_file())
    documents = [Document(file.relative_to(path / "docs").parts[0], file.name, file.read_bytes()) for file in files]
    questions = [
        Question(row["id"], row["dept"], row.get("kind", kind), row["question"], tuple(row.get("evidence", ())))
        for kind in ("questions", "unanswerable", "wrong_department")
        for row in _lines(path / f"{kind}.jsonl")
    ]
    return Corpus(path.name, documents, questions)


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
    return () if row["kind"] in {"unanswerable", "other_department"} else (row["passage"],)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _rendered(department: str, path: Path) -> Document:
    document = render(path)
    return Document(department, document.filename, document.content)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
