"""The one place where text of a model becomes HTML.

Rules:
- Markdown -> HTML -> allow-list, in this order, on the server. Nothing is sanitised before it is parsed, and no
  attribute is put together from strings that a model wrote.
- Raw HTML stays text. Images become their description: an image loads without a click, and its address can carry data.
- Links go to https or mailto and nowhere else; any other one stays the text it was. The host stands in words behind the
  link wherever the link's own text does not say it.
- Classes come from fixed lists. There is no id and no style, so an answer can imitate no part of a page.
- Link definitions (`[a]: https://…`) are off: a block never depends on another one, which is what lets `BlockStream`
  render a finished block once.
- Every function takes text of any origin and never fails on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any
from urllib.parse import urlsplit

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES

from chatgrid.chat.markdown_citations import cited_in, parse_citation, render_missing
from chatgrid.chat.markdown_letters import description, nowhere, parse_entity

# the names a model writes behind ``` -> what the page calls the language; anything else is shown without colours
_SAME_NAME = """
    bash c cpp csharp css dax diff go html ini java javascript json kotlin php powershell python r ruby rust sql swift
    toml typescript xml yaml
"""
_SHORT_NAMES = """
    c++=cpp c#=csharp cs=csharp js=javascript ps1=powershell py=python rb=ruby rs=rust sh=bash shell=bash ts=typescript
    yml=yaml zsh=bash
