"""HTML as a reader sees it: headings, paragraphs, lists, tables and code, without what a page hides.

Hidden text is a way to slip instructions to a model, so what is not displayed is dropped: by element, by attribute and
by inline style. Style sheets are not evaluated. Nothing is fetched. The walk keeps its own stack, so depth costs no
recursion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from selectolax.lexbor import LexborHTMLParser, LexborNode

from departments.documents.extracted import NOWHERE, Block, BlockKind, Locator
from departments.documents.extractors.decode import decode
from departments.documents.extractors.draft import Draft, Headings, Options, one_line
from departments.documents.extractors.tables import Cell, describe_row, describe_rows, spread

DROPPED = frozenset(
    {"audio", "button", "canvas", "datalist", "dialog", "embed", "head", "iframe", "map", "math", "nav",
    "noscript", "object", "picture", "script", "select", "style", "svg", "template", "textarea", "video"}
)  # fmt: skip
BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend", "li",
    "main", "ol", "p", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"}
)  # fmt: skip
HEADINGS = {f"h{level}": level for level in range(1, 7)}
HIDING_STYLE = re.compile(
    r"display\s*:\s*none"
    r"|visibility\s*:\s*(?:hidden|collapse)"
    r"|(?:font-size|opacity)\s*:\s*(?:0{1,9}(?:\.0{0,9})?|\.0{1,9})(?:px|pt|em|rem|%)?\s*(?:!|;|$)"
    r"|font-size\s*:\s*[01](?:\.\d{1,9})?(?:px|pt)"
    r"|mso-hide\s*:\s*all"
    r"|(?:left|top|right|text-indent)\s*:\s*-\d{4,}",
    re.IGNORECASE,
)
# XML may close any element where it begins; a page's parser would leave it open, and all that follows inside it
CLOSED_AT_ONCE = re.compile(r"<([A-Za-z][\w:.-]*)((?:\s[^<>]*)?)/>")
IS_XML = re.compile(r"\s*<\?xml\s|.{0,1000}?<html[^>]{0,300}\sxmlns=[\"']http://www\.w3\.org/1999/xhtml", re.DOTALL)
VOID = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
CHARSET = re.compile(rb"<meta[^>]{0,300}charset\s{0,5}=\s{0,5}[\"']?([A-Za-z0-9_-]{1,40})", re.IGNORECASE)


def extract(file: BinaryIO, options: Options) -> Draft:
    title, blocks = read_html(decode_html(file.read()))
    return Draft(blocks, title=title)


def decode_html(data: bytes, declared: str | None = None) -> str:
    """The text of a page whose encoding is declared beside it or in its head."""
    found = None if declared else CHARSET.search(data[:4096])
    return decode(data, found.group(1).decode() if found else declared)


def read_html(
    text: str, locator: Locator = NOWHERE, headings: Headings | None = None
) -> tuple[str | None, Iterator[Block]]:
    """The page's title, and its blocks. All get `locator`; `headings` carries the path on from an earlier page."""
    # the parser takes a NUL as the end of its input
    tree = LexborHTMLParser(_as_html(text.replace("\x00", "")))
    node = tree.css_first("title")
    title = one_line(node.text()) if node is not None else ""
    return title or None, _Walk(locator, headings or Headings()).blocks(tree)


def _as_html(text: str) -> str:
    """XHTML as a parser of HTML understands it."""
    if not IS_XML.match(text):
        return text
    return CLOSED_AT_ONCE.sub(lambda tag: tag[0] if tag[1].lower() in VOID else f"<{tag[1]}{tag[2]}></{tag[1]}>", text)


