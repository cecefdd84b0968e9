"""From blocks to passages: the pieces that are embedded, found and cited.

Rules
- A passage never exceeds `max_tokens`, counted in the encoding of the embedding models.
- Structure first: blocks under one heading on one page, slide, sheet or section are put together until a passage says
  enough (about five eighths of the limit); nothing is put together across headings, pages or kinds of place, so that a
  citation points to one place.
- Only a block that is too long by itself is cut, at the largest boundary that fits (paragraph, sentence, word), with an
  overlap between the parts. Parts of a table row all begin with the row's first cell.
- Headings are not repeated in the text: `heading_path` stands beside it and is embedded before it (`embedded_text`).
  Room for it is not part of `max_tokens`. A heading with nothing under it becomes text, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from departments.calls.tokens import count_tokens
from departments.documents.extracted import Block, Extracted, Locator

if TYPE_CHECKING:
    from semantic_text_splitter import TextSplitter

ENCODING = "cl100k"
ENOUGH = 5 / 8
LONGEST_ROW_LABEL = 40  # tokens

count = partial(count_tokens, encoding=ENCODING)


@dataclass(frozen=True)
class Passage:
    """One piece of a document. `ordinal` counts from 0 in reading order; `tokens` are those of `text` alone."""

    ordinal: int
    text: str
    locator: Locator
    heading_path: tuple[str, ...]
    tokens: int


def chunk(extracted: Extracted, *, max_tokens: int = 400, overlap_tokens: int = 40) -> list[Passage]:
    """The passages of a document in reading order.

    `overlap_tokens` applies where a single block is cut, 0 switches it off. Raises ValueError unless
    0 <= overlap_tokens < max_tokens.
    """
    if not 0 <= overlap_tokens < max_tokens:
        raise ValueError(
            f"An overlap of {overlap_tokens} does not fit passages of {max_tokens} tokens. Choose a smaller one."
        )
    pieces = _fitting(_without_covered_headings(extracted.blocks), max_tokens, overlap_tokens)
    merged = _merged(pieces, max_tokens)
    return [replace(passage, ordinal=ordinal) for ordinal, passage in enumerate(merged)]


def embedded_text(passage: Passage, title: str | None) -> str:
    """What the embedding model reads: "Title > Heading > Heading", then the text."""
    path = [title, *passage.heading_path] if title and passage.heading_path[:1] != (title,) else [*passage.heading_path]
    return f"{' > '.join(path)}\n{passage.text}" if path else passage.text


def _without_covered_headings(blocks: Iterable[Block]) -> Iterator[Block]:
    """Drops a heading if the next block stands under it, because that block's path tells it."""
    waiting: Block | None = None
    for block in blocks:
        if waiting is not None and block.heading_path[: len(waiting.heading_path)] != waiting.heading_path:
            yield waiting
        waiting = block if block.kind == "heading" else None
        if waiting is None:
            yield block
    if waiting is not None:
        yield waiting


def _fitting(blocks: Iterable[Block], max_tokens: int, overlap: int) -> Iterator[Passage]:
    """Every block as one passage, or as several if it is too long."""
    splitter = _splitter(max_tokens, overlap)
    for block in blocks:
        tokens = count(block.text)
        if tokens <= max_tokens:
            yield Passage(0, block.text, block.locator, block.heading_path, tokens)
            continue
        parts = _row_parts(block.text, max_tokens) if block.kind == "table" else splitter.chunks(block.text)
        yield from (Passage(0, part, block.locator, block.heading_path, count(part)) for part in parts)


def _row_parts(row: str, max_tokens: int) -> list[str]:
    """A long row in parts that each begin with its first cell, so that each says what it is about."""
    label, _, rest = row.partition("; ")
    room = max_tokens - count(f"{label}; ") - 1
    if not rest or count(label) > min(LONGEST_ROW_LABEL, max_tokens // 4):
        return _splitter(max_tokens).chunks(row)
    return [f"{label}; {part}" for part in _splitter(room).chunks(rest)]


def _splitter(max_tokens: int, overlap: int = 0) -> TextSplitter:
    from semantic_text_splitter import TextSplitter  # late: pages import this module, and only workers cut

    return TextSplitter.from_callback(count, max_tokens, overlap)


def _merged(pieces: Iterable[Passage], max_tokens: int) -> Iterator[Passage]:
    current: Passage | None = None
    for piece in pieces:
        joined = _join(current, piece, max_tokens) if current is not None else None
        if current is not None and joined is None:
            yield current
        current = joined or piece
    if current is not None:
        yield current


def _join(first: Passage, second: Passage, max_tokens: int) -> Passage | None:
    """Both as one, if they stand in one place, the first does not say enough yet, and the limit holds."""
    if first.tokens >= max_tokens * ENOUGH or first.tokens + second.tokens > max_tokens:
        return None
    locator = _common_place(first, second)
    if locator is None:
        return None
    are_lines = locator.row_to is not None or (first.text.startswith("- ") and second.text.startswith("- "))
    text = f"{first.text}\n{second.text}" if are_lines else f"{first.text}\n\n{second.text}"
    tokens = count(text)
    return Passage(0, text, locator, first.heading_path, tokens) if tokens <= max_tokens else None


def _common_place(first: Passage, second: Passage) -> Locator | None:
    """One locator for both, with the rows of both, or None if they stand in different places."""
    rows = {"row_from": first.locator.row_from, "row_to": second.locator.row_to}
    same_place = replace(second.locator, **rows) == replace(first.locator, **rows)  # type: ignore[arg-type]
    if first.heading_path != second.heading_path or not same_place:
        return None
    return replace(first.locator, **rows)  # type: ignore[arg-type]
