"""Markdown: rendered to HTML and read as HTML, so raw HTML inside it hides nothing either."""

from __future__ import annotations

import re
from typing import BinaryIO

from markdown_it import MarkdownIt

from departments.documents.extractors.decode import decode
from departments.documents.extractors.draft import Draft, Options
from departments.documents.extractors.html import read_html

FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,10000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
FRONT_TITLE = re.compile(r"^title:[ \t]*(.{1,300})$", re.MULTILINE)


def extract(file: BinaryIO, options: Options) -> Draft:
    """Of the front matter only the title is kept: the rest says who wrote it, and when."""
    text = decode(file.read()).replace("\r\n", "\n")
    front = FRONT_MATTER.match(text)
    title = FRONT_TITLE.search(front.group(1)) if front else None
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text[front.end() :] if front else text)
    _, blocks = read_html(html)
    return Draft(blocks, title=title.group(1).strip(" \"'") if title else None)
