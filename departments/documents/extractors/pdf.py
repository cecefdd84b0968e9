"""PDF: paragraphs per page, with headings guessed from the size and weight of the letters.

Rules
- Lines come with their boxes (pdf_lines.py), because only boxes tell a heading from a paragraph; lines of cells below
  each other are a table or columns (pdf_tables.py).
- Lines repeated at the top or bottom of most pages are left out.
- A page of pictures without text goes through tesseract where that is installed. Otherwise it is named in a warning,
  and a file with nothing else is refused as scanned.
- Files inside the file (a portfolio has little else) are not opened, but named in a warning.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO

import pypdfium2
import pypdfium2.raw as pdfium

from departments.documents.extracted import Block, ExtractionFailed, Locator, Reason
from departments.documents.extractors.draft import Draft, Headings, Options, check_pages, too_large
from departments.documents.extractors.ocr import Tesseract
from departments.documents.extractors.pdf_lines import Line, from_the_top, load_page, visible_lines
from departments.documents.extractors.pdf_tables import Part, parts
from departments.documents.extractors.tables import describe_rows
from departments.documents.extractors.text import LIST_ITEM

HEADING_GROWTH = 1.15
LONGEST_HEADING = 150
HEADING_LEVELS = 3
NO_OCR = (
    "The pages are pictures without text, and text recognition (tesseract) is not installed here. "
    "Run text recognition (OCR) on the file and upload that, or ask IT to install it."
)
FILES_INSIDE = "This PDF holds files of its own that were not read: {names}. Upload them by themselves."
FILES_NAMED = 10
NOT_RECOGNISED = "Text recognition (tesseract) is not installed here."
MARGIN_LINES = 2
MARGIN_SHARE = 0.6
# pdfium's signs for a hyphen that only the end of the line made
WITHOUT_SPACES = re.compile(
    "[\u2e80-\u30ff\u31c0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]{2}"
)
SOFT_HYPHENS = ("\x02", "\ufffe", "\u00ad")


@dataclass
class Page:
    number: int
    lines: list[Line]
    is_picture: bool = False


def extract(file: BinaryIO, options: Options) -> Draft:
    document = _open(file)
    count = check_pages(len(document), options.limits)
    draft = Draft((), pages=count, warnings=_files_inside(document))
    pages = list(_read_pages(document, options))
    _report_pictures(pages, draft, options)
    _drop_margins(pages)
    draft.blocks = _blocks(pages)
    return draft


def _open(file: BinaryIO) -> Any:
    try:
        return pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        is_locked = error.err_code in {pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY}
        raise ExtractionFailed(Reason.ENCRYPTED if is_locked else Reason.CORRUPT) from error


def _files_inside(document: Any) -> list[str]:
    """A warning that names them, if there are any."""
    count = document.count_attachments()
    names = [_name_of_file(document, place) for place in range(min(count, FILES_NAMED))]
    more = [f"and {count - FILES_NAMED} more"] if count > FILES_NAMED else []
    return [FILES_INSIDE.format(names=", ".join([*names, *more]))] if count else []


def _name_of_file(document: Any, place: int) -> str:
    try:
        return str(document.get_attachment(place).get_name()) or "one without a name"
    except pypdfium2.PdfiumError:
        return "a damaged one"  # which is no reason to refuse the pages


def _read_pages(document: Any, options: Options) -> Iterator[Page]:
    """All pages, while their letters are within the limit: headings and running heads need them all at once."""
    letters = 0
    for index in range(len(document)):
        page = _read_page(document, index, options)
        letters += sum(len(line.text) for line in page.lines)
        if letters > options.limits.characters:
            raise too_large("characters of text", options.limits.characters)
        yield page


def _read_page(document: Any, index: int, options: Options) -> Page:
    page, is_written_on = load_page(document, index)
    try:
        has_picture = next(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=4), None) is not None
        lines = visible_lines(page, options.limits, has_picture)
        if not lines and has_picture:
            lines = _recognise(page, options)
            return Page(index + 1, lines, is_picture=not lines)
        return Page(index + 1, from_the_top(lines) if is_written_on else lines)
    finally:
        page.close()


def _recognise(page: Any, options: Options) -> list[Line]:
    """Lines that tesseract sees, as boxes without height that stand one below the other, so that no line looks large.

    The time limit is that of the child.
    """
    if options.tesseract is None:
        return []
    lines = Tesseract(options.tesseract, options.languages).lines(page)
    return [Line(line.strip(), 0, 0, -row, -row) for row, line in enumerate(lines) if line.strip()]


def _report_pictures(pages: list[Page], draft: Draft, options: Options) -> None:
    pictures = [page.number for page in pages if page.is_picture]
    if pictures and not any(page.lines for page in pages):
        raise ExtractionFailed(Reason.SCANNED, NO_OCR if options.tesseract is None else "")
    if pictures:
        shown = ", ".join(map(str, pictures[:10])) + (" and more" if len(pictures) > 10 else "")
        missing = f" {NOT_RECOGNISED}" if options.tesseract is None else ""
        draft.warnings.append(f"{len(pictures)} of {len(pages)} pages are pictures without text: {shown}.{missing}")


def _drop_margins(pages: list[Page]) -> None:
    """Removes running heads, feet and page numbers, except where they first stand. Digits count as equal."""
    if len(pages) < 4:
        return
    body = _body_size(pages)
    repeated = Counter(key for page in pages for key in {_margin_key(line) for line in _margins(page, body)})
    running = {key for key, count in repeated.items() if count >= len(pages) * MARGIN_SHARE}
    kept: set[str] = set()
    for page in pages:
        page.lines = [line for line in page.lines if not _is_running(line, _margins(page, body), running, kept)]


def _margins(page: Page, body: float) -> list[Line]:
    """The outermost lines of a page; large ones are headings, "Chapter 2" is no running head."""
    outermost = page.lines[:MARGIN_LINES] + page.lines[MARGIN_LINES:][-MARGIN_LINES:]
    return [line for line in outermost if not _is_large(line, body)]


def _margin_key(line: Line) -> str:
    return re.sub(r"\d+", "#", line.text)


def _is_running(line: Line, margins: list[Line], running: set[str], kept: set[str]) -> bool:
    key = _margin_key(line)
    if key not in running or not any(line is margin for margin in margins):
        return False
    is_repetition = key in kept or key.strip(" -–—/|") == "#"
    kept.add(key)
    return is_repetition


def _blocks(pages: list[Page]) -> Iterator[Block]:
    body = _body_size(pages)
    levels = _heading_levels(pages, body)
    headings = Headings()
    for page in pages:
        locator = Locator(page=page.number)
        for part in parts(page.lines):
            yield from _table(part, locator, headings) if part.rows else _text(part, locator, headings, body, levels)


def _table(part: Part, locator: Locator, headings: Headings) -> Iterator[Block]:
    for _, line in describe_rows(part.rows):
        yield Block(line, locator, headings.path, "table")


def _text(part: Part, locator: Locator, headings: Headings, body: float, levels: dict[float, int]) -> Iterator[Block]:
    for lines in _paragraphs(part.lines):
        text = _join(line.text for line in lines)
        level = _level(lines, text, body, levels)
        if level is None:
            yield Block(text, locator, headings.path, "list" if LIST_ITEM.match(text) else "paragraph")
        else:
            yield Block(text, locator, headings.enter(level, text), "heading")


def _body_size(pages: list[Page]) -> float:
    """The size in which most letters are set."""
    letters: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            letters[round(line.size, 1)] += len(line.text)
    return letters.most_common(1)[0][0] if letters else 0.0


def _heading_levels(pages: list[Page], body: float) -> dict[float, int]:
    """Level by rounded size: the largest size is level 1; everything from the third on is level 3."""
    sizes = {round(line.size) for page in pages for line in page.lines if _is_large(line, body)}
    return {size: min(place, HEADING_LEVELS) for place, size in enumerate(sorted(sizes, reverse=True), start=1)}


def _is_large(line: Line, body: float) -> bool:
    return body > 0 and line.size >= body * HEADING_GROWTH


def _level(lines: list[Line], text: str, body: float, levels: dict[float, int]) -> int | None:
    if len(text) > LONGEST_HEADING or not any(letter.isalpha() for letter in text):
        return None
    if all(_is_large(line, body) for line in lines):
        return levels[round(lines[0].size)]
    is_bold = len(lines) == 1 and lines[0].is_bold and not text.endswith((".", ":", ";", ","))
    return HEADING_LEVELS + 1 if is_bold and body > 0 else None


def _paragraphs(lines: list[Line]) -> Iterator[list[Line]]:
    if not lines:
        return
    gaps = [above.bottom - below.top for above, below in pairwise(lines) if above.bottom >= below.top - above.size]
    usual = statistics.median(gaps) if gaps else 0.0
    right = max(line.right for line in lines)
    paragraph = [lines[0]]
    for above, below in pairwise(lines):
        if _begins_anew(above, below, usual, right):
            yield paragraph
            paragraph = []
        paragraph.append(below)
    yield paragraph


def _begins_anew(above: Line, below: Line, usual_gap: float, right: float) -> bool:
    """Whether the lower line starts a paragraph: by gap, size, weight, column, list mark, or a short line above."""
    size = max(above.size, below.size)
    gap = above.bottom - below.top
    if abs(above.size - below.size) > 0.12 * size or above.is_bold != below.is_bold:
        return True
    if gap > usual_gap + 0.35 * size or gap < -1.5 * size:
        return True
    ends_early = above.text.endswith((".", "!", "?", ":")) and above.right < right - 0.15 * (right - above.left)
    return ends_early or bool(LIST_ITEM.match(below.text))


def _join(texts: Iterable[str]) -> str:
    """Lines of a paragraph as running text; a word divided at the end of a line becomes whole again.

    Chinese and Japanese have no spaces between words, so the end of a line is none.
    """
    joined = ""
    for text in texts:
        is_divided = re.fullmatch(r"[^\W\d_]-", joined[-2:]) is not None and text[:1].islower()
        is_divided = is_divided or joined.endswith(SOFT_HYPHENS)
        space = "" if WITHOUT_SPACES.fullmatch(joined[-1:] + text[:1]) else " "
        joined = joined[:-1] + text if is_divided else f"{joined}{space}{text}".lstrip()
    return joined
