"""Files of every kind become blocks that know where they stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from departments.documents.extract import Block, Extracted, ExtractionFailed, Kind, Limits, Locator, Reason, extract
from tests.departments.documents import files

Read = Callable[..., Extracted]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Extracts a file with this content and this name."""

    def run(content: bytes | str, filename: str, limits: Limits = Limits()) -> Extracted:  # noqa: B008 - frozen
        path = tmp_path / "stored-under-a-random-name"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return extract(path, filename, limits)

    return run


def outline(extracted: Extracted) -> list[tuple[str, tuple[str, ...], str]]:
    return [(block.kind, block.heading_path, block.text) for block in extracted.blocks]


def text_of(extracted: Extracted) -> str:
    return json.dumps(extracted.to_json(), ensure_ascii=False)


def test_it_reads_headings_and_paragraphs_of_a_pdf_with_their_pages(read: Read) -> None:
    extracted = read(files.pdf(), "leave.pdf")
    path = ("Part 2: Leave", "Unpaid leave")
    assert (extracted.kind, extracted.title, extracted.pages) == (Kind.PDF, "Part 1: Leave", 2)
    assert [block.kind for block in extracted.blocks] == ["heading", "heading", "paragraph", "paragraph"] * 2
    assert extracted.blocks[-1] == Block("Apply four weeks before.", Locator(page=2), path)
    assert extracted.blocks[2].text == "Employees may take ten days, if the manager agrees in writing. " * 3 + (
        "Employees may take ten days, if the manager agrees in writing."
    )


def test_it_drops_running_heads_and_page_numbers_of_a_pdf_after_the_first(read: Read) -> None:
    text = " ".join(block.text for block in read(files.long_pdf(6), "handbook.pdf").blocks)
    assert text.count("ACME Handbook") == 1
    assert all(f"says {word}." in text for word in files.WORDS[:6])
    assert not any(block.text.isdigit() for block in read(files.long_pdf(6), "handbook.pdf").blocks)


@pytest.mark.parametrize(
    "drawing",
    [
        b"BT /F1 0.5 Tf 10 150 Td (unseen) Tj ET",
        b"BT /F1 12 Tf 900 900 Td (unseen) Tj ET",
        b"BT /F1 12 Tf 3 Tr 10 150 Td (unseen) Tj ET",
    ],
    ids=["tiny", "off the page", "invisible"],
)
def test_it_leaves_out_what_a_pdf_hides(read: Read, drawing: bytes) -> None:
    shown = b"BT /F1 12 Tf 10 100 Td (shown) Tj ET "
    assert [block.text for block in read(files.pdf_by_hand(shown + drawing), "a.pdf").blocks] == ["shown"]


def test_it_reads_the_invisible_text_that_recognition_laid_over_a_scan(read: Read) -> None:
    page = b"q 200 0 0 200 0 0 cm /I1 Do Q BT /F1 12 Tf 3 Tr 10 100 Td (recognised) Tj ET"
    assert [block.text for block in read(files.pdf_by_hand(page, picture=True), "a.pdf").blocks] == ["recognised"]


def test_it_says_that_a_scan_has_no_text(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ExtractionFailed, match="OCR") as failure:
        read(files.pdf_by_hand(b"200 0 0 200 0 0 cm /I1 Do", picture=True), "scan.pdf")
    assert failure.value.reason is Reason.SCANNED


