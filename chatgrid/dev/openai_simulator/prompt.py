"""Reading a prompt of ChatGrid: the question, the passages and the talk so far, out of marked data blocks.

A block is `<data kind="..." marker="hex">`, one JSON object a line, `</data marker="same hex">`. Messages without
blocks are read as an ordinary chat: the last thing the person said is the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from chatgrid.dev.openai_simulator.tokens import text_of

BLOCK = re.compile(
    r'^<data kind="(?P<kind>\w+)" marker="(?P<marker>[0-9a-f]{16,32})">\n'
    r'(?P<lines>.*?)^</data marker="(?P=marker)">\s*$',
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Passage:
    number: int
    document: str
    section: str
    text: str


@dataclass
class Prompt:
    """`passages` is None when the prompt has no documents block at all, and empty when the block is.

    `in_doubt`: it says that the passages are only the nearest, to be answered from where one states the answer.
    """

    question: str = ""
    passages: list[Passage] | None = None
    asked_before: list[str] = field(default_factory=list)
    in_doubt: bool = False


def read_prompt(messages: list[dict[str, Any]]) -> Prompt:
    prompt = Prompt()
    asked = [text_of(message) for message in messages if message.get("role") == "user"]
    for text in asked:
        for kind, lines in _blocks(text):
            _take(prompt, kind, lines)
    if not prompt.question and asked and not BLOCK.search(asked[-1]):
        prompt.question = asked[-1]
    return prompt


def _blocks(text: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for match in BLOCK.finditer(text):
        yield match["kind"], [line for line in map(_line, match["lines"].splitlines()) if line]


def _line(raw: str) -> dict[str, Any] | None:
    """One line of a block. What is not a JSON object is passed over, as a model would."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _take(prompt: Prompt, kind: str, lines: list[dict[str, Any]]) -> None:
    if kind == "question":
        prompt.question = "\n".join(str(line.get("text", "")) for line in lines)
        prompt.in_doubt = any(line.get("search") == "in doubt" for line in lines)
    elif kind == "documents":
        prompt.passages = [_passage(line) for line in lines]
    elif kind == "history":
        prompt.asked_before = [str(line.get("text", "")) for line in lines if line.get("role") == "person"]


def _passage(line: dict[str, Any]) -> Passage:
    return Passage(
        number=int(line.get("passage") or 0),
        document=str(line.get("document") or ""),
        section=str(line.get("section") or ""),
        text=str(line.get("text") or ""),
    )
