"""What Markdown would make another text of, kept as it was: entities, links to nowhere, what describes a picture.

The filter on answers (departments/prompts/guard.py) has read the answer as the model wrote it. Letters that came
together only on the page, because what stood between them is not shown, are letters that it never saw together.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from html import unescape

from markdown_it.rules_inline import StateInline, entity
from markdown_it.token import Token

_ENTITY = re.compile(r"&(?:#[xX][0-9a-fA-F]{1,6}|#[0-9]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});")
_KEY_LETTERS = re.compile(r"[A-Za-z0-9_-]+")
_BRACKETS = {"link_open": "[", "link_close": "]", "softbreak": "\n", "hardbreak": "\n"}


def parse_entity(state: StateInline, silent: bool) -> bool:
    """`&auml;` and the like; one that stands for a letter of a key, or for nothing to see, stays as it was written."""
    written = _ENTITY.match(state.src, state.pos)
    if written and any(_is_kept_from(letter) for letter in unescape(written[0])):
        return False
    return entity(state, silent)


def _is_kept_from(letter: str) -> bool:
    """Whether the character is one of a key, reads like one, or cannot be seen."""
    alike = unicodedata.decomposition(letter).startswith(("<font>", "<compat>", "<wide>"))
    read = unicodedata.normalize("NFKC", letter) if alike else letter
    kind = unicodedata.category(letter)
    return bool(_KEY_LETTERS.fullmatch(read)) or kind == "Pd" or (kind[0] in "CM" and letter not in "\t\n")


def nowhere(tag: Token) -> Token:
    """What stands for the beginning or the end of a link that has no target: the text it was."""
    return Token("text", "", 0, content="[" if tag.type == "link_open" else "]()")


def description(tokens: Sequence[Token]) -> str:
    """The words that describe a picture; brackets keep apart what a link or another picture in them says."""
    return "".join(_described(token) for token in tokens)


def _described(token: Token) -> str:
    if token.type == "image":
        return f"[{description(token.children or [])}]"
    if token.type == "citation_missing":
        return f"[{token.meta['number']}]"
    return _BRACKETS.get(token.type, token.content)
