"""Counting and cutting text in the provider's tokens: o200k for chat, cl100k for embeddings.

A prompt costs its texts plus 3 tokens a message plus 3 for the reply. Tables load on first use.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from rs_bpe.bpe import openai as tables

PER_MESSAGE = 3
PER_REPLY = 3


@functools.cache
def _o200k() -> Any:
    return tables.o200k_base()


@functools.cache
def _cl100k() -> Any:
    return tables.cl100k_base()


def count(text: str) -> int:
    return int(_o200k().count(text))


def count_embedding(text: str) -> int:
    return int(_cl100k().count(text))


def decode_embedding(ids: Sequence[int]) -> str | None:
    """The text of cl100k token ids, or None when they are not the tokens of any text."""
    return _decoded(_cl100k(), ids)


def count_prompt(messages: Sequence[dict[str, Any]]) -> int:
    return sum(count(text_of(message)) + PER_MESSAGE for message in messages) + PER_REPLY


def text_of(message: dict[str, Any]) -> str:
    """The text of a message whose content is a string or a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or "" for part in content)


def pieces(text: str) -> Iterator[tuple[str, int]]:
    """The text in the smallest pieces that are whole characters, each with the tokens it cost (mostly one)."""
    held: list[int] = []
    for token in _o200k().encode(text):
        held.append(token)
        piece = _decoded(_o200k(), held)
        if piece is not None:
            yield piece, len(held)
            held = []


def head(text: str, limit: int) -> str:
    """At most `limit` tokens of the text, less a last character that would be cut in half."""
    fitting, used = [], 0
    for piece, cost in pieces(text):
        used += cost
        if used > limit:
            break
        fitting.append(piece)
    return "".join(fitting)


def _decoded(table: Any, ids: Sequence[int]) -> str | None:
    try:
        text: str | None = table.decode(list(ids))
    except (OverflowError, TypeError, ValueError):
        return None
    return text
