"""Files built at run time: honest ones of every kind, broken and hostile ones. The repository holds no binary."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage

import docx
import fpdf
import openpyxl
import pptx

DOCUMENT_XML = "word/document.xml"
WORDS = ("one", "two", "three", "four", "five", "six", "seven")


def pdf() -> bytes:
    """Two pages: a large heading, a bold heading, two paragraphs, and a head that runs over both."""
    paper = fpdf.FPDF()
    paper.set_author("Erika Mustermann")
    for number in (1, 2):
        paper.add_page()
        _write(paper, "B", 20, f"Part {number}: Leave")
        _write(paper, "B", 11, "Unpaid leave")
        _write(paper, "", 11, "Employees may take ten days, if the manager agrees in writing. " * 4)
        _write(paper, "", 11, "Apply four weeks before.")
    return bytes(paper.output())


def long_pdf(pages: int) -> bytes:
    paper = fpdf.FPDF()
    for number in range(1, pages + 1):
        paper.add_page()
        _write(paper, "", 9, f"ACME Handbook, page {number}")
        _write(paper, "", 11, f"Only page {number} says {WORDS[number - 1]}.")
        _write(paper, "", 11, "And a line that fills it.")
        _write(paper, "", 11, f"{number}")
    return bytes(paper.output())


def _write(paper: fpdf.FPDF, weight: str, size: int, text: str) -> None:
    paper.set_font("helvetica", weight, size)
    paper.multi_cell(0, size * 0.5, text, new_x="LMARGIN", new_y="NEXT")
    paper.ln(4)


def locked_pdf() -> bytes:
    paper = fpdf.FPDF()
    paper.set_encryption(owner_password="owner", user_password="user")
    paper.add_page()
    _write(paper, "", 11, "Nobody reads this.")
    return bytes(paper.output())


def pdf_by_hand(drawing: bytes, *, pages: int = 1, picture: bool = False) -> bytes:
    """A PDF whose pages all show the same drawing (PDF operators); `/F1` is a font and `/I1` a grey picture."""
    packed = zlib.compress(drawing, 9)
    resources = b"/Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
    resources += b" /XObject << /I1 5 0 R >>" if picture else b""
    pixel = b"/Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 /Length 1"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b"3 0 R " * pages, pages),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R /Resources << %s >> >>" % resources,
        b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(packed), packed),
        b"<< %s >>\nstream\n\x80\nendstream" % pixel,
    ]
    return _with_table(objects)


def filled_form() -> bytes:
    """A page with two labels and the field beside each, whose values are drawn by the fields alone."""
    labels = zlib.compress(b"BT /F1 12 Tf 20 150 Td (Name:) Tj 0 -60 Td (Town:) Tj ET")
    font = b"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    field = b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (%d) /V (%s) /F 4 /Rect [90 %d 190 %d] /AP << /N %d 0 R >> >>"
    drawn = b"<< /Type /XObject /Subtype /Form /BBox [0 0 100 20] %s /Length %d >>\nstream\n%s\nendstream"
    values = [b"BT /F1 12 Tf 2 5 Td (%s) Tj ET" % value for value in (b"Ada Lovelace", b"London")]
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [5 0 R 6 0 R] >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R %s /Annots [5 0 R 6 0 R] >>" % font,
        b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(labels), labels),
        field % (1, b"Ada Lovelace", 145, 165, 7),
        field % (2, b"London", 85, 105, 8),
        *(drawn % (font, len(value), value) for value in values),
    ]
    return _with_table(objects)


def _with_table(objects: list[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.4\n")
    starts = []
    for number, content in enumerate(objects, start=1):
        starts.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    lines = b"".join(b"%010d 00000 n \n" % start for start in starts)
    end = b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF"
    return bytes(out) + end % (len(objects) + 1, lines, len(objects) + 1, len(out))


def word() -> bytes:
    document = docx.Document()
    document.core_properties.author = "Erika Mustermann"
    document.add_heading("Travel policy", 0)
    document.add_heading("Meals", 1)
    document.add_paragraph("Up to 40 EUR a day.")
    document.add_paragraph("Keep the receipt", style="List Bullet")
    document.add_paragraph("seen ").add_run("unseen").font.hidden = True
    document.add_heading("Hotels", 1)
    table = document.add_table(3, 2)
    for row, values in enumerate([("City", "Limit"), ("Berlin", "140"), ("Paris", "180")]):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    return _saved(document.save)


def word_with(xml: str, prologue: str = "") -> bytes:
    """A Word file whose body begins with `xml`, after a document type if `prologue` gives one."""
    plain = word()
    return rezip(plain, {DOCUMENT_XML: lambda old: _insert(old, xml.encode(), prologue.encode())})


def _insert(old: bytes, xml: bytes, prologue: bytes) -> bytes:
    return old.replace(b"<w:document ", prologue + b"<w:document ", 1).replace(b"<w:body>", b"<w:body>" + xml, 1)


def rezip(archive: bytes, changes: dict[str, Callable[[bytes], bytes]]) -> bytes:
    """The archive with some members changed, or added where they are new."""
    source = zipfile.ZipFile(io.BytesIO(archive))
    members = {name: source.read(name) for name in source.namelist()}
    for name, change in changes.items():
        members[name] = change(members.get(name, b""))
    return zipped(members)


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            # its formats want the type of an archive readable without unpacking
            how = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            target.writestr(name, content, compress_type=how)
    return out.getvalue()


def slides() -> bytes:
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[1])
    slide.shapes.title.text = "Kickoff"
    slide.placeholders[1].text = "Goals\nDates"
    slide.notes_slide.notes_text_frame.text = "Thank the team"
    table = show.slides.add_slide(show.slide_layouts[6]).shapes.add_table(2, 2, 0, 0, 100, 100).table
    for row, values in enumerate([("Task", "Owner"), ("Budget", "Ada")]):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    return _saved(show.save)


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Prices"
    for row in (["Price list"], [], ["Item", "Price"], ["Bolt", 1.5], ["Nut", 2.0]):
        sheet.append(row)
    hidden = book.create_sheet("Secret")
    hidden.append(["password", "hunter"])
    hidden.sheet_state = "hidden"
    return _saved(book.save)


def mail() -> bytes:
    message = EmailMessage()
    message["From"] = "erika@example.com"
    message["To"] = "ada@example.com"
    message["Subject"] = "Offer 17"
    message.set_content("Dear Ada,\n\nplease find the prices.")
    message.add_attachment(workbook(), maintype="application", subtype="octet-stream", filename="prices.xlsx")
    message.add_attachment(b"\x89PNG\r\n\x1a\n", maintype="image", subtype="png", filename="logo.png")
    return message.as_bytes()


def forwarded(original: bytes) -> bytes:
    message = EmailMessage()
    message["From"] = "ada@example.com"
    message["To"] = "bob@example.com"
    message["Subject"] = "Fwd"
    message.set_content("See below.")
    message.add_attachment(message_from_bytes(original, policy=policy.default))
    return message.as_bytes()


def book(
    chapters: tuple[str, ...] = ("<h1>Morning</h1><p>It rained.</p>", "<h1>Evening</h1><p>It cleared.</p>"),
) -> bytes:
    items = "".join(
        f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in range(len(chapters))
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<dc:title>Weather</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OPS/package.opf"/></rootfiles></container>'
    )
    texts = {f"OPS/c{n}.xhtml": f"<html><body>{chapter}</body></html>".encode() for n, chapter in enumerate(chapters)}
    fixed = {"mimetype": b"application/epub+zip", "META-INF/container.xml": container.encode()}
    return zipped({**fixed, "OPS/package.opf": package.encode(), **texts})


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    save(out)
    return out.getvalue()
