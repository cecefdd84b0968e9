"""Markdown: rendered to HTML and read as HTML, so raw HTML inside it hides nothing either."""

from __future__ import annotations

import re
from typing import BinaryIO

from markdown_it import MarkdownIt

from departments.documents.extractors.decode import decode
from departments.documents.extractors.draft import Draft, Options
from departments.documents.extractors.html import read_html

# YAML between dashes or TOML between plus signs; a line between dashes that names no field is text between two rules
FRONT_MATTER = re.compile(
    r"\A(?:---[ \t]*\n(?=(?:#[^\n]{0,200}\n){0,50}[\w.-]{1,60}[ \t]*:)(?P<yaml>.{0,10000}?)\n(?:---|\.\.\.)"
    r"|\+\+\+[ \t]*\n(?P<toml>.{0,10000}?)\n\+\+\+)[ \t]*(?:\n|\Z)",
    re.DOTALL,
)
# a title that goes on below, after ">" or "|", is left to the headings
FRONT_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*([^>|\s].{0,300})$", re.MULTILINE)


def extract(file: BinaryIO, options: Options) -> Draft:
    """Of the front matter only the title is kept: the rest says who wrote it, and when."""
    text = decode(file.read()).replace("\r\n", "\n")
    front = FRONT_MATTER.match(text)
    title = FRONT_TITLE.search(front["yaml"] or front["toml"]) if front else None
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text[front.end() :] if front else text)
    _, blocks = read_html(html)
    return Draft(blocks, title=title.group(1).strip(" \"'") if title else None)
