"""Filters for the words of the documents pages."""

from __future__ import annotations

from django import template

from departments.calls.labels import in_words, plain

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
def label_word(label: str) -> str:
    """What a scan has seen in a document, as a sentence; other labels as they are."""
    if not label.startswith("scan: "):
        return label
    return f"The text {in_words(label)} ({plain(label)})."


@register.filter
def kind_word(kind: str) -> str:
    """What people call a kind of file; "" while it is not known yet."""
    return KINDS.get(kind, kind)
