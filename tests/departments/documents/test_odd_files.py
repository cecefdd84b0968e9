"""Files as people have them: other separators and alphabets, merged cells, notes, hidden parts. Nothing may be lost or
said under the wrong heading; what is left out is said."""

from __future__ import annotations

import datetime
import io
import zipfile
from email.message import EmailMessage
from typing import Any

import docx
import openpyxl
import pptx
import pytest
import xlsxwriter
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from openpyxl.chart import BarChart, Reference
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE

from departments.documents.detect import detect_file
from departments.documents.extracted import Extracted, ExtractionFailed
from departments.documents.extractors.collect import read
from departments.documents.extractors.draft import Options
from tests.departments.documents.files import rezip


def extracted(content: bytes | str, name: str) -> Extracted:
    file = io.BytesIO(content if isinstance(content, bytes) else content.encode())
    return read(file, Options(detect_file(file, name)))


def texts(content: bytes | str, name: str) -> list[str]:
    return [block.text for block in extracted(content, name).blocks]


def saved(thing: Any) -> bytes:
    out = io.BytesIO()
    thing.save(out)
    return out.getvalue()


# -- rows


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfName;Ort\r\nM\xc3\xbcller;Bern\r\n",
        "Name\tOrt\nMüller\tBern\n".encode("utf-16"),
        "Name;Ort\nMüller;Bern\n".encode("utf-16-le"),
        "Name;Ort\nMüller;Bern\n".encode("utf-16-be"),
        "Name,Ort\nMüller,Bern\n".encode("cp1252"),
        "sep=|\r\nName|Ort\r\nMüller|Bern\r\n".encode(),
    ],
)
def test_separators_and_encodings_of_a_csv_are_found_out(content: bytes) -> None:
    assert texts(content, "people.csv") == ["Name: Müller; Ort: Bern"]


def test_a_line_for_spreadsheet_programs_moves_no_row() -> None:
    [block] = extracted("sep=;\nName;Value\na;1\n", "a.csv").blocks
    assert block.locator.row_from == 3


def test_quotes_hold_line_ends_and_separators() -> None:
    rows = texts('id;text\n1;"He said ""no"";\nand left"\n2;b\n', "a.csv")
    assert rows == ['id: 1; text: He said "no"; and left', "id: 2; text: b"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("Region,2024,2025\nNorth,10,11\n", ["Region: North; 2024: 10; 2025: 11"]),
        ("Region,2026-01,2026-02\nNorth,10,11\n", ["Region: North; 2026-01: 10; 2026-02: 11"]),
        ("Name,Amount,Amount\nA,1,2\n", ["Name: A; Amount: 1; Amount (2): 2"]),
        ("North,2024,2024\nSouth,1,2\n", ["North; 2024; 2024", "South; 1; 2"]),
        ("Ann,2024\nBob,2025\n", ["Ann; 2024", "Bob; 2025"]),
        (
            "Name,Age\nAnn,30\n,\nCity,Country\nBern,CH\n",
            ["Name: Ann; Age: 30", "City: Bern; Country: CH"],
        ),
        (
            "Name,City\nAnn,Bern\n,\nBob,Rome\nEve,Oslo\n",  # a blank row in one table
            ["Name: Ann; City: Bern", "Name: Bob; City: Rome", "Name: Eve; City: Oslo"],
        ),
    ],
)
def test_rows_get_the_headers_that_a_reader_would_give_them(rows: str, expected: list[str]) -> None:
    assert texts(rows, "a.csv") == expected


def workbook() -> Any:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.title = "Plan"
    for row in (["Department", "Quarter", "Sum"], ["HR", "Q1", 10], [None, "Q2", 11], ["IT", "Q1", 12]):
        sheet.append(row)
    sheet.merge_cells("A2:A3")
    return book


def test_a_cell_that_spans_rows_stands_in_each_of_them() -> None:
    assert texts(saved(workbook()), "plan.xlsx") == [
        "Department: HR; Quarter: Q1; Sum: 10",
        "Department: HR; Quarter: Q2; Sum: 11",
        "Department: IT; Quarter: Q1; Sum: 12",
    ]