def test_it_has_a_scan_recognised_where_tesseract_is_installed(
    read: Read, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "tesseract"
    program.write_text(
        '#!/bin/sh\nread first rest\n[ "$first" = P5 ] && printf "Hello from\\nlanguage %s\\n\\nNext" "$4"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))

    extracted = read(files.pdf_by_hand(b"200 0 0 200 0 0 cm /I1 Do", picture=True), "scan.pdf")

    assert [block.text for block in extracted.blocks] == ["Hello from language eng", "Next"]


def test_it_reads_word_with_headings_lists_and_tables(read: Read) -> None:
    extracted = read(files.word(), "travel.docx")
    assert extracted.title == "Travel policy"
    assert outline(extracted) == [
        ("heading", ("Travel policy",), "Travel policy"),
        ("heading", ("Travel policy", "Meals"), "Meals"),
        ("paragraph", ("Travel policy", "Meals"), "Up to 40 EUR a day."),
        ("list", ("Travel policy", "Meals"), "Keep the receipt"),
        ("paragraph", ("Travel policy", "Meals"), "seen"),
        ("heading", ("Travel policy", "Hotels"), "Hotels"),
        ("table", ("Travel policy", "Hotels"), "City: Berlin; Limit: 140"),
        ("table", ("Travel policy", "Hotels"), "City: Paris; Limit: 180"),
    ]


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<w:sdt><w:sdtContent><w:p><w:r><w:t>chosen</w:t></w:r></w:p></w:sdtContent></w:sdt>", "chosen"),
        (
            "<w:p><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del></w:p>",
            "new",
        ),
        ('<w:p><w:r><w:t>big</w:t></w:r><w:r><w:rPr><w:sz w:val="2"/></w:rPr><w:t>tiny</w:t></w:r></w:p>', "big"),
        ("<w:p><w:r><w:t>one</w:t><w:tab/><w:t>two</w:t></w:r></w:p>", "one two"),
    ],
    ids=["content control", "tracked change", "tiny letters", "tab"],
)
def test_it_reads_of_word_what_a_reader_sees(read: Read, xml: str, expected: str) -> None:
    assert read(files.word_with(xml), "a.docx").blocks[0].text == expected


def test_it_reads_slides_with_tables_and_notes(read: Read) -> None:
    extracted = read(files.slides(), "kickoff.pptx")
    assert extracted.pages == 2
    assert outline(extracted) == [
        ("heading", ("Kickoff",), "Kickoff"),
        ("list", ("Kickoff",), "Goals\nDates"),
        ("paragraph", ("Kickoff", "Speaker notes"), "Thank the team"),
        ("table", (), "Task: Budget; Owner: Ada"),
    ]
    assert [block.locator.slide for block in extracted.blocks] == [1, 1, 1, 2]


def test_it_reads_sheets_row_by_row_with_their_headers(read: Read) -> None:
    extracted = read(files.workbook(), "prices.xlsx")
    assert extracted.blocks == [
        Block("Price list", Locator(sheet="Prices", row_from=1, row_to=1), ("Prices",), "table"),
        Block("Item: Bolt; Price: 1.5", Locator(sheet="Prices", row_from=4, row_to=4), ("Prices",), "table"),
        Block("Item: Nut; Price: 2", Locator(sheet="Prices", row_from=5, row_to=5), ("Prices",), "table"),
    ]


def test_it_leaves_out_hidden_sheets_and_says_so(read: Read) -> None:
    extracted = read(files.workbook(), "prices.xlsx")
    assert "hunter" not in text_of(extracted)
    assert extracted.warnings == ["Hidden sheets were left out: Secret."]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_it_reads_csv_with_any_usual_delimiter(read: Read, delimiter: str) -> None:
    rows = [["Name", "Town"], ["Ada", "Paris"], ["Bob", "Rome"]]
    extracted = read("\n".join(delimiter.join(row) for row in rows), "people.csv")
    assert [block.text for block in extracted.blocks] == ["Name: Ada; Town: Paris", "Name: Bob; Town: Rome"]
    assert extracted.blocks[1].locator == Locator(row_from=3, row_to=3)


def test_it_reads_csv_of_an_old_code_page_without_headers(read: Read) -> None:
    assert [block.text for block in read("1;Müller\n2;Groß".encode("cp1252"), "a.csv").blocks] == [
        "1; Müller",
        "2; Groß",
    ]


PAGE = """<!DOCTYPE html><html><head><title>Leave &amp; more</title><style>p {}</style></head><body>
<nav>menu</nav><h1>Leave</h1><p>Ten <b>days</b> a <!-- comment -->year.</p><script>evil()</script>
<h2>How to</h2><ul><li>Ask<li><p>Wait</p></ul><pre>a
  b</pre><table><tr><th>Day<th>Hours</tr><tr><td>Mon<td>8</tr></table>%s</body></html>"""


def test_it_reads_html_with_headings_lists_code_and_tables(read: Read) -> None:
    extracted = read(PAGE % "", "leave.html")
    assert extracted.title == "Leave & more"
    assert outline(extracted) == [
        ("heading", ("Leave",), "Leave"),
        ("paragraph", ("Leave",), "Ten days a year."),
        ("heading", ("Leave", "How to"), "How to"),
        ("list", ("Leave", "How to"), "- Ask"),
        ("list", ("Leave", "How to"), "- Wait"),
        ("code", ("Leave", "How to"), "a\n  b"),
        ("table", ("Leave", "How to"), "Day: Mon; Hours: 8"),
    ]


