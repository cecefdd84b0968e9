"""Citations in Markdown: `[1]` and `[1, 2]` become links, and what each of them claims is found again.

The environment of a parse holds `citations` (the numbers that exist), `anchor`, `seen` (links made so far), and
`doubtful`: places of links that were not confirmed, or None while nothing has been checked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

_CITATION = re.compile(r"\[([0-9]{1,3}(?: ?, ?[0-9]{1,3}){0,8})\]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)")


def parse_citation(state: StateInline, silent: bool) -> bool:
    """`[1]` or `[1, 2]` where all numbers exist. Runs before links: `[1](https://…)` must not pose as a citation."""
    match = _CITATION.match(state.src, state.pos)
    if match is None:
        return False
    numbers = [int(number) for number in match[1].split(",")]
    known = state.env["citations"]
    if not known.issuperset(numbers) and not _is_checked(state):
        return False
    if not silent:
        for number in numbers:
            if number in known:
                _push_citation(state, number)
            else:
                state.push("citation_missing", "", 0).meta = {"number": number}
    state.pos = match.end()
    return True


def _is_checked(state: StateInline) -> bool:
    """Whether the answer is whole: until then a number that stands for nothing stays the text it was."""
    return state.env["doubtful"] is not None


def _push_citation(state: StateInline, number: int) -> None:
    doubtful, place = state.env["doubtful"] or (), state.env["seen"]
    state.env["seen"] += 1
    opening = state.push("link_open", "a", 1)
    look = "citation citation-doubtful" if place in doubtful else "citation"
    opening.attrs = {"href": f"#{state.env['anchor']}-{number}", "class": look}
    opening.meta = {"number": number}
    state.push("text", "", 0).content = f"{number}?" if place in doubtful else str(number)
    state.push("link_close", "a", -1)


def cited_in(tokens: Sequence[Token]) -> list[tuple[str, int]]:
    """The citations of one paragraph, list item or cell, each with the sentence before it."""
    found: list[tuple[str, int]] = []
    segment, inside, statement = "", False, ""
    for token in tokens:
        if token.type == "image":
            found += cited_in(token.children or [])  # shown as words, but counted
        number = token.meta.get("number") if token.meta else None
        if number is not None:
            statement = _last_sentence(segment) or statement
            found.append((statement, number))
            segment, inside = "", token.type == "link_open"
        elif token.type == "link_close" and inside:
            inside = False
        elif not inside:
            segment += " " if token.type in {"softbreak", "hardbreak"} else token.content
    return found


def _last_sentence(text: str) -> str:
    """The last sentence of a text, with the one before it where it is too short to say anything."""
    sentences = [part for part in _SENTENCE_END.split(text.strip(" .,;:!?")) if part.strip()]
    if not sentences:
        return ""
    return sentences[-1] if len(sentences[-1].split()) > 3 else " ".join(sentences[-2:])


def render_missing(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    return f'<span class="citation-missing">[{int(tokens[index].meta["number"])}: no such source]</span>'