def test_a_long_text_that_spans_rows_is_not_said_in_each_of_them() -> None:
    long = "word " * 100
    book = workbook()
    book["Plan"]["A2"] = long
    page = f"<html><table><tr><th>A<th>B<tr><td rowspan=3>{long}<td>1<tr><td>2<tr><td>3</table></html>"
    document = word()
    table = document.add_table(3, 2)
    for row, values in enumerate([("Grade", "City"), (long, "Oslo"), ("", "Rome")]):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    table.cell(1, 0).merge(table.cell(2, 0))
    for content, name in ((saved(book), "a.xlsx"), (page, "a.html"), (saved(document), "a.docx")):
        assert "\n".join(texts(content, name)).count("word") == 100, name
    assert texts(page, "a.html")[1:] == ["B: 2", "B: 3"]


def test_numbers_are_read_as_they_are_shown() -> None:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(["What", "Worth"])
    values = [
        (0.19, "0%", "19 %"),
        (0.195, "0.0%", "19.5 %"),
        (1234.5, '#,##0.00 "EUR"', "1234.5 EUR"),
        (20, "[$€-407] #,##0", "20 €"),
        (3.5, '"$"#,##0.00', "3.5 $"),
        (0.1 + 0.2, "General", "0.3"),
        (datetime.time(8, 30), "hh:mm", "08:30"),
        (datetime.timedelta(hours=37, minutes=30), "[h]:mm", "37:30"),
        (datetime.date(2026, 3, 1), "dd.mm.yyyy", "2026-03-01"),
    ]
    for place, (value, shown_as, _) in enumerate(values, start=2):
        sheet.cell(place, 1, f"row {place}")
        sheet.cell(place, 2, value).number_format = shown_as
    found = [text.split("Worth: ")[1] for text in texts(saved(book), "a.xlsx")]
    assert found == [expected for *_, expected in values]


def test_formulas_without_a_result_are_said_and_hidden_sheets_are_named() -> None:
    book = workbook()
    book["Plan"]["C5"] = "=SUM(C2:C4)"
    book["Plan"]["A5"] = "All"
    hidden = book.create_sheet("Salaries")
    hidden.append(["Name", "Pay"])
    hidden.sheet_state = "hidden"
    found = extracted(saved(book), "plan.xlsx")
    assert found.warnings[0] == "Hidden sheets were left out: Salaries."
    assert found.warnings[1].startswith("1 formulas in sheet Plan have no saved result")
    assert "Pay" not in str(found.to_json())


def test_a_formula_with_its_result_is_its_result() -> None:
    book = workbook()
    book["Plan"]["D2"] = "=C2*2"
    member = "xl/worksheets/sheet1.xml"
    content = rezip(
        saved(book), {member: lambda xml: xml.replace(b"<v></v>", b"<v>20</v>").replace(b"<v />", b"<v>20</v>")}
    )
    found = extracted(content, "plan.xlsx")
    assert found.warnings == []
    assert "20" in found.blocks[0].text


def test_a_result_that_nobody_computed_is_not_read_as_zero() -> None:
    content = io.BytesIO()
    book = xlsxwriter.Workbook(content)
    sheet = book.add_worksheet("Plan")
    sheet.write_row(0, 0, ["Item", "Days", "Share"])
    sheet.write_row(1, 0, ["Leave", 20, 0])
    sheet.write(2, 0, "All")
    sheet.write_formula(2, 1, "=SUM(B2:B2)")
    sheet.write_formula(2, 2, "=C2+1", None, 1)
    book.close()
    found = extracted(content.getvalue(), "plan.xlsx")
    assert [block.text for block in found.blocks] == ["Item: Leave; Days: 20; Share: 0", "Item: All; Share: 1"]
    assert found.warnings[0].startswith("1 formulas in sheet Plan have no saved result")
    # a program that computed it, and does not ask for that to be done again, is believed
    believed = rezip(content.getvalue(), {"xl/workbook.xml": lambda xml: xml.replace(b' fullCalcOnLoad="1"', b"")})
    assert extracted(believed, "plan.xlsx").blocks[1].text == "Item: All; Days: 0; Share: 1"


def test_a_workbook_with_a_sheet_that_is_a_chart_is_read() -> None:
    book = workbook()
    chart = BarChart()
    chart.add_data(Reference(book["Plan"], min_col=3, min_row=1, max_row=4), titles_from_data=True)
    book.create_chartsheet("Drawn").add_chart(chart)
    assert len(texts(saved(book), "plan.xlsx")) == 3


