"""Citations in Markdown: `[1]`, `[1, 2]` and `[1-3]` become links, and what each of them claims is found again.

The environment of a parse holds `citations` (the numbers that exist), `anchor`, `seen` (links made so far), and
`doubtful`: places of links that were not confirmed, or None while nothing has been checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

_CITATION = re.compile(r"\[([0-9]{1,3}(?: ?, ?[0-9]{1,3}){0,8})\]|\[([0-9]{1,3}) ?[-\u2013] ?([0-9]{1,3})\]")
LONGEST_RANGE = 9
# scripts that set no spaces between words, nor after a sentence
UNSPACED = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\u0e00-\u0e7f"
_SENTENCE_END = re.compile("(?<=[.!?\u061f\u06d4\u0964])\\s+(?=\\S)|(?<=[\u3002\uff01\uff1f])(?=.)")
_ENDED = re.compile("[.!?\u061f\u06d4\u0964\u3002\uff01\uff1f]\\W*$")
_WORD = re.compile(f"[{UNSPACED}]{{1,3}}|[^\\s{UNSPACED}]+")  # a few signs of such a script count as a word
_AROUND = " \n.,;:!?\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"
FEW = 3  # words; they say nothing by themselves


def parse_citation(state: StateInline, silent: bool) -> bool:
    """`[1]`, `[1, 2]` or `[1-3]` where all numbers exist. Runs before links: `[1](https://…)` must not pose as one."""
    match = _CITATION.match(state.src, state.pos)
    if match is None:
        return False
    numbers, known = _numbers(match), state.env["citations"]
    # a range to a number that stands for nothing is mostly no citation: "[10-12] people"
    if not numbers or (not known.issuperset(numbers) and (match[2] or not _is_checked(state))):
        return False
    if not silent:
        for number in numbers:
            if number in known:
                _push_citation(state, number)
            else:
                state.push("citation_missing", "", 0).meta = {"number": number}
    state.pos = match.end()
    return True


def _numbers(match: re.Match[str]) -> list[int]:
    if match[1]:
        return [int(number) for number in match[1].split(",")]
    first, last = int(match[2]), int(match[3])
    return list(range(first, last + 1)) if first < last < first + LONGEST_RANGE else []


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
    """The citations of one paragraph, list item or cell, each with the sentence it stands in."""
    texts, numbers = [""], list[int]()
    for piece in _pieces(tokens):
        if isinstance(piece, int):
            numbers.append(piece)
            texts.append("")
        else:
            texts[-1] += piece
    found: list[tuple[str, int]] = []
    statement = ""
    for place, number in enumerate(numbers):
        statement = _statement(texts, place) or statement  # numbers side by side share it
        found.append((statement, number))
    return found


def _pieces(tokens: Sequence[Token]) -> Iterator[str | int]:
    """Text and the numbers of citations, in their order."""
    inside = False
    for token in tokens:
        number = token.meta.get("number") if token.meta else None
        if token.type == "image":
            yield from _pieces(token.children or [])  # shown as words, but counted
        elif number is not None:
            yield number
            inside = token.type == "link_open"
        elif token.type == "link_close" and inside:
            inside = False
        elif not inside:
            yield "\n" if token.type in {"softbreak", "hardbreak"} else token.content


def _statement(texts: Sequence[str], place: int) -> str:
    """The sentence before a number. Where that is too short to say anything, what follows the number ("According to
    [1], ...") or else the sentence before it belong to it."""
    before = texts[place]
    sentences = _sentences(before)
    if (place and not sentences) or (sentences and len(_WORD.findall(sentences[-1])) > FEW):
        return "".join(sentences[-1:])
    rest = "" if _ENDED.search(before) else _rest(texts[place + 1 :])
    return " ".join([*sentences[-1:], rest]).strip() if rest else " ".join(sentences[-2:])


def _rest(texts: Sequence[str]) -> str:
    """What follows a number up to the end of its sentence or line; nothing where another number stands before that."""
    after = next((text for text in texts if text.strip(_AROUND)), "")
    line, is_broken, _ = after.partition("\n")
    sentences = _sentences(line)
    is_whole = is_broken or after is texts[-1] or len(sentences) > 1 or _ENDED.search(line)
    return sentences[0] if sentences and is_whole else ""


def _sentences(text: str) -> list[str]:
    return [part for part in _SENTENCE_END.split(text.strip(_AROUND).replace("\n", " ")) if part.strip()]


def render_missing(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    return f'<span class="citation-missing">[{int(tokens[index].meta["number"])}: no such source]</span>'