HIDDEN = [
    "<p hidden>unseen</p>",
    "<p aria-hidden='TRUE'>unseen</p>",
    "<p style='color:red;DISPLAY : none'>unseen</p>",
    "<p style='visibility:hidden'>unseen</p>",
    "<p style='font-size:0'>unseen</p>",
    "<p style='font-size:0.0px;'>unseen</p>",
    "<p style='font-size:1px'>unseen</p>",
    "<p style='opacity:0'>unseen</p>",
    "<p style='position:absolute;left:-9999px'>unseen</p>",
    "<template>unseen</template>",
    "<noscript>unseen</noscript>",
    "<div hidden><h1>unseen</h1><table><tr><td>unseen<td>unseen</tr><tr><td>unseen<td>b</tr></table></div>",
    "<h3>seen<span hidden>unseen</span></h3>",
    "<table><tr><th>A<th>B</tr><tr hidden><td>unseen<td>unseen</tr><tr><td>1<td><i hidden>unseen</i>2</tr></table>",
]


@pytest.mark.parametrize("html", HIDDEN)
def test_it_leaves_out_what_html_hides(read: Read, html: str) -> None:
    extracted = read(PAGE % f"{html}<p>the end</p>", "a.html")
    assert extracted.blocks[-1].text == "the end"
    assert "unseen" not in text_of(extracted)


@pytest.mark.parametrize("html", HIDDEN)
def test_it_leaves_out_what_html_inside_markdown_hides(read: Read, html: str) -> None:
    assert "unseen" not in text_of(read(f"# Top\n\n{html}\n\nthe end", "a.md"))


@pytest.mark.parametrize("style", ["font-size:10px", "font-size:0.9em", "opacity:0.5", "opacity:1", "left:-10px"])
def test_it_keeps_what_html_shows(read: Read, style: str) -> None:
    assert "shown" in text_of(read(PAGE % f"<p style='{style}'>shown</p>", "a.html"))


def test_it_reads_a_table_that_only_arranges_the_page_as_blocks(read: Read) -> None:
    html = (
        "<html><table><tr><td><h1>News</h1><p>One.</p></td><td><table><tr><td>Two.</td></tr></table></td></tr></table>"
    )
    assert [block.text for block in read(html, "a.html").blocks] == ["News", "One.", "Two."]


def test_it_obeys_the_encoding_that_html_declares(read: Read) -> None:
    page = "<html><head><meta charset='iso-8859-2'></head><p>Łódź</p>".encode("iso-8859-2")
    assert read(page, "a.html").blocks[0].text == "Łódź"


def test_it_reads_markdown_and_keeps_of_its_front_matter_the_title(read: Read) -> None:
    front = "---\ntitle: Guide\nauthor: Erika\n---\n"
    text = "# Top\n\npara\n\n## Sub\n\n- a\n- b\n\n| A | B |\n|---|---|\n| 1 | 2 |\n\n```\nx = 1\n```\n"
    extracted = read(front + text, "guide.md")
    assert extracted.title == "Guide"
    assert outline(extracted) == [
        ("heading", ("Top",), "Top"),
        ("paragraph", ("Top",), "para"),
        ("heading", ("Top", "Sub"), "Sub"),
        ("list", ("Top", "Sub"), "- a"),
        ("list", ("Top", "Sub"), "- b"),
        ("table", ("Top", "Sub"), "A: 1; B: 2"),
        ("code", ("Top", "Sub"), "x = 1"),
    ]


def test_it_reads_plain_text_with_its_underlined_and_capital_headings(read: Read) -> None:
    extracted = read("Title\r\n=====\r\nfirst\r\n\r\nRULES\r\n\r\none\r\ntwo\r\n\r\n- a\r\n- b\r\n", "a.txt")
    assert outline(extracted) == [
        ("heading", ("Title",), "Title"),
        ("paragraph", ("Title",), "first"),
        ("heading", ("Title", "RULES"), "RULES"),
        ("paragraph", ("Title", "RULES"), "one\ntwo"),
        ("list", ("Title", "RULES"), "- a\n- b"),
    ]


def test_it_reads_a_mail_and_its_attachments(read: Read) -> None:
    extracted = read(files.mail(), "offer.eml")
    assert extracted.title == "Offer 17"
    assert [block.text for block in extracted.blocks[:4]] == [
        "Offer 17",
        "Dear Ada,",
        "please find the prices.",
        "Attachments: prices.xlsx, logo.png",
    ]
    assert extracted.blocks[-1].locator == Locator(sheet="Prices", row_from=5, row_to=5, section="prices.xlsx")
    assert extracted.blocks[-1].heading_path == ("prices.xlsx", "Prices")
    assert any("logo.png was left out" in warning for warning in extracted.warnings)


