"""Kinds of files are told by content, and names only break ties."""

from __future__ import annotations

import io
import os
import time

import pytest

from departments.documents.detect import HEAD_BYTES, Kind, UnsupportedFile, detect, detect_file
from departments.documents.extracted import Reason
from tests.departments.documents import files

HTML = b"<!-- page -->\n<!DOCTYPE html><html><body>x"
MAIL = b"Received: by host\nFrom: a@example.com\nSubject: x\nDate: today\n\nHello"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (files.pdf(), Kind.PDF),
        (files.word(), Kind.DOCX),
        (files.slides(), Kind.PPTX),
        (files.workbook(), Kind.XLSX),
        (files.book(), Kind.EPUB),
        (HTML, Kind.HTML),
        (MAIL, Kind.EML),
        (b'{"name": "x"}', Kind.JSON),
        (b'[{"name": "x"}]', Kind.JSON),
        (b"Just a letter.", Kind.TEXT),
        ("Grüße".encode("latin-1"), Kind.TEXT),
        ("Grüße".encode("utf-16"), Kind.TEXT),
        (b"[1] is a footnote and no JSON", Kind.TEXT),
        (b"A PDF begins with %PDF-1.7, says the standard.", Kind.TEXT),
        (b"MZ is also how a sentence may begin.", Kind.TEXT),
    ],
)
def test_it_tells_the_kind_by_content_under_a_name_that_says_nothing(content: bytes, kind: Kind) -> None:
    assert detect_file(io.BytesIO(content), "upload") is kind
    assert detect_file(io.BytesIO(content), "upload.exe") is kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.md", Kind.MARKDOWN), ("a.CSV", Kind.CSV), ("a.tsv", Kind.CSV), ("a.html", Kind.HTML), ("a.txt", Kind.TEXT)],
)
def test_it_lets_the_name_decide_between_kinds_of_text(name: str, kind: Kind) -> None:
    assert detect(b"a,b\n1,2\n", name) is kind


@pytest.mark.parametrize(("content", "kind"), [(files.pdf(), Kind.PDF), (files.word(), Kind.DOCX), (HTML, Kind.HTML)])
def test_it_is_not_misled_by_a_wrong_name(content: bytes, kind: Kind) -> None:
    assert detect_file(io.BytesIO(content), "notes.txt") is kind
    assert detect_file(io.BytesIO(content), "sheet.csv") is kind


def test_it_takes_a_log_for_text_although_its_first_line_is_json() -> None:
    assert detect(b'{"level": "info"}\nand then a trace', "server.log") is Kind.TEXT


def test_it_does_not_take_a_text_for_a_pdf_because_of_its_name() -> None:
    assert detect(b"Just a letter.", "letter.pdf") is Kind.TEXT


def test_it_takes_an_office_file_by_name_when_only_its_beginning_is_there() -> None:
    beginning = files.zipped({"docProps/app.xml": os.urandom(HEAD_BYTES), "word/document.xml": b""})[:HEAD_BYTES]

    assert detect(beginning, "report.docx") is Kind.DOCX
    with pytest.raises(UnsupportedFile):
        detect(beginning, "report")


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"\x89PNG\r\n\x1a\n", "OCR"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 old office", "DOCX"),
        (b"{\\rtf1 hello}", "DOCX"),
        (b"\x1f\x8b\x08\x00", "Unpack"),
        (files.zipped({"a.txt": b"a", "b.txt": b"b"}), "Unpack"),
        (files.zipped({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": b""}), "DOCX"),
        (files.zipped({"xl/workbook.bin": b""}), "XLSX"),
        (files.rezip(files.word(), {"word/vbaProject.bin": lambda old: b""}), "macros"),
        (b"\x7fELF\x02\x01\x01", "Programs"),
        (b"\x00\x00\x00\x20ftypisom", "video"),
        (b"<?xml version='1.0'?><svg onload='x()'/>", "CSV"),
        (bytes(range(256)) * 8, "text"),
    ],
)
def test_it_refuses_what_it_cannot_read_and_says_what_to_do(content: bytes, advice: str) -> None:
    with pytest.raises(UnsupportedFile, match=advice) as refusal:
        detect_file(io.BytesIO(content), "upload")
    assert refusal.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\x00" * 100])
def test_it_calls_a_file_without_content_empty(content: bytes) -> None:
    with pytest.raises(UnsupportedFile) as refusal:
        detect(content, "a.txt")
    assert refusal.value.reason is Reason.EMPTY


def test_it_knows_an_office_file_with_a_password() -> None:
    content = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600 + "EncryptedPackage".encode("utf-16-le")
    with pytest.raises(UnsupportedFile) as refusal:
        detect(content, "a.docx")
    assert refusal.value.reason is Reason.ENCRYPTED


@pytest.mark.parametrize("beginning", [b"<!--" * 20_000, b" " * 64_000, b'{"' + b"\\" * 60_000, b"From: a\n" * 8_000])
def test_it_decides_quickly_whatever_the_text(beginning: bytes) -> None:
    started = time.thread_time()
    detect(beginning + b"x", "a.txt")
    assert time.thread_time() - started < 0.5