# -- documents and slides


def word(body: str = "") -> Any:
    document = docx.Document()
    document.add_heading("Travel", 1)
    if body:
        document.add_paragraph()._p.append(parse_xml(f"<w:r {nsdecls('w')}>{body}</w:r>"))
    return document


def test_a_cell_of_a_document_that_spans_rows_stands_in_each_of_them() -> None:
    document = word()
    table = document.add_table(3, 2)
    for row, values in enumerate([("Grade", "City"), ("A", "Oslo"), ("", "Rome")]):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    table.cell(1, 0).merge(table.cell(2, 0))
    assert texts(saved(document), "a.docx")[1:] == ["Grade: A; City: Oslo", "Grade: A; City: Rome"]


def test_a_note_stands_where_it_is_referred_to_and_once() -> None:
    reference = (
        "<w:t>Fares are refunded</w:t><w:footnoteReference w:id='2'/><w:t>, always</w:t><w:footnoteReference w:id='2'/>"
    )
    notes = (
        f'<w:footnotes {nsdecls("w")}><w:footnote w:id="-1"><w:p><w:r><w:separator/></w:r></w:p></w:footnote>'
        '<w:footnote w:id="2"><w:p><w:r><w:footnoteRef/><w:t> except first class.</w:t></w:r></w:p></w:footnote>'
        "</w:footnotes>"
    )
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"
    content = rezip(
        saved(word(reference)),
        {
            "word/footnotes.xml": lambda _: notes.encode(),
            "[Content_Types].xml": lambda xml: xml.replace(
                b"</Types>", f'<Override PartName="/word/footnotes.xml" ContentType="{kind}"/></Types>'.encode()
            ),
            "word/_rels/document.xml.rels": lambda xml: xml.replace(
                b"</Relationships>",
                f'<Relationship Id="rId99" Type="{relation}" Target="footnotes.xml"/></Relationships>'.encode(),
            ),
        },
    )
    assert texts(content, "a.docx")[1] == "Fares are refunded (except first class.), always"


def test_formulas_and_ticks_of_a_document_are_read() -> None:
    document = word('<w:t>Paid </w:t><w:sym w:font="Wingdings" w:char="F0FC"/>')
    formula = f"<m:oMath {nsdecls('m')}><m:r><m:t>E=mc²</m:t></m:r></m:oMath>"
    document.add_paragraph("By ")._p.append(parse_xml(formula))
    assert texts(saved(document), "a.docx")[1:] == ["Paid ✓", "By E=mc²"]


def test_a_tracked_deletion_is_gone_and_an_insertion_is_there() -> None:
    document = word()
    paragraph = document.add_paragraph("Up to 40 EUR")
    for xml in (
        f'<w:ins {nsdecls("w")} w:id="1" w:author="x"><w:r><w:t> a day</w:t></w:r></w:ins>',
        f'<w:del {nsdecls("w")} w:id="2" w:author="x"><w:r><w:delText> a week</w:delText></w:r></w:del>',
    ):
        paragraph._p.append(parse_xml(xml))
    assert texts(saved(document), "a.docx")[1] == "Up to 40 EUR a day"


def test_slides_keep_their_charts_and_notes_and_hidden_ones_are_left_out() -> None:
    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[5])
    first.shapes.title.text = "Sales"
    first.notes_slide.notes_text_frame.text = "Thank the team"
    data: Any = CategoryChartData()
    data.categories = ["East", "West"]
    data.add_series("2026", (19.2, 21.4))
    first.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, 3_000_000, 2_000_000, data)
    hidden = deck.slides.add_slide(deck.slide_layouts[5])
    hidden.shapes.title.text = "Layoffs"
    hidden._element.set("show", "0")
    last = deck.slides.add_slide(deck.slide_layouts[5])
    last.shapes.title.text = "Questions"
    found = extracted(saved(deck), "deck.pptx")
    assert [(block.locator.slide, block.text) for block in found.blocks] == [
        (1, "Sales"),
        (1, "Category: East; 2026: 19.2"),
        (1, "Category: West; 2026: 21.4"),
        (1, "Thank the team"),
        (3, "Questions"),
    ]
    assert found.warnings == ["Hidden slides were left out: 2."]