class _Walk:
    """One pass over the tree, collecting inline text until a block begins or ends."""

    def __init__(self, locator: Locator, headings: Headings) -> None:
        self._locator = locator
        self._headings = headings
        self._inline: list[str] = []

    def blocks(self, tree: LexborHTMLParser) -> Iterator[Block]:
        stack: list[LexborNode | str] = [tree.root] if tree.root is not None else []
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                yield from self._flush("list" if item == "li" else "paragraph")
            elif item.is_text_node:
                self._inline.append(re.sub(r"\s+", " ", item.text(deep=False)))
            elif item.is_element_node and not _is_hidden(item):
                yield from self._enter(item, stack)
        yield from self._flush()

    def _enter(self, node: LexborNode, stack: list[LexborNode | str]) -> Iterator[Block]:
        tag = node.tag or ""
        if tag == "br":
            self._inline.append("\n")
        elif tag in HEADINGS:
            yield from self._flush()
            yield from self._heading(HEADINGS[tag], visible_text(node))
        elif tag == "pre":
            yield from self._flush()
            yield self._block(visible_text(node, keep_space=True).strip("\n"), "code")
        elif tag == "table" and (rows := _data_rows(node)):
            yield from self._flush()
            yield from self._caption(node)
            yield from (self._block(line, "table") for line in rows)
        else:
            yield from self._descend(node, tag, stack)

    def _descend(self, node: LexborNode, tag: str, stack: list[LexborNode | str]) -> Iterator[Block]:
        if tag in BLOCKS:
            inside_item = tag == "p" and node.parent is not None and node.parent.tag == "li"
            yield from self._flush("list" if inside_item or tag in {"ul", "ol"} else "paragraph")
            stack.append("li" if inside_item else tag)
        if tag == "li":
            self._inline.append("- ")
        stack.extend(reversed(list(_children(node))))

    def _heading(self, level: int, text: str) -> Iterator[Block]:
        if text:
            path = self._headings.enter(level, text)
            yield self._block(text, "heading", path)

    def _caption(self, table: LexborNode) -> Iterator[Block]:
        caption = table.css_first("caption")
        if caption is not None and not _is_hidden(caption) and (text := visible_text(caption)):
            yield self._block(text, "paragraph")

    def _flush(self, kind: BlockKind = "paragraph") -> Iterator[Block]:
        text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", "".join(self._inline))).strip()
        if text == "-":
            return  # the item's own paragraph comes next
        self._inline.clear()
        if text:
            yield self._block(text, "list" if text.startswith("- ") else kind)

    def _block(self, text: str, kind: BlockKind, path: tuple[str, ...] | None = None) -> Block:
        return Block(text, self._locator, self._headings.path if path is None else path, kind)


def visible_text(node: LexborNode, *, keep_space: bool = False) -> str:
    """The text inside a node as displayed, on one line unless the space is to be kept."""
    parts: list[str] = []
    stack = list(reversed(list(_children(node))))
    while stack:
        inner = stack.pop()
        if inner.is_text_node:
            parts.append(inner.text(deep=False))
        elif inner.is_element_node and not _is_hidden(inner):
            parts.append("\n" if inner.tag == "br" else " " if inner.tag in BLOCKS and not keep_space else "")
            stack.extend(reversed(list(_children(inner))))
    return "".join(parts) if keep_space else one_line("".join(parts))


def _children(node: LexborNode) -> Iterator[LexborNode]:
    child = node.first_child
    while child is not None:
        yield child
        child = child.next


def _is_hidden(node: LexborNode) -> bool:
    if node.tag in DROPPED:
        return True
    attributes = node.attributes
    if "hidden" in attributes or (attributes.get("aria-hidden") or "").strip().lower() == "true":
        return True
    return bool(HIDING_STYLE.search(attributes.get("style") or ""))


def _data_rows(table: LexborNode) -> list[str]:
    """Lines of a table of data; empty for a table that only arranges the page and is then read as blocks."""
    if table.css_first("td table, th table") is not None:  # asked first: deep nesting ends at its next level
        return []
    if table.css_first("td h1, td h2, td ul") is not None and table.css_first("th") is None:
        return []
    rows = spread([cells for row in table.css("tr") if not _is_hidden(row) and (cells := _cells(row))])
    if len(rows) < 2 or max(len(row) for row in rows) < 2:
        return []
    texts = [[cell.text for cell in row] for row in rows]
    if all(row[0].is_name and len(row) == 2 and not row[1].is_name for row in rows):
        return [describe_row([value], [name]) for name, value in texts]
    return [line for _, line in describe_rows(texts)]


def _cells(row: LexborNode) -> list[Cell]:
    cells = (cell for cell in _children(row) if cell.tag in {"td", "th"} and not _is_hidden(cell))
    return [
        Cell(visible_text(cell), cell.tag == "th", _span(cell, "rowspan"), _span(cell, "colspan")) for cell in cells
    ]


def _span(cell: LexborNode, name: str) -> int:
    written = (cell.attributes.get(name) or "").strip()
    return int(written) if written.isdecimal() and len(written) < 5 else 1
