"""PowerPoint: a slide is a page, its title the heading, then its text, tables, the figures of charts, speaker notes.

Hidden slides are left out, with a warning, and keep their numbers: what nobody sees should not answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pptx

from departments.documents.extracted import Block, Locator
from departments.documents.extractors.draft import Draft, Headings, Options, check_pages
from departments.documents.extractors.tables import describe_row, describe_rows

NOTES = "Speaker notes"


def extract(file: BinaryIO, options: Options) -> Draft:
    slides: Any = pptx.Presentation(file).slides
    count = check_pages(len(slides), options.limits)
    shown = [(number, slide) for number, slide in enumerate(slides, start=1) if not _is_left_out(slide)]
    hidden = [str(number) for number, slide in enumerate(slides, start=1) if _is_left_out(slide)]
    warnings = [f"Hidden slides were left out: {', '.join(hidden[:20])}."] if hidden else []
    return Draft((block for number, slide in shown for block in _slide(number, slide)), pages=count, warnings=warnings)


def _is_left_out(slide: Any) -> bool:
    return slide.element.get("show") in {"0", "false"}


def _slide(number: int, slide: Any) -> Iterator[Block]:
    locator, headings = Locator(slide=number), Headings()
    title = slide.shapes.title
    if title is not None and title.text_frame.text.strip():
        text = title.text_frame.text
        yield Block(text, locator, headings.enter(1, text), "heading")
    for shape in _shapes(slide.shapes):
        if title is None or shape.shape_id != title.shape_id:
            yield from _shape(shape, locator, headings.path)
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None:
        yield Block(notes.text, locator, (*headings.path, NOTES))


def _shapes(shapes: Any) -> Iterator[Any]:
    """All shapes in their order, those in groups too, except what is hidden from the slide."""
    stack = list(reversed(list(shapes)))
    while stack:
        shape = stack.pop()
        if _is_hidden(shape):
            continue
        if hasattr(shape, "shapes"):
            stack.extend(reversed(list(shape.shapes)))
        else:
            yield shape


def _is_hidden(shape: Any) -> bool:
    return any(element.get("hidden") in {"1", "true"} for element in shape.element.xpath("./*/p:cNvPr"))


def _shape(shape: Any, locator: Locator, path: tuple[str, ...]) -> Iterator[Block]:
    if shape.has_table:
        rows = ([cell.text for cell in row.cells] for row in shape.table.rows)
        yield from (Block(line, locator, path, "table") for _, line in describe_rows(rows))
    elif shape.has_chart:
        yield from (Block(line, locator, path, "table") for line in _figures(shape.chart))
    elif shape.has_text_frame:
        lines = [paragraph.text.strip() for paragraph in shape.text_frame.paragraphs if paragraph.text.strip()]
        yield Block("\n".join(lines), locator, path, "list" if len(lines) > 1 else "paragraph")


def _figures(chart: Any) -> Iterator[str]:
    """What a chart draws: its title, then a line for each category with the values of its series."""
    if chart.has_title and chart.chart_title.has_text_frame:
        yield chart.chart_title.text_frame.text
    for plot in chart.plots:
        series = [(each.name or "Value", list(each.values)) for each in plot.series]
        headers = ["Category", *(name for name, _ in series)]
        for place, category in enumerate(plot.categories):
            values = [values[place] if place < len(values) else None for _, values in series]
            yield describe_row([str(category), *("" if each is None else f"{each:.15g}" for each in values)], headers)
