"""PowerPoint: a slide is a page, its title the heading, then its text, tables, the figures of charts, speaker notes.

Hidden slides are left out, with a warning, and keep their numbers: what nobody sees should not answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pptx
from pptx.oxml import parse_xml

from departments.documents.extracted import Block, Locator
from departments.documents.extractors.draft import Draft, Headings, Options, check_pages
from departments.documents.extractors.tables import Cell, describe_row, describe_rows, spread

NOTES = "Speaker notes"
DIAGRAM = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}dm"
PARAGRAPH, LETTERS = (f"{{http://schemas.openxmlformats.org/drawingml/2006/main}}{tag}" for tag in ("p", "t"))


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
        yield from (Block(line, locator, path, "table") for _, line in describe_rows(_rows(shape.table)))
    elif shape.has_chart:
        yield from (Block(line, locator, path, "table") for line in _figures(shape.chart))
    elif shape.has_text_frame:
        lines = [paragraph.text.strip() for paragraph in shape.text_frame.paragraphs if paragraph.text.strip()]
        yield Block("\n".join(lines), locator, path, "list" if len(lines) > 1 else "paragraph")
    elif lines := _diagram(shape):
        yield Block("\n".join(lines), locator, path, "list" if len(lines) > 1 else "paragraph")


def _rows(table: Any) -> list[list[str]]:
    """The texts of a table; a cell that spans rows stands in each of them."""
    rows = [
        [Cell(cell.text, rows=cell.span_height, columns=cell.span_width) for cell in row.cells if not cell.is_spanned]
        for row in table.rows
    ]
    return [[cell.text for cell in row] for row in spread(rows)]


def _diagram(shape: Any) -> list[str]:
    """What the shapes of a diagram (SmartArt) say, which stands in a part of its own."""
    named = next(shape.element.iter(f"{{{DIAGRAM}}}relIds"), None)
    if named is None:
        return []
    data = parse_xml(shape.part.related_part(named.get(RELATION)).blob)
    texts = ("".join(letters.text or "" for letters in each.iter(LETTERS)) for each in data.iter(PARAGRAPH))
    return [text.strip() for text in texts if text.strip()]


def _figures(chart: Any) -> Iterator[str]:
    """What a chart draws: its title, then a line for each category with the values of its series."""
    if chart.has_title and chart.chart_title.has_text_frame:
        yield chart.chart_title.text_frame.text
    for plot in chart.plots:
        series = [(each.name or "Value", list(each.values)) for each in plot.series]
        headers = ["Category", *(name for name, _ in series)]
        for place, labels in enumerate(plot.categories.flattened_labels):
            values = [values[place] if place < len(values) else None for _, values in series]
            yield describe_row(
                [" ".join(map(str, labels)), *("" if each is None else f"{each:.15g}" for each in values)], headers
            )