def test_it_reads_a_mail_inside_a_mail_and_no_deeper(read: Read) -> None:
    mail = read(files.forwarded(files.forwarded(files.mail())), "forwarded.eml")
    texts = [block.text for block in mail.blocks]
    assert texts.count("Fwd") == 2
    assert "Offer 17" not in texts


def test_it_reads_the_html_of_a_mail_that_has_no_plain_text(read: Read) -> None:
    header = "From: a@example.com\nTo: b@example.com\nSubject: x\nContent-Type: text/html\n\n"
    mail = read(header + "<html><p>shown<p hidden>unseen", "a.eml")
    assert [block.text for block in mail.blocks] == ["x", "shown"]


def test_it_reads_a_book_chapter_by_chapter(read: Read) -> None:
    extracted = read(files.book(), "weather.epub")
    assert extracted.title == "Weather"
    assert extracted.blocks[-1] == Block("It cleared.", Locator(section="Chapter 2"), ("Evening",))


def test_it_refuses_a_book_with_copy_protection(read: Read) -> None:
    with pytest.raises(ExtractionFailed, match="protect") as failure:
        read(files.rezip(files.book(), {"META-INF/rights.xml": lambda old: b"<rights/>"}), "a.epub")
    assert failure.value.reason is Reason.ENCRYPTED


def test_it_reads_json_as_lines_with_paths(read: Read) -> None:
    extracted = read('{"orders": [{"id": 7, "price": 1.10, "paid": true, "note": null}], "name": "x"}', "a.json")
    assert outline(extracted) == [
        ("list", ("orders",), "orders[0].id: 7\norders[0].price: 1.10\norders[0].paid: true\norders[0].note: null"),
        ("list", (), "name: x"),
    ]


def test_it_reads_json_lines(read: Read) -> None:
    assert read('{"a": 1}\n{"a": 2}\n', "a.jsonl").blocks[0].text == "[0].a: 1\n[1].a: 2"


@pytest.mark.parametrize("content", [files.pdf(), files.word(), files.mail()], ids=["pdf", "docx", "eml"])
def test_it_keeps_nothing_about_the_author(read: Read, content: bytes) -> None:
    text = text_of(read(content, "a"))
    assert "Erika" not in text
    assert "erika" not in text


def test_it_cleans_the_text_and_counts_what_it_took(read: Read) -> None:
    extracted = read("# Ti\u200btle\n\nPay\u202e now\U000e0041\n", "a.md")
    assert [block.text for block in extracted.blocks] == ["Title", "Pay now"]
    assert extracted.blocks[1].heading_path == ("Title",)
    assert extracted.removed == {"zero_width": 1, "bidi": 1, "tags": 1}
    assert extracted.flags == ["bidi", "tags", "zero_width"]


@pytest.mark.parametrize("content", [files.pdf(), files.workbook(), files.mail(), files.book()])
def test_it_survives_the_way_through_json(read: Read, content: bytes) -> None:
    extracted = read(content, "a")
    assert Extracted.from_json(json.loads(json.dumps(extracted.to_json()))) == extracted


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "exe"},
        {"pages": "2"},
        {"pages": True},
        {"blocks": {}},
        {"title": 3},
        {"removed": {"a": -1}},
        {"flags": [1]},
    ],
)
def test_it_refuses_json_of_another_shape(change: dict[str, object]) -> None:
    sound = Extracted(Kind.TEXT, None, None, [Block("x")]).to_json()
    assert Extracted.from_json(sound).blocks == [Block("x")]
    with pytest.raises(ValueError, match=r"\w"):
        Extracted.from_json({**sound, **change})


@pytest.mark.parametrize(
    "change", [{"kind": "script"}, {"text": None}, {"locator": {"row": 1}}, {"heading_path": "ab"}]
)
def test_it_refuses_blocks_of_another_shape(change: dict[str, object]) -> None:
    sound = Extracted(Kind.TEXT, None, None, [Block("x")]).to_json()
    with pytest.raises(ValueError, match=r"\w"):
        Extracted.from_json({**sound, "blocks": [{**sound["blocks"][0], **change}]})
