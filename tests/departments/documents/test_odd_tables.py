"""Tables as people make them: quotation marks that nothing closes, headers of two rows, numbers that are codes, cells
that span others. Every value stays under its own name."""

from __future__ import annotations

import io
from typing import Any

import docx
import openpyxl
import pptx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI

from departments.documents.detect import detect_file
from departments.documents.extractors.collect import read
from departments.documents.extractors.draft import Options

DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
DIAGRAM = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
LEAVE_AND_SICK = "Country: DE; Leave Days: 30; Leave Carry: 5; Sick Days: 42; Sick Paid: 100"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def texts(content: bytes | str, name: str) -> list[str]:
    file = io.BytesIO(content if isinstance(content, bytes) else content.encode())
    return [block.text for block in read(file, Options(detect_file(file, name))).blocks]


def saved(thing: Any) -> bytes:
    out = io.BytesIO()
    thing.save(out)
    return out.getvalue()


def test_a_quotation_mark_that_nothing_closes_holds_none_of_the_rows_below() -> None:
    rows = 'Part,Note\n"Bolt, long",fits\nPipe,"5 inch\nNut,small\n'
    assert texts(rows, "a.csv") == [
        "Part: Bolt, long; Note: fits",
        'Part: Pipe; Note: "5 inch',
        "Part: Nut; Note: small",
    ]


def test_a_space_before_a_quotation_mark_moves_no_value() -> None:
    assert texts('Name, Post, Since\nBob, "Head, Sales", 2021\n', "a.csv") == [
        "Name: Bob; Post: Head, Sales; Since: 2021"
    ]


@pytest.mark.parametrize(
    ("upper", "lower", "expected"),
    [
        (",Leave,,Sick,", "Country,Days,Carry,Days,Paid", LEAVE_AND_SICK),
        ("Country,Leave,,Sick,", ",Days,Carry,Days,Paid", LEAVE_AND_SICK),
        (",2025,,2026,", "Region,Q1,Q2,Q1,Q2", "Region: DE; 2025 Q1: 30; 2025 Q2: 5; 2026 Q1: 42; 2026 Q2: 100"),
    ],
)
def test_a_header_of_two_rows_names_each_value_by_both(upper: str, lower: str, expected: str) -> None:
    assert texts(f"{upper}\n{lower}\nDE,30,5,42,100\n", "a.csv") == [expected]
    captioned = texts(f"All countries\n{upper}\n{lower}\nDE,30,5,42,100\n", "a.csv")
    assert captioned == ["All countries", expected]


def test_a_first_row_of_words_under_a_gap_in_the_header_is_a_row() -> None:
    rows = "Name,,Post\nAda,new,Head\nBob,old,Clerk\n"
    assert texts(rows, "a.csv") == ["Name: Ada; new; Post: Head", "Name: Bob; old; Post: Clerk"]


def test_a_code_keeps_the_zeros_it_is_shown_with() -> None:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(["Town", "Code"])
    shown = [(1067, "00000", "01067"), (123456789, "000-00-0000", "123-45-6789"), (7, "0", "7"), (1234, "00", "1234")]
    for place, (value, shown_as, _) in enumerate(shown, start=2):
        sheet.cell(place, 1, f"town {place}")
        sheet.cell(place, 2, value).number_format = shown_as
    assert [text.split("Code: ")[1] for text in texts(saved(book), "a.xlsx")] == [expected for *_, expected in shown]


def test_a_row_of_a_document_whose_deletion_is_tracked_is_gone() -> None:
    document = docx.Document()
    table = document.add_table(3, 2)
    for row, values in enumerate([("Item", "Price"), ("Gone", "1"), ("Stays", "2")]):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    table.rows[1]._tr.get_or_add_trPr().append(parse_xml(f'<w:del {nsdecls("w")} w:id="1" w:author="x"/>'))
    assert texts(saved(document), "a.docx") == ["Item: Stays; Price: 2"]


def test_a_caption_of_a_page_stands_above_its_table() -> None:
    page = "<html><table><caption>Leave by country</caption><tr><th>Country<th>Days<tr><td>DE<td>30</table></html>"
    assert texts(page, "a.html") == ["Leave by country", "Country: DE; Days: 30"]


def test_a_list_inside_a_cell_under_headers_stays_in_its_row() -> None:
    page = "<html><table><tr><th>Who<th>Duties<tr><td>Ada<td><ul><li>plans</li><li>pays</li></ul></table></html>"
    assert texts(page, "a.html") == ["Who: Ada; Duties: plans pays"]


def slide() -> tuple[Any, Any]:
    show = pptx.Presentation()
    return show, show.slides.add_slide(show.slide_layouts[6])


def test_a_cell_of_a_slide_that_spans_rows_stands_in_each_of_them() -> None:
    show, page = slide()
    table = page.shapes.add_table(3, 2, 0, 0, 1000, 1000).table
    for row, values in enumerate([("Grade", "City"), ("A", "Oslo"), ("", "Rome")]):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    table.cell(1, 0).merge(table.cell(2, 0))
    assert texts(saved(show), "a.pptx") == ["Grade: A; City: Oslo", "Grade: A; City: Rome"]


def test_a_quarter_of_a_chart_is_said_with_its_year() -> None:
    show, page = slide()
    data = CategoryChartData()
    year = data.add_category("2026")
    year.add_sub_category("Q1")
    year.add_sub_category("Q2")
    data.add_series("Sales", (1.5, 2))
    page.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, 1000, 1000, data)
    assert texts(saved(show), "a.pptx") == ["Category: 2026 Q1; Sales: 1.5", "Category: 2026 Q2; Sales: 2"]


def test_what_the_shapes_of_a_diagram_say_is_read() -> None:
    show, page = slide()
    paragraphs = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in ("Ask the manager", "Book the trip"))
    data = f'<d:dataModel xmlns:d="{DIAGRAM}" xmlns:a="{DRAWING}"><d:t>{paragraphs}<a:p/></d:t></d:dataModel>'
    part = Part(PackURI("/ppt/diagrams/data1.xml"), "application/xml", show.part.package, data.encode())
    relation = page.part.relate_to(part, f"{RELATIONS}/diagramData")
    frame = page.shapes.add_table(1, 1, 0, 0, 1000, 1000)._element
    graphic = frame.graphic.graphicData
    graphic.clear()
    graphic.set("uri", DIAGRAM)
    graphic.append(parse_xml(f'<d:relIds xmlns:d="{DIAGRAM}" xmlns:r="{RELATIONS}" r:dm="{relation}"/>'))
    assert texts(saved(show), "a.pptx") == ["Ask the manager\nBook the trip"]