"""
LANGUAGES = {name: name for name in _SAME_NAME.split()} | dict(pair.split("=") for pair in _SHORT_NAMES.split())
COLOURED_CHARACTERS = 20_000  # a lexer's time grows with the text, and nobody reads more of it for its colours
# The page's title and the message's own heading come first, and a level must not be left out: a model that begins with
# "###" would. So there are two levels for the ear and six looks for the eye.
HEADING_TAGS = {"h1": "h3", "h2": "h3", "h3": "h3", "h4": "h4", "h5": "h4", "h6": "h4"}

_HOST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]{1,5})?")
_ADDRESS = re.compile(r"mailto:[A-Za-z0-9.!#$&'*+/=^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_ALIGNMENTS = {"text-align:left": "align-left", "text-align:center": "align-center", "text-align:right": "align-right"}
_COLOURS = HtmlFormatter(nowrap=True, classprefix="hl-")

_TEXT_TAGS = {"p", "br", "strong", "em", "s", "code", "pre", "blockquote", "h3", "h4", "hr", "a"}
_TAGS = _TEXT_TAGS | {"ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "span", "div"}
_CLASSES = {
    "a": {"citation", "citation-doubtful"},
    "code": {f"language-{name}" for name in LANGUAGES.values()},
    "div": {"table-scroll"},
    "h3": {"level-1", "level-2", "level-3"},
    "h4": {"level-4", "level-5", "level-6"},
    "span": {"link-host", "picture", "citation-missing"} | {f"hl-{name}" for name in STANDARD_TYPES.values() if name},
    "td": set(_ALIGNMENTS.values()),
    "th": set(_ALIGNMENTS.values()),
}
_SANITISER = nh3.Cleaner(
    tags=_TAGS,
    attributes={"a": {"href"}, "ol": {"start"}, "*": set()},  # else `title` and `lang` may stand on every element
    allowed_classes=_CLASSES,
    url_schemes={"https", "mailto"},
    link_rel="noopener noreferrer nofollow",
    generic_attribute_prefixes=set(),
)


def render(
    text: str, citations: Collection[int] = (), anchor: str = "source", doubtful: Collection[int] | None = None
) -> SafeString:
    """The text as HTML. `[2]` becomes a link to `#<anchor>-2` if 2 is among `citations`, and stays text otherwise.

    `doubtful` are the places of citations (from 0, in order) that a check did not confirm: they are marked, and so are
    numbers that stand for nothing. None: nothing has been checked yet.
    """
    environment = _environment(citations, anchor) | {"doubtful": doubtful}
    return _render(_PARSER.parse(_lines(text), environment))


def cited_statements(text: str, citations: Collection[int]) -> list[tuple[str, int]]:
    """Each citation as (the sentence it stands in, its number), in the order in which `render` shows them.

    Numbers outside of `citations` are among them.
    """
    if "[" not in text:
        return []
    environment = _environment(citations, "source") | {"doubtful": ()}
    return [found for token in _PARSER.parse(_lines(text), environment) for found in cited_in(token.children or [])]


def source_anchor(message_id: object) -> str:
    """What the sources of one message are called on a page with several: the `anchor` of `render`."""
    return f"source-{message_id}"


class BlockStream:
    """An answer that grows: gives back the top-level blocks that changed, each with its number, as sanitised HTML.

    A block is finished when the block after it cannot join it any more: when that one's first line and the line below
    it are whole (the second decides whether the first begins a table). Until then it may be given again under the same
    number, be followed by a split of itself, or join the one before it and be given as "". A finished block is never
    parsed again.
    """

    def __init__(self, citations: Collection[int] = (), anchor: str = "source") -> None:
        self._environment = _environment(citations, anchor)
        self._first = 0  # number of the first block that is not finished
        self._tail = ""  # its text and everything behind it
        self._shown: list[SafeString] = []  # what was given for the blocks of the tail
        self._fresh = 0  # characters since the tail was last rendered

    def feed(self, text: str) -> list[tuple[int, SafeString]]:
        """What changed by this piece of text. Empty for a piece too small to be worth a look at a long block."""
        self._append(text)
        # a long block grows in larger steps: rendering it anew for each word would cost the square of its length
        if self._fresh * 50 < len(self._tail):
            return []
        return self._advance(colours=False)

    def finish(self) -> list[tuple[int, SafeString]]:
        """What changes when no more text comes: the last blocks, whole and with colours in code."""
        return self._advance(colours=True)

    def _append(self, text: str) -> None:
        text = _lines(text)
        self._tail += text
        self._fresh += len(text)

    def _advance(self, *, colours: bool) -> list[tuple[int, SafeString]]:
        self._fresh = 0
        blocks = _split(_PARSER.parse(self._tail, self._environment))
        finished = self._count_finished(blocks)
        rendered = [_render(block, colours=colours or number < finished) for number, block in enumerate(blocks)]
        gone = [SafeString("")] * (len(self._shown) - len(rendered))
        shown = zip_longest(self._shown, [*rendered, *gone])
        changed = [(self._first + number, html) for number, (old, html) in enumerate(shown) if old != html]
        self._shown = rendered[finished:]
        self._drop(blocks, finished)
        return changed

    def _count_finished(self, blocks: Sequence[Sequence[Token]]) -> int:
        whole_lines = self._tail.count("\n")
        return sum(1 for following in blocks[1:] if _first_line(following) + 2 <= whole_lines)

    def _drop(self, blocks: Sequence[Sequence[Token]], finished: int) -> None:
        if finished:
            self._first += finished
            self._tail = "\n".join(self._tail.split("\n")[_first_line(blocks[finished]) :])


class _Parser(MarkdownIt):
    """CommonMark with tables and strike-through; raw HTML, definitions and any other link scheme off."""

    def __init__(self) -> None:
        super().__init__("commonmark", {"html": False})
        self.enable(["table", "strikethrough"])
        self.disable(["reference", "html_block", "html_inline"])
        self.inline.ruler.before("link", "citation", parse_citation)
        self.inline.ruler.at("entity", parse_entity)
        self.core.ruler.push("house", _apply_house_rules)
        self.add_render_rule("image", _render_image)
        self.add_render_rule("fence", _render_code)
        self.add_render_rule("code_block", _render_code)
        self.add_render_rule("link_host", _render_host)
        self.add_render_rule("citation_missing", render_missing)
        self.add_render_rule("table_open", _open_table)
        self.add_render_rule("table_close", _close_table)

    def validateLink(self, url: str) -> bool:
        return bool(_ADDRESS.fullmatch(url.partition("?")[0])) or _host(url) is not None


def _lines(text: str) -> str:
    # the parser would turn a lone carriage return into a line, and a piece of a stream may end between the two
    return text.replace("\r", "")


def _environment(citations: Collection[int], anchor: str) -> dict[str, Any]:
    return {"citations": frozenset(citations), "anchor": anchor, "seen": 0, "doubtful": None}


def _host(url: str) -> str | None:
    """The host a browser would go to, or None where it is not beyond doubt."""
    if not url.startswith("https://"):
        return None
    host = urlsplit(url).netloc.rpartition("@")[2].lower()
    return host if _HOST.fullmatch(host) else None


def _split(tokens: Sequence[Token]) -> list[list[Token]]:
    """The tokens of each top-level block."""
    blocks: list[list[Token]] = []
    for token in tokens:
        if token.level == 0 and token.nesting >= 0:
            blocks.append([])
        blocks[-1].append(token)
    return blocks


def _first_line(block: Sequence[Token]) -> int:
    lines = block[0].map
    return lines[0] if lines else 0


def _render(tokens: Sequence[Token], *, colours: bool = True) -> SafeString:
    html = _PARSER.renderer.render(tokens, _PARSER.options, {"colours": colours})
    return mark_safe(_SANITISER.clean(html))  # noqa: S308 (this is what the module is for)


def _apply_house_rules(state: StateCore) -> None:
    for token in state.tokens:
        if token.type in {"heading_open", "heading_close"}:
            _level_heading(token)
        elif token.type in {"th_open", "td_open"} and "style" in token.attrs:
            token.attrs = {"class": _ALIGNMENTS[str(token.attrs["style"])]}
        elif token.children:
            token.children = _with_hosts(token.children)


def _level_heading(token: Token) -> None:
    if token.nesting > 0:
        token.attrs = {"class": f"level-{token.tag[1]}"}
    token.tag = HEADING_TAGS[token.tag]


def _with_hosts(tokens: Sequence[Token]) -> list[Token]:
    """The inline tokens, each link followed by the host it goes to unless its text says the same.

    A link to nowhere, `[text]()`, would lead to the page it stands on: it stays the text it was.
    """
    result: list[Token] = []
    opening = 0
    target: str | int | float = ""
    for token in tokens:
        if token.type in {"link_open", "link_close"}:
            target = token.attrs.get("href", target)
            if not target:
                result.append(nowhere(token))
                continue
        result.append(token)
        if token.type == "link_open":
            opening = len(result) - 1
        elif token.type == "link_close" and (host := _host_to_show(result[opening:])):
            result.append(Token("link_host", "", 0, content=host))
    return result


def _host_to_show(link: Sequence[Token]) -> str | None:
    url = str(link[0].attrs["href"])
    text = "".join(token.content for token in link[1:-1])
    if url.startswith("#"):
        return None
    if url.startswith("mailto:"):
        address = url.partition("?")[0]  # a ready-made body would go out with one careless click
        link[0].attrs["href"] = address
        target = address.removeprefix("mailto:")
        return None if text == target else target
    host = _host(url)
    says_it = text == host or (text == url and "@" not in urlsplit(url).netloc)
    return None if says_it else host


def _render_image(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    described = description(tokens[index].children or [])
    return f'<span class="picture">{escapeHtml(described or "picture")} (picture not shown)</span>'


def _render_host(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    return f' <span class="link-host">({escapeHtml(tokens[index].content)})</span>'


def _open_table(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    return '<div class="table-scroll"><table>'


def _close_table(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    return "</table></div>"


def _render_code(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: dict[str, Any]
) -> str:
    code = tokens[index].content
    language = LANGUAGES.get(tokens[index].info.strip().partition(" ")[0].lower())
    if language is None:
        return f"<pre><code>{escapeHtml(code)}</code></pre>"
    coloured = env["colours"] and len(code) <= COLOURED_CHARACTERS
    inner = highlight(code, _lexer(language), _COLOURS) if coloured else escapeHtml(code)
    return f'<pre><code class="language-{language}">{inner}</code></pre>'


@cache
def _lexer(language: str) -> Lexer:
    return get_lexer_by_name(language, stripnl=False, ensurenl=False)


_PARSER = _Parser()
