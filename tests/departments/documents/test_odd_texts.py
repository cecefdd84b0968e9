"""Texts, mails and books as programs write them: broken letters, lines that Unicode ends, packed mails, books that are
XML to the letter. Nothing is lost in silence; what cannot be read says what to do."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Callable

import pytest

from departments.documents.detect import detect_file
from departments.documents.extracted import Extracted, ExtractionFailed, Reason
from departments.documents.extractors.collect import read
from departments.documents.extractors.draft import Options
from tests.departments.documents.files import book, forwarded, mail, rezip

POLISH = "Zażółć gęślą jaźń. Urlop wynosi dwadzieścia sześć dni."


def extracted(content: bytes | str, name: str) -> Extracted:
    file = io.BytesIO(content if isinstance(content, bytes) else content.encode())
    return read(file, Options(detect_file(file, name)))


def texts(content: bytes | str, name: str) -> list[str]:
    return [block.text for block in extracted(content, name).blocks]


def refusal(content: bytes | str, name: str) -> ExtractionFailed:
    with pytest.raises(ExtractionFailed) as refused:
        extracted(content, name)
    return refused.value


# -- text


@pytest.mark.parametrize("broken", ["Größe " * 30 + "Ende", "die Maße" + "ß" * 40])
def test_a_text_with_one_broken_letter_is_read_all_the_same(broken: str) -> None:
    [text] = texts(broken.encode()[:-1] + b"\xc3", "a.txt")
    assert text[:-3] == broken[: len(text) - 3]


@pytest.mark.parametrize("encoding", ["cp1250", "iso8859-2"])
def test_polish_of_an_old_encoding_is_refused_and_never_garbled(encoding: str) -> None:
    assert "UTF-8" in refusal(POLISH.encode(encoding), "a.txt").sentence
    assert texts(POLISH, "a.txt") == [POLISH]


@pytest.mark.parametrize(
    "text",
    [
        "Café déjà vu – naïve façade, l’été passé dans la maison… «Ça va aller pour toute la semaine?»",
        "Mañana sale la 1ª edición, ¿qué tal la semana? ¡Sí, bien! Con 20°C, 5µm, W/m²K, durante 3½ h",
        "Größe: 10 m³/h • Preis 5€ § 3 Abs. 1 ©2026 Firma® Soft\u00adtrennung",
    ],
)
def test_western_text_of_an_old_code_page_is_read(text: str) -> None:
    assert texts(text.encode("cp1252"), "a.txt") == [text.replace("\u00ad", "")]


def test_text_between_two_rules_is_no_front_matter() -> None:
    assert texts("---\n\nText after a rule\n\n---\n\nMore\n", "a.md") == ["Text after a rule", "More"]


@pytest.mark.parametrize(
    ("front", "title"),
    [
        ('+++\ntitle = "Travel"\nauthor = "Erika"\n+++\n', "Travel"),
        ("---\n# made by hand\nauthor: Erika\ntitle: Travel\n---\n", "Travel"),
        ("---\ntitle: >\n  Travel\n  abroad\nauthor: Erika\n---\n", "Meals"),
    ],
)
def test_of_any_front_matter_only_the_title_is_kept(front: str, title: str) -> None:
    found = extracted(f"{front}# Meals\n\nForty euro.\n", "a.md")
    assert found.title == title
    assert "Erika" not in str(found.to_json())
    assert [block.text for block in found.blocks] == ["Meals", "Forty euro."]


# -- JSON


def test_a_line_end_of_unicode_inside_a_string_ends_no_line_of_json() -> None:
    assert texts('{"a": "one\u2028two"}\n{"a": "three\u0085four"}\n', "a.jsonl") == [
        "[0].a: one\ntwo\n[1].a: three\nfour"
    ]


def test_what_is_no_number_stays_as_it_is_written() -> None:
    assert texts('{"a": NaN, "b": -Infinity}', "a.json") == ["a: NaN\nb: -Infinity"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_broken_line_of_json_is_named(name: str) -> None:
    assert refusal('{"a": 1}\n{"a": 2\n{"a": 3}\n', name).sentence.startswith("Line 2 of this file is no JSON.")


# -- what is no document


def tape() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    return out.getvalue()


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"RIFF\x10\x00\x00\x00WEBPVP8 " + b"\x00" * 50, "a.pdf", "Pictures are not read"),
        (b"\x00\x00\x00\x18ftypheic" + b"\x00" * 50, "a.pdf", "Pictures are not read"),
        (b"\x00\x00\x00\x18ftypisom" + b"\x00" * 50, "a.pdf", "Sound and video"),
        (OLE, "a.msg", "as EML"),
        (OLE + "__substg1.0_0037001F".encode("utf-16-le"), "a", "as EML"),
        (OLE, "a.doc", "as DOCX"),
        (b"SQLite format 3\x00" + b"\x00" * 100, "a.csv", "as CSV"),
        (tape(), "a.txt", "Unpack it"),
        (b"From a@example.com Mon Jan  1 10:00:00 2026\nFrom: a@example.com\n\nHello\n", "a.mbox", "one by one"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_named_and_says_what_to_do(content: bytes, name: str, says: str) -> None:
    assert says in refusal(content, name).sentence


# -- mails


def message(kind: str, body: bytes, encoding: str = "8bit") -> bytes:
    head = f"From: a@example.com\r\nTo: b@example.com\r\nSubject: s\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body


def test_a_mail_too_deep_inside_others_is_said_to_be_left_out() -> None:
    found = extracted(forwarded(forwarded(mail())), "a.eml")
    assert [warning for warning in found.warnings if "a mail inside a mail" in warning]
    assert "please find the prices" not in str(found.to_json())


def test_a_mail_that_a_server_packed_inside_another_is_read() -> None:
    inner = base64.encodebytes(mail())
    body = b"--B\r\nContent-Type: text/plain\r\n\r\nouter\r\n--B\r\nContent-Type: message/rfc822\r\n"
    body += b"Content-Transfer-Encoding: base64\r\n\r\n" + inner + b"\r\n--B--\r\n"
    found = "\n".join(texts(message("multipart/mixed; boundary=B", body), "a.eml"))
    assert "please find the prices" in found
    assert inner[:60].decode() not in found


def test_the_page_of_a_mail_may_name_its_own_alphabet() -> None:
    page = b"<html><head><meta charset=gb2312></head><p>" + "会议在星期一举行".encode("gb2312") + b"</p></html>"
    assert texts(message("text/html", page), "a.eml")[-1] == "会议在星期一举行"


@pytest.mark.parametrize(
    "locked",
    [
        message("application/pkcs7-mime; smime-type=enveloped-data", b"MIIBIjANBgkqhkiG", "base64"),
        message("multipart/encrypted; boundary=B", b"--B\r\nContent-Type: text/plain\r\n\r\n1\r\n--B--\r\n"),
    ],
)  # fmt: skip
def test_an_encrypted_mail_is_refused_and_as_an_attachment_left_out(locked: bytes) -> None:
    failure = refusal(locked, "a.eml")
    assert failure.reason is Reason.ENCRYPTED
    found = extracted(forwarded(locked), "a.eml")
    assert any(failure.sentence in warning for warning in found.warnings)


# -- pages and books


XML = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">'


def test_a_page_that_is_xml_to_the_letter_is_read_to_its_end() -> None:
    head = f'{XML}<head><title/><script src="a.js"/></head>'
    page = f'{head}<body><p>One<br/>two</p><span hidden=""/><p>Three</p></body></html>'
    assert texts(page, "a.xhtml") == ["One\ntwo", "Three"]


def changed(change: Callable[[bytes], bytes], member: str = "OPS/package.opf") -> bytes:
    return rezip(book(), {member: change})


def test_a_book_whose_chapters_are_xml_to_the_letter_is_read() -> None:
    chapter = f"{XML}<head><title/></head><body><p>It rained.</p></body></html>".encode()
    assert "It rained." in texts(changed(lambda _: chapter, "OPS/c0.xhtml"), "a.epub")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'href="c1.xhtml"', b'href="./c1.xhtml#top"'),
        (b'<itemref idref="c0"/>', b'<itemref idref="c0"/><itemref idref="c0"/><itemref idref="none"/>'),
        (b'<spine><itemref idref="c0"/><itemref idref="c1"/></spine>', b"<spine/>"),
    ],
)
def test_an_odd_order_of_a_book_loses_and_repeats_nothing(old: bytes, new: bytes) -> None:
    content = changed(lambda package: package.replace(old, new))
    assert content != book()
    assert texts(content, "a.epub") == ["Morning", "It rained.", "Evening", "It cleared."]


def test_a_chapter_that_a_book_lacks_is_said() -> None:
    found = extracted(changed(lambda package: package.replace(b"c1.xhtml", b"c9.xhtml")), "a.epub")
    assert found.warnings == ["Chapters that the book names and does not hold: 1. Check that the file is whole."]


@pytest.mark.parametrize(("locked", "opens"), [("OPS/c1.xhtml", False), ("OPS/font.otf", True)])
def test_a_book_with_encrypted_chapters_is_refused_and_one_with_encrypted_fonts_is_not(
    locked: str, opens: bool
) -> None:
    names = (
        f'<encryption xmlns="urn:x"><a xmlns="http://www.w3.org/2001/04/xmlenc#"><CipherReference URI="{locked}"/></a>'
    )
    content = changed(lambda _: f"{names}</encryption>".encode(), "META-INF/encryption.xml")
    if opens:
        assert "It cleared." in texts(content, "a.epub")
    else:
        assert refusal(content, "a.epub").reason is Reason.ENCRYPTED
