"""Pages of PDFs as people make them: turned, in columns, with tables; and where their passages stand on the picture."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from fpdf import FPDF
from PIL import Image

from departments.documents import preview
from departments.documents.extracted import Block, Kind
from departments.documents.extractors import pdf
from departments.documents.extractors.collect import read
from departments.documents.extractors.draft import Options
from tests.departments.documents.files import filled_form

MEALS = "Meals are refunded up to forty euro a day, against receipts that somebody keeps for ten years."
HOTELS = "Hotels are booked by the travel desk, and paid by the company at the end of each month."
MARK = (176, 80, 0)


def paper() -> FPDF:
    made = FPDF()
    made.add_page()
    made.set_font("helvetica", size=11)
    return made


def turned(content: bytes, degrees: int) -> bytes:
    document, out = pypdfium2.PdfDocument(content), io.BytesIO()
    document[0].set_rotation(degrees)
    document.save(out)
    return out.getvalue()


def landscape() -> bytes:
    """A portrait page whose text is drawn upwards, shown turned by a quarter: what printing a wide sheet makes."""
    made = paper()
    lines = [*MEALS.split("that ", 1), "", *HOTELS.split("and ", 1)]
    with made.rotation(90, x=105, y=148.5):
        for number, line in enumerate(lines):
            made.text(10, 60 + 6 * number, line)
    return turned(bytes(made.output()), 90)


def paragraphs() -> bytes:
    made = paper()
    for text in (MEALS, HOTELS):
        made.multi_cell(90, 6, text, new_x="LMARGIN", new_y="NEXT")
        made.ln(8)
    return bytes(made.output())


def blocks(content: bytes) -> list[Block]:
    return read(io.BytesIO(content), Options(Kind.PDF)).blocks


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_page_that_lies_on_its_side_or_head_is_read_in_order(degrees: int) -> None:
    assert [block.text for block in blocks(turned(paragraphs(), degrees))] == [MEALS, HOTELS]


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="install tesseract-ocr to see it")
@pytest.mark.parametrize("degrees", [90, 180])
def test_a_scan_that_lies_on_its_side_or_head_is_recognised(degrees: int) -> None:
    out = io.BytesIO()
    seen: Image.Image = pypdfium2.PdfDocument(paragraphs())[0].render(scale=150 / 72, grayscale=True).to_pil()
    seen.rotate(degrees, expand=True).save(out, "pdf", resolution=150)
    found = read(io.BytesIO(out.getvalue()), Options(Kind.PDF, tesseract=shutil.which("tesseract")))
    assert [block.text for block in found.blocks] == [MEALS, HOTELS]


def test_files_inside_a_file_are_named_and_not_lost_in_silence() -> None:
    document, out = pypdfium2.PdfDocument(bytes(paragraphs())), io.BytesIO()
    for place in range(12):
        document.new_attachment(f"Büro {place:02}.xlsx").set_data(b"PK")
    document.save(out)
    found = read(io.BytesIO(out.getvalue()), Options(Kind.PDF))
    [warning] = found.warnings
    assert "Büro 00.xlsx, " in warning
    assert "Büro 09.xlsx, and 2 more. Upload them" in warning
    assert found.blocks == read(io.BytesIO(paragraphs()), Options(Kind.PDF)).blocks


def test_a_landscape_page_keeps_its_paragraphs() -> None:
    first, second = (block.text for block in blocks(landscape()))
    assert first.replace("receipts", "receipts that") == MEALS
    assert second.startswith("Hotels are booked by the travel desk, paid by")


def table() -> bytes:
    made = paper()
    made.multi_cell(0, 6, "What a night may cost, by grade of the traveller and by city:", new_x="LMARGIN")
    with made.table(text_align=("LEFT", "RIGHT", "CENTER")) as rows:
        for cells in (("Grade", "Hotel EUR", "City"), ("A", "120", "Oslo"), ("B", "80", "Rome")):
            row = rows.row()
            for cell in cells:
                row.cell(cell)
    return bytes(made.output())


def test_rows_of_a_table_keep_their_headers() -> None:
    text, *rows = blocks(table())
    assert text.kind == "paragraph"
    assert [(row.kind, row.text) for row in rows] == [
        ("table", "Grade: A; Hotel EUR: 120; City: Oslo"),
        ("table", "Grade: B; Hotel EUR: 80; City: Rome"),
    ]


def columns() -> bytes:
    """Two columns that were written line by line, as some programs do."""
    made = paper()
    for number, words in enumerate(("one", "two", "three", "four", "five")):
        made.text(10, 30 + 6 * number, f"Left column of leave, line {words}")
        made.text(110, 30 + 6 * number, f"Right column of travel, line {words}")
    return bytes(made.output())


def test_columns_are_read_one_after_the_other() -> None:
    text = " ".join(block.text for block in blocks(columns()))
    assert text.index("leave, line five") < text.index("travel, line one")
    assert text.index("leave, line one") < text.index("leave, line two")


def test_wide_spaces_of_a_justified_line_are_no_table() -> None:
    made = paper()
    made.multi_cell(60, 6, MEALS + " " + HOTELS, align="J")
    assert {block.kind for block in blocks(bytes(made.output()))} == {"paragraph"}


def test_what_is_written_in_a_form_is_read_beside_its_label_and_marked(tmp_path: Path) -> None:
    form = filled_form()
    assert [block.text for block in blocks(form)] == ["Name: Ada Lovelace Town: London"]
    _, top, _, bottom = marked(form, "Name: Ada Lovelace", tmp_path)
    assert 0.1 < top < bottom < 0.35


def test_a_row_whose_numbers_stand_far_from_its_words_is_one_row() -> None:
    made = paper()
    rows = [("Item", "Unit price", "Quantity", "Total"), ("Garden hose", "12.50", "3", "37.50")]
    for row, values in enumerate([*rows, ("Shovel", "20.00", "1", "20.00")]):
        for column, value in enumerate(values):
            right = 60 + 40 * column
            made.text(20 if not column else right - made.get_string_width(value), 40 + 8 * row, value)
    assert [block.text for block in blocks(bytes(made.output()))] == [
        "Item: Garden hose; Unit price: 12.50; Quantity: 3; Total: 37.50",
        "Item: Shovel; Unit price: 20.00; Quantity: 1; Total: 20.00",
    ]


def test_a_list_whose_bullets_are_set_larger_is_no_row_of_headings() -> None:
    made = paper()
    made.multi_cell(0, 6, MEALS, new_x="LMARGIN", new_y="NEXT")
    for number, text in enumerate(("the first of them", "the second of them")):
        made.set_font("helvetica", size=15)
        made.text(12, 60 + 8 * number, "-")
        made.set_font("helvetica", size=11)
        made.text(16, 60 + 8 * number, text)
    assert {block.kind for block in blocks(bytes(made.output()))} <= {"paragraph", "list"}
    assert all(block.heading_path == () for block in blocks(bytes(made.output())))


def test_a_watermark_across_a_page_is_no_heading_of_it() -> None:
    made = paper()
    with made.rotation(45, x=105, y=148):
        made.set_font("helvetica", size=60)
        made.text(40, 160, "DRAFT COPY")
    made.set_font("helvetica", size=11)
    made.multi_cell(90, 6, MEALS)
    found = read(io.BytesIO(bytes(made.output())), Options(Kind.PDF))
    assert found.title is None
    assert [(block.text, block.heading_path) for block in found.blocks] == [(MEALS, ())]


def test_lines_of_chinese_and_japanese_are_joined_without_a_space() -> None:
    assert (
        pdf._join(["年次有給休暇は二十日", "です。翌年", "Up to", "five days", "まで"])
        == "年次有給休暇は二十日です。翌年 Up to five days まで"
    )


def marked(content: bytes, passage: str, folder: Path) -> tuple[float, float, float, float]:
    """Where the picture has the colour of a cited passage: left, top, right and bottom, as shares of the picture."""
    path = folder / "file.pdf"
    path.write_bytes(content)
    picture = Image.open(io.BytesIO(preview.draw(path, 1, [(7, passage)], marked=7))).convert("RGB")
    rows, columns = np.nonzero((np.asarray(picture) == MARK).all(axis=2))
    assert len(rows), "nothing is marked"
    wide, high = picture.size
    return columns.min() / wide, rows.min() / high, columns.max() / wide, rows.max() / high


def test_the_cited_passage_is_marked_however_the_page_is_turned(tmp_path: Path) -> None:
    left, top, right, bottom = marked(paragraphs(), MEALS, tmp_path)
    assert (left < 0.1, right < 0.6, top < 0.05, bottom < 0.12) == (True, True, True, True)
    on_side = marked(turned(paragraphs(), 90), MEALS, tmp_path)
    assert on_side == pytest.approx((1 - bottom, left, 1 - top, right), abs=0.02)
    on_head = marked(turned(paragraphs(), 180), MEALS, tmp_path)
    assert on_head == pytest.approx((1 - right, 1 - bottom, 1 - left, 1 - top), abs=0.02)


def test_rows_and_columns_are_marked_where_they_stand(tmp_path: Path) -> None:
    _, top, _, bottom = marked(
        table(), "Grade: A; Hotel EUR: 120; City: Oslo\nGrade: B; Hotel EUR: 80; City: Rome", tmp_path
    )
    assert 0.03 < top < bottom < 0.15
    left, _, right, _ = marked(columns(), "Right column of travel, line one Right column of travel, line two", tmp_path)
    assert 0.45 < left < right < 0.95


def test_a_passage_that_others_crowd_out_is_marked_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file.pdf"
    path.write_bytes(paragraphs())
    crowd = [(number, "far too long " * 2_000) for number in range(6)]
    picture = preview.draw(path, 1, [*crowd, (7, HOTELS)], marked=7)
    assert MARK in {colour for _, colour in Image.open(io.BytesIO(picture)).convert("RGB").getcolors(1 << 20) or []}