# -- pages, mails, books, alphabets


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            "<tr><td rowspan=2>Mon<td>Ann<td>1<tr><td>Bob<td>2",
            ["Day: Mon; Who: Ann; Room: 1", "Day: Mon; Who: Bob; Room: 2"],
        ),
        (
            "<tr><td rowspan=0>Mon<td>Ann<td>1<tr><td>Bob<td>2",
            ["Day: Mon; Who: Ann; Room: 1", "Day: Mon; Who: Bob; Room: 2"],
        ),
        (
            "<tr><td colspan=2>Closed<td>1<tr><td>Tue<td>Eve<td>3",
            ["Day: Closed; Room: 1", "Day: Tue; Who: Eve; Room: 3"],
        ),
        (
            "<tr><td>Mon<td rowspan=2 colspan=2>Fair<tr><td>Tue<tr><td>Wed<td>Eve<td>3",
            ["Day: Mon; Who: Fair", "Day: Tue; Who: Fair", "Day: Wed; Who: Eve; Room: 3"],
        ),
    ],
)
def test_cells_of_a_page_that_span_rows_or_columns_stay_under_their_headers(rows: str, expected: list[str]) -> None:
    assert texts(f"<html><table><tr><th>Day<th>Who<th>Room{rows}</table></html>", "a.html") == expected


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.md"])
@pytest.mark.parametrize("encoding", ["cp1251", "shift_jis", "koi8-r"])
def test_an_old_alphabet_that_nothing_names_is_refused_and_never_garbled(name: str, encoding: str) -> None:
    text = (
        "休暇は五日です。来年に繰り越せます。" if encoding == "shift_jis" else "Отпуск пять дней в году, по пятницам."
    )
    with pytest.raises(ExtractionFailed, match="save it as UTF-8"):
        texts(text.encode(encoding), name)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ('<html><meta charset="windows-1251"><p>Отпуск пять дней</p></html>'.encode("cp1251"), "a.html"),
        (
            '<?xml version="1.0" encoding="windows-1251"?><html><p>Отпуск пять дней</p></html>'.encode("cp1251"),
            "a.xhtml",
        ),
        ("Отпуск пять дней".encode("utf-16"), "a.txt"),
        ("Отпуск пять дней".encode("utf-8-sig"), "a.txt"),
    ],
)
def test_an_alphabet_that_is_named_is_read(content: bytes, name: str) -> None:
    assert texts(content, name) == ["Отпуск пять дней"]


def test_a_book_names_its_own_alphabet() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr("META-INF/container.xml", '<c><rootfiles><rootfile full-path="b.opf"/></rootfiles></c>')
        item = '<item id="a" href="a.html" media-type="application/xhtml+xml"/>'
        book.writestr("b.opf", f'<p><manifest>{item}</manifest><spine><itemref idref="a"/></spine></p>')
        page = '<?xml version="1.0" encoding="windows-1251"?><html><body><p>Отпуск</p></body></html>'
        book.writestr("a.html", page.encode("cp1251"))
    assert texts(out.getvalue(), "a.epub") == ["Отпуск"]


def test_a_mail_inside_a_mail_keeps_its_attachments_and_alphabet() -> None:
    inner = EmailMessage()
    inner["From"], inner["To"], inner["Subject"] = "c@x.example", "d@x.example", "Отпуск"
    inner.set_content("Пять дней", charset="koi8-r")
    inner.add_attachment(b"a;b\n1;2\n", maintype="text", subtype="csv", filename="days.csv")
    outer = EmailMessage()
    outer["From"], outer["To"], outer["Subject"] = "a@x.example", "b@x.example", "Fwd"
    outer.set_content("See below", charset="iso-8859-15")
    outer.add_attachment(inner)
    found = extracted(outer.as_bytes(), "mail.eml")
    said = [(block.locator.section, block.text) for block in found.blocks]
    assert ("attachment 1.eml", "Пять дней") in said
    assert any(
        text == "a: 1; b: 2" and "days.csv" in str(block.heading_path)
        for block, (_, text) in zip(found.blocks, said, strict=True)
    )
    assert "x.example" not in str(found.to_json())


def test_lines_of_json_keep_numbers_as_they_were_written() -> None:
    text = "\n".join(texts('{"id": 1, "price": 1.10}\n\n{"id": 2, "name": "Zoë"}\n', "a.jsonl"))
    assert "[0].price: 1.10" in text
    assert "[1].name: Zoë" in text
