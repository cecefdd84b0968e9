"""Turns a handbook source (Markdown with a small front matter) into the file a company would really have.

- `title` and `format` (md, html, pdf or docx) are the whole front matter.
- The same source gives the same bytes on every run: dates in metadata and archives are fixed.
- PDF uses the built-in fonts, so its text is Latin-1; typographic signs are replaced, anything else is refused.
- A paragraph never runs over a page break, so that a quoted sentence stays in one piece on one page.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import cast

import docx
from docx.document import Document as WordDocument
from docx.text.paragraph import Paragraph as WordParagraph
from fpdf import FPDF
from fpdf.fonts import FontFace
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

HANDBOOK = Path(__file__).parent / "handbook"
FIXED_DATE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LATIN_1_STAND_INS = str.maketrans(
    {"\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2026": "...",
     "\u20ac": "EUR", "\u2022": "\u00b7"}
)  # fmt: skip
PDF_HEADING_SIZES = {1: 18, 2: 14, 3: 12}
LINE_HEIGHT = 5.2  # millimetres, for the 10.5 point text of a PDF


@dataclass(frozen=True)
class Source:
    """A handbook source: what its front matter says, and its Markdown."""

    title: str
    format: str
    body: str


@dataclass(frozen=True)
class RenderedDocument:
    """A finished file; `filename` has the extension of its format."""

    filename: str
    title: str
    content: bytes


@dataclass(frozen=True)
class Run:
    """A stretch of text within a block."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Block:
    """A heading, paragraph, list item or code; `marker` is what stands before an item ("-" or "3.")."""

    kind: str
    runs: tuple[Run, ...]
    level: int = 0
    marker: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first row is the header."""

    rows: tuple[tuple[str, ...], ...]


def handbook(company_slug: str) -> Iterator[tuple[str, Path]]:
    """Yields (department slug, source path) for every document of a company, in a stable order."""
    for path in sorted((HANDBOOK / company_slug).glob("*/*.md")):
        yield path.parent.name, path


def read_source(path: Path) -> Source:
    """Reads a source; raises ValueError naming the file where the front matter is missing or incomplete."""
    opening, _, rest = path.read_text(encoding="utf-8").partition("---\n")
    front, found, body = rest.partition("\n---\n")
    if opening or not found:
        raise ValueError(f"{path.name}: start the file with a front matter between two lines of three dashes")
    fields = dict(line.split(": ", 1) for line in front.splitlines())
    if set(fields) != {"title", "format"} or fields["format"] not in WRITERS:
        raise ValueError(f"{path.name}: give exactly a title and a format, one of {', '.join(WRITERS)}")
    return Source(fields["title"], fields["format"], body.strip() + "\n")


def render(source: Path) -> RenderedDocument:
    """Renders one source. Raises ValueError, naming the file, for Markdown or signs that its format cannot show."""
    document = read_source(source)
    try:
        content = WRITERS[document.format](document)
    except ValueError as error:
        raise ValueError(f"{source.name}: {error}") from error
    return RenderedDocument(f"{source.stem}.{document.format}", document.title, content)


def write_markdown(source: Source) -> bytes:
    return f"# {source.title}\n\n{source.body}".encode()


def write_html(source: Source) -> bytes:
    title = escape(source.title)
    body = markdown_parser().render(source.body)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n</head>\n'
        f"<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    ).encode()


def write_pdf(source: Source) -> bytes:
    pdf = NumberedPages(source.title)
    pdf.add_page()
    draw(pdf, Block("heading", (Run(source.title),), level=1))
    for block in blocks(source.body):
        draw(pdf, block)
    return bytes(pdf.output())


def write_docx(source: Source) -> bytes:
    word = docx.Document()
    properties = word.core_properties
    properties.title, properties.author = source.title, "Demo company"
    properties.created = properties.modified = FIXED_DATE
    word.add_heading(source.title, level=1)
    for block in blocks(source.body):
        append(word, block)
    packed = io.BytesIO()
    word.save(packed)
    return with_fixed_dates(packed.getvalue())


WRITERS: dict[str, Callable[[Source], bytes]] = {
    "md": write_markdown,
    "html": write_html,
    "pdf": write_pdf,
    "docx": write_docx,
}


def markdown_parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def blocks(markdown: str) -> Iterator[Block | Table]:
    """Yields the parts of a document in reading order; raises ValueError for Markdown the handbook does not use."""
    for node in SyntaxTreeNode(markdown_parser().parse(markdown)).children:
        yield from blocks_of(node)


def blocks_of(node: SyntaxTreeNode) -> Iterator[Block | Table]:
    if node.type == "heading":
        yield Block("heading", tuple(runs_of(node)), level=int(node.tag[1]))
    elif node.type == "paragraph":
        yield Block("paragraph", tuple(runs_of(node)))
    elif node.type == "fence":
        yield Block("code", (Run(node.content.rstrip("\n")),))
    elif node.type in ("bullet_list", "ordered_list"):
        yield from items_of(node)
    elif node.type == "table":
        yield Table(tuple(row_of(row) for part in node.children for row in part.children))
    else:
        raise ValueError(f"use headings, paragraphs, flat lists, fences and tables; found {node.type}")


def items_of(list_node: SyntaxTreeNode) -> Iterator[Block]:
    first = int(list_node.attrs.get("start", 1))
    for number, item in enumerate(list_node.children, start=first):
        if len(item.children) != 1:
            raise ValueError("give every list item exactly one paragraph and no list of its own")
        marker = f"{number}." if list_node.type == "ordered_list" else "-"
        yield Block("item", tuple(runs_of(item)), marker=marker)


def row_of(row: SyntaxTreeNode) -> tuple[str, ...]:
    return tuple("".join(run.text for run in runs_of(cell)) for cell in row.children)


def runs_of(node: SyntaxTreeNode, bold: bool = False) -> Iterator[Run]:
    if node.type in ("text", "code_inline"):
        yield Run(node.content, bold)
    elif node.type in ("softbreak", "hardbreak"):
        yield Run(" ", bold)
    for child in node.children:
        yield from runs_of(child, bold or node.type == "strong")


class NumberedPages(FPDF):
    """A4 pages with the title above and the page number below."""

    def __init__(self, title: str) -> None:
        super().__init__(format="A4")
        self.running_title = latin_1(title)
        self.set_title(self.running_title)
        self.set_creation_date(FIXED_DATE)
        self.set_margins(22, 20)
        self.set_auto_page_break(True, margin=22)

    def header(self) -> None:
        if self.page_no() == 1:
            return
        self.set_font("helvetica", "I", 8)
        self.cell(0, 5, self.running_title, new_x="LMARGIN", new_y="NEXT")
        self.ln(4)

    def footer(self) -> None:
        self.set_y(-15)
        self.set_font("helvetica", "I", 8)
        self.cell(0, 10, f"Page {self.page_no()} of {{nb}}", align="C")


def draw(pdf: FPDF, block: Block | Table) -> None:
    if isinstance(block, Table):
        draw_table(pdf, block)
    elif block.kind == "heading":
        draw_heading(pdf, block)
    elif block.kind == "code":
        draw_text(pdf, latin_1(block.runs[0].text), "courier", indent=6, styled=False)
    else:
        marker = f"{block.marker} " if block.marker else ""
        draw_text(pdf, marker + styled_text(block.runs), "helvetica", indent=5 if marker else 0, styled=True)


def draw_heading(pdf: FPDF, block: Block) -> None:
    size = PDF_HEADING_SIZES.get(block.level, 11)
    # A heading at the foot of a page would be parted from its text: four lines must follow it.
    if pdf.will_page_break(size * 0.5 + 4 * LINE_HEIGHT):
        pdf.add_page()
    pdf.set_font("helvetica", "B", size)
    pdf.ln(2)
    text = latin_1("".join(run.text for run in block.runs))
    pdf.start_section(text, level=block.level - 1, strict=False)
    pdf.multi_cell(0, size * 0.5, text, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(2)


def draw_text(pdf: FPDF, text: str, font: str, indent: float, styled: bool) -> None:
    pdf.set_font(font, "", 10.5)
    width = pdf.epw - indent
    height = pdf.multi_cell(width, LINE_HEIGHT, text, align="L", markdown=styled, dry_run=True, output="HEIGHT")
    # The return type of multi_cell follows `output`, which its annotation does not tell.
    if pdf.will_page_break(cast(float, height)):
        pdf.add_page()
        pdf.set_font(font, "", 10.5)
    pdf.set_x(pdf.l_margin + indent)
    pdf.multi_cell(width, LINE_HEIGHT, text, align="L", markdown=styled, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(2)


def draw_table(pdf: FPDF, table: Table) -> None:
    pdf.set_font("helvetica", "", 9.5)
    with pdf.table(
        line_height=5, padding=1, text_align="LEFT", headings_style=FontFace(emphasis="BOLD"), col_widths=widths(table)
    ) as grid:
        for cells in table.rows:
            grid.row([latin_1(cell) for cell in cells])
    pdf.ln(4)


def widths(table: Table) -> tuple[int, ...]:
    """Relative column widths: the longest cell of each, within bounds that keep narrow columns readable."""
    return tuple(min(max(max(map(len, column)), 9), 40) for column in zip(*table.rows, strict=True))


def styled_text(runs: tuple[Run, ...]) -> str:
    return latin_1("".join(f"**{run.text}**" if run.bold else run.text for run in runs))


def latin_1(text: str) -> str:
    """Text the built-in PDF fonts can draw; raises ValueError with the sign that they cannot."""
    replaced = text.translate(LATIN_1_STAND_INS)
    for sign in replaced:
        if ord(sign) > 0xFF:
            raise ValueError(f"replace {sign!r} in the source: a PDF here can only show Latin-1")
    return replaced


def append(word: WordDocument, block: Block | Table) -> None:
    if isinstance(block, Table):
        append_table(word, block)
    elif block.kind == "heading":
        word.add_heading("".join(run.text for run in block.runs), level=block.level)
    elif block.marker:
        # Typed numbers instead of Word's own, which python-docx cannot restart from list to list.
        style = "List Bullet" if block.marker == "-" else "List Continue"
        number = () if block.marker == "-" else (Run(f"{block.marker} "),)
        add_runs(word.add_paragraph(style=style), (*number, *block.runs))
    else:
        add_runs(word.add_paragraph(), block.runs)


def add_runs(paragraph: WordParagraph, runs: tuple[Run, ...]) -> None:
    for run in runs:
        paragraph.add_run(run.text).bold = run.bold or None


def append_table(word: WordDocument, table: Table) -> None:
    grid = word.add_table(rows=0, cols=len(table.rows[0]), style="Table Grid")
    for number, cells in enumerate(table.rows):
        for cell, text in zip(grid.add_row().cells, cells, strict=True):
            add_runs(cell.paragraphs[0], (Run(text, bold=number == 0),))


def with_fixed_dates(archive: bytes) -> bytes:
    """The same zip archive with every entry dated alike, so that equal documents are equal bytes."""
    repacked = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(repacked, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            dated = zipfile.ZipInfo(entry.filename, date_time=(2026, 1, 5, 9, 0, 0))
            dated.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(dated, old.read(entry))
    return repacked.getvalue()
