"""Word: paragraphs with their headings, lists, and tables row by row.

The body is walked by ourselves, because python-docx leaves out content controls and tracked insertions. Notes stand in
brackets where they are referred to, and a cell that spans rows in each of them. Left out on purpose: deleted and hidden
text, text too small to be seen, comments, headers and footers, and all properties.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import docx
from docx.oxml import OxmlElement, parse_xml
from docx.oxml.ns import qn

from departments.documents.extracted import Block, BlockKind
from departments.documents.extractors.draft import Draft, Headings, Options, one_line
from departments.documents.extractors.tables import LONGEST_LABEL, describe_rows

P, TBL, TR, TC, R, T = (qn(f"w:{name}") for name in ("p", "tbl", "tr", "tc", "r", "t"))
VAL, TC_PR = qn("w:val"), qn("w:tcPr")
TEXTS = {T, "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"}
NOTES = {qn("w:footnoteReference"): "footnotes", qn("w:endnoteReference"): "endnotes"}
SYM = qn("w:sym")
TICKS = {"F0FC": "\u2713", "F0FB": "\u2717", "F0A8": "\u2610", "F0FE": "\u2611", "F0FD": "\u2612"}  # of Wingdings
# what wraps paragraphs or rows and is of no interest itself
WRAPPERS = frozenset(qn(f"w:{name}") for name in ("sdt", "sdtContent", "customXml", "ins", "smartTag"))
# deleted or moved text, and the second copy of a drawing for old programs
LEFT_OUT = frozenset(
    {qn("w:del"), qn("w:moveFrom"), "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"}
)
BREAKS = {qn("w:tab"): " ", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
SMALLEST_HALF_POINTS = 4
TITLE_LEVEL = 0
BODY_OUTLINE_LEVEL = 9
HEADING_NAME = re.compile(r"heading (\d)", re.IGNORECASE)
DEEPEST_STYLE = 12


def extract(file: BinaryIO, options: Options) -> Draft:
    document: Any = docx.Document(file)
    _insert_notes(document)
    levels = {style.style_id: level for style in document.styles if (level := _style_level(style)) is not None}
    return Draft(_blocks(document.element.body, levels, _list_styles(document)))


def _insert_notes(document: Any) -> None:
    """Puts the text of foot- and endnotes in place of the references to them."""
    for reference, part in NOTES.items():
        notes = _notes(document.part, part)
        for element in list(document.element.body.iter(reference)):
            text, note = (
                OxmlElement("w:t"),
                notes.pop(element.get(qn("w:id"), ""), ""),
            )  # each once, however often named
            text.text = f" ({note})" if note else ""
            element.getparent().replace(element, text)


def _notes(part: Any, name: str) -> dict[str, str]:
    """The notes of a document by their ids."""
    found = [each for each in part.rels.values() if each.reltype.endswith(f"/{name}") and not each.is_external]
    notes: dict[str, str] = {}
    for relation in found:
        for note in parse_xml(relation.target_part.blob):
            notes[note.get(qn("w:id"), "")] = one_line(" ".join(_paragraph_text(each) for each in note.iter(P)))
    return notes


def _style_level(style: Any) -> int | None:
    """The heading level of a paragraph style, by its name, its outline level, or the style it is based on."""
    for _ in range(DEEPEST_STYLE):
        if style is None:
            return None
        if (level := _own_level(style)) is not None:
            return level
        style = getattr(style, "base_style", None)
    return None


def _own_level(style: Any) -> int | None:
    name = (style.name or "").strip()
    if name.lower() == "title":
        return TITLE_LEVEL
    if match := HEADING_NAME.fullmatch(name):
        return int(match.group(1))
    return _outline_level(style.element)


def _outline_level(element: Any) -> int | None:
    found = element.find(f"{qn('w:pPr')}/{qn('w:outlineLvl')}")
    level = int(found.get(VAL)) if found is not None else BODY_OUTLINE_LEVEL
    return level + 1 if level < BODY_OUTLINE_LEVEL else None


def _list_styles(document: Any) -> frozenset[str]:
    return frozenset(style.style_id for style in document.styles if (style.name or "").lower().startswith("list"))


def _blocks(body: Any, levels: dict[str, int], lists: frozenset[str]) -> Iterator[Block]:
    headings = Headings()
    for element in _inside(body, {P, TBL}):
        if element.tag == TBL:
            yield from (
                Block(line, heading_path=headings.path, kind="table") for _, line in describe_rows(_rows(element))
            )
            continue
        text = _paragraph_text(element)
        level = _paragraph_level(element, levels)
        if level is not None and text.strip():
            yield Block(one_line(text), heading_path=headings.enter(level, text), kind="heading")
        elif text.strip():
            yield Block(text, heading_path=headings.path, kind=_paragraph_kind(element, lists))


def _inside(parent: Any, wanted: set[str]) -> Iterator[Any]:
    """Children with one of the tags, also through wrappers. libxml2 refuses files nested deeper than 256."""
    for child in parent:
        if child.tag in wanted:
            yield child
        elif child.tag in WRAPPERS:
            yield from _inside(child, wanted)


def _style_id(paragraph: Any) -> str:
    found = paragraph.find(f"{qn('w:pPr')}/{qn('w:pStyle')}")
    return found.get(VAL, "") if found is not None else ""


def _paragraph_level(paragraph: Any, levels: dict[str, int]) -> int | None:
    own = _outline_level(paragraph)
    return own if own is not None else levels.get(_style_id(paragraph))


def _paragraph_kind(paragraph: Any, lists: frozenset[str]) -> BlockKind:
    is_numbered = paragraph.find(f"{qn('w:pPr')}/{qn('w:numPr')}") is not None
    return "list" if is_numbered or _style_id(paragraph) in lists else "paragraph"


def _paragraph_text(paragraph: Any) -> str:
    return "".join(_texts(paragraph))


def _texts(element: Any) -> Iterator[str]:
    for child in element:
        if child.tag in TEXTS:
            yield "".join(child.itertext())
        elif child.tag in BREAKS:
            yield BREAKS[child.tag]
        elif child.tag == SYM:
            yield TICKS.get(child.get(qn("w:char"), "").upper(), "")
        elif child.tag == P:  # a text box inside the paragraph
            yield f"\n{_paragraph_text(child)}\n"
        elif isinstance(child.tag, str) and child.tag not in LEFT_OUT and not _is_unseen(child):
            yield from _texts(child)


def _is_unseen(run: Any) -> bool:
    properties = run.find(qn("w:rPr")) if run.tag == R else None
    if properties is None:
        return False
    vanish = properties.find(qn("w:vanish"))
    size = properties.find(qn("w:sz"))
    is_tiny = size is not None and float(size.get(VAL, "20")) <= SMALLEST_HALF_POINTS
    return is_tiny or (vanish is not None and vanish.get(VAL, "1") not in {"0", "false", "off"})


def _rows(table: Any) -> Iterator[list[str]]:
    above: list[str] = []
    for row in _inside(table, {TR}):
        if row.find(f"{qn('w:trPr')}/{qn('w:del')}") is not None:
            continue
        cells: list[str] = []
        for cell in _inside(row, {TC}):
            cells += _cell_texts(cell, above[len(cells)] if len(cells) < len(above) else "")
        yield cells
        above = cells


def _cell_texts(cell: Any, above: str) -> list[str]:
    """The cell's text, and an empty cell per further column that it spans: values stay under their headers."""
    span, merged = cell.find(f"{TC_PR}/{qn('w:gridSpan')}"), cell.find(f"{TC_PR}/{qn('w:vMerge')}")
    width = min(int(span.get(VAL, "1")), 100) if span is not None else 1
    goes_on = merged is not None and merged.get(VAL, "continue") == "continue"
    label = above if len(above) <= LONGEST_LABEL else ""
    text = label if goes_on else " ".join(_paragraph_text(paragraph) for paragraph in cell.iter(P))
    return [text, *[""] * (width - 1)]
