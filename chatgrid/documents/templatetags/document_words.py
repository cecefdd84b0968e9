"""Filters for the words of the documents pages."""

from __future__ import annotations

from django import template

register = template.Library()

KINDS = {
    "pdf": "PDF",
    "docx": "Word",
    "pptx": "PowerPoint",
    "xlsx": "Excel",
    "csv": "CSV",
    "html": "Web page",
    "markdown": "Markdown",
    "text": "Text",
    "eml": "E-mail",
    "epub": "Book",
    "json": "JSON",
}


@register.filter
def kind_word(kind: str) -> str:
    """What people call a kind of file; "" while it is not known yet."""
    return KINDS.get(kind, kind)
