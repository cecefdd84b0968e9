"""Which kind of file is this? Decided by content; the name only breaks ties.

Rules
- Binary kinds by their first bytes, ZIP kinds by what the archive holds, text kinds by how the text begins.
- A name never turns a binary file into text or the other way round. Between kinds of text it decides, unless the text
  plainly begins as HTML, JSON or a mail.
- A refusal says what to do with the file.
"""

from __future__ import annotations

import codecs
import re
import zipfile
from pathlib import PurePosixPath
from typing import BinaryIO

from departments.documents.extracted import Kind, Reason, UnsupportedFile
from departments.documents.extractors.decode import unmarked_utf16

__all__ = ["HEAD_BYTES", "Kind", "UnsupportedFile", "detect", "detect_file"]

HEAD_BYTES = 64 << 10

SAVE_AS_OFFICE = "Old Office files cannot be read. Save it as DOCX, PPTX or XLSX and upload it again."
WITHOUT_MACROS = "Word files with macros are not read. Save it as DOCX and upload it again."
UNPACK = "Archives are not opened. Unpack it and upload the files inside."
PICTURE = "Pictures are not read. Run text recognition (OCR), save the result as PDF and upload that."
MEDIA = "Sound and video are not read. Upload a transcript instead."
PROGRAM = "Programs are not read. Upload a document instead."
CONVERT = "This format is not read. Save it as DOCX or PDF and upload it again."
EXPORT_XML = "XML is not read. Export the data as CSV, JSON or PDF and upload that."
SAVE_MAIL = "Mails of Outlook's own format cannot be read. Save it as EML or PDF and upload it again."
MAILBOX = "Mailboxes of many mails are not read. Save the mails that matter one by one as EML and upload those."
EXPORT_TABLES = "Databases are not read. Export the tables as CSV and upload those."
BINARY = "This is not a text and not a known kind of document. Save it as PDF, DOCX or text and upload it again."

REFUSED_BEGINNINGS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", SAVE_AS_OFFICE),
    (b"SQLite format 3\x00", EXPORT_TABLES),
    (b"{\\rtf", CONVERT),
    (b"\x89PNG", PICTURE),
    (b"\xff\xd8\xff", PICTURE),
    (b"GIF8", PICTURE),
    (b"II*\x00", PICTURE),
    (b"MM\x00*", PICTURE),
    (b"RIFF", MEDIA),
    (b"ID3", MEDIA),
    (b"OggS", MEDIA),
    (b"\x1aE\xdf\xa3", MEDIA),
    (b"\x1f\x8b", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", UNPACK),
    (b"Rar!\x1a\x07", UNPACK),
    (b"BZh", UNPACK),
    (b"\xfd7zXZ\x00", UNPACK),
    (b"\x7fELF", PROGRAM),
    (b"MZ", PROGRAM),
)
# how the name "EncryptedPackage" stands in an Office file with a password, and what only a mail of Outlook holds
ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")
OUTLOOK = "__substg1.0_".encode("utf-16-le")
PICTURE_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis"})
TAR = slice(257, 262)
# the standard allows a little of anything before it
PDF_BEGINNING = re.compile(rb"(?:\A|[\r\n])\s*%PDF-\d")
ZIP_BEGINNING = b"PK\x03\x04"
ZIP_MEMBERS = (("word/document", Kind.DOCX), ("ppt/presentation", Kind.PPTX), ("xl/workbook", Kind.XLSX))
OPEN_DOCUMENT = b"application/vnd.oasis.opendocument"

NAMES = {
    ".md": Kind.MARKDOWN,
    ".markdown": Kind.MARKDOWN,
    ".csv": Kind.CSV,
    ".tsv": Kind.CSV,
    ".html": Kind.HTML,
    ".htm": Kind.HTML,
    ".xhtml": Kind.HTML,
    ".json": Kind.JSON,
    ".jsonl": Kind.JSON,
    ".ndjson": Kind.JSON,
    ".eml": Kind.EML,
}
# a log may begin like JSON and go on otherwise
PLAIN_NAMES = frozenset({".txt", ".text", ".log"})
ZIP_NAMES = {".docx": Kind.DOCX, ".pptx": Kind.PPTX, ".xlsx": Kind.XLSX, ".epub": Kind.EPUB}

HTML_BEGINNING = re.compile(
    r"\s{0,200}(?:<\?xml[^>]{0,200}>\s{0,200})?(?:<!--[^>]{0,2000}-->\s{0,200})?<(?:!doctype html|html)[\s>]",
    re.IGNORECASE,
)
XML_BEGINNING = re.compile(r"\s{0,200}<(?:\?xml|svg|!doctype)[\s>]", re.IGNORECASE)
JSON_BEGINNING = re.compile(r'\s{0,200}(?:\[\s{0,200})?\{\s{0,200}"(?:[^"\\]|\\.){0,200}"\s{0,200}:')
MAIL_FIELD = re.compile(
    r"^(?:return-path|received|from|to|cc|subject|date|message-id|mime-version|content-type|delivered-to|reply-to):",
    re.IGNORECASE,
)
MAILBOX_BEGINNING = re.compile(r"From \S{1,200} .{10,40}\r?\n[A-Za-z-]{2,40}: ")
CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def detect(head: bytes, filename: str) -> Kind:
    """The kind of a file by its first bytes (`HEAD_BYTES` are enough, fewer will do) and its name.

    An Office file or EPUB whose beginning does not tell is taken by its name; `detect_file` looks inside. Raises
    UnsupportedFile with a sentence for the person.
    """
    if not head.strip(b"\x00 \t\r\n"):
        raise UnsupportedFile(reason=Reason.EMPTY)
    if PDF_BEGINNING.search(head[:1024]):
        return Kind.PDF
    if head.startswith(ZIP_BEGINNING):
        return _kind_of_zip(_members_in_head(head), head, filename)
    _refuse_known_binary(head, filename)
    return _kind_of_text(_decode_head(head), filename)


def detect_file(file: BinaryIO, filename: str) -> Kind:
    """The kind of an open file, with a look at the directory of a ZIP. Leaves the file at its beginning."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head.startswith(ZIP_BEGINNING):
        return detect(head, filename)
    try:
        members = zipfile.ZipFile(file).namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UnsupportedFile(reason=Reason.CORRUPT) from error
    finally:
        file.seek(0)
    return _kind_of_zip(members, head, "")


def _members_in_head(head: bytes) -> list[str]:
    """Names of the members whose local headers begin within `head`; the name's length stands at offset 26."""
    starts = [match.start() for match in re.finditer(re.escape(ZIP_BEGINNING), head)]
    names = [head[at + 30 : at + 30 + int.from_bytes(head[at + 26 : at + 28], "little")] for at in starts]
    return [name.decode("utf-8", "replace") for name in names]


def _kind_of_zip(members: list[str], head: bytes, filename: str) -> Kind:
    if b"application/epub+zip" in head[:200] or "META-INF/container.xml" in members:
        return Kind.EPUB
    if OPEN_DOCUMENT in head[:200]:
        raise UnsupportedFile(CONVERT)
    for beginning, kind in ZIP_MEMBERS:
        if any(member.startswith(beginning) for member in members):
            return _refuse_odd_office(members, kind)
    if (kind_by_name := ZIP_NAMES.get(_suffix(filename))) is not None:
        return kind_by_name
    raise UnsupportedFile(UNPACK)


def _refuse_odd_office(members: list[str], kind: Kind) -> Kind:
    if "xl/workbook.bin" in members:
        raise UnsupportedFile(SAVE_AS_OFFICE)
    if "word/vbaProject.bin" in members:
        raise UnsupportedFile(WITHOUT_MACROS)
    return kind


def _refuse_known_binary(head: bytes, filename: str) -> None:
    if head.startswith(b"\xd0\xcf\x11\xe0") and ENCRYPTED_OFFICE in head:
        raise UnsupportedFile(reason=Reason.ENCRYPTED)
    if head.startswith(b"\xd0\xcf\x11\xe0") and (OUTLOOK in head or _suffix(filename) == ".msg"):
        raise UnsupportedFile(SAVE_MAIL)
    if head[8:12] == b"WEBP" and head.startswith(b"RIFF"):
        raise UnsupportedFile(PICTURE)
    if head[TAR] == b"ustar":
        raise UnsupportedFile(UNPACK)
    for beginning, sentence in REFUSED_BEGINNINGS:
        if head.startswith(beginning) and not _is_plain(head, beginning):
            raise UnsupportedFile(sentence)
    if head[4:8] == b"ftyp":
        raise UnsupportedFile(PICTURE if head[8:12] in PICTURE_BRANDS else MEDIA)


def _is_plain(head: bytes, beginning: bytes) -> bool:
    """A text may begin with "MZ" or "GIF8" by chance; a format that is binary has control bytes soon after."""
    return beginning != b"{\\rtf" and beginning.isalnum() and not CONTROLS.search(head[:512].decode("latin-1"))


def _decode_head(head: bytes) -> str:
    """The beginning as text, or a refusal. What is no Unicode passes as an old code page if it holds no controls."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head[: len(head) // 2 * 2].decode("utf-16", "replace")
    if encoding := unmarked_utf16(head):
        return head[: len(head) // 2 * 2].decode(encoding, "replace")
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        text = head.decode("latin-1")
    if len(CONTROLS.findall(text)) > len(text) // 200:
        raise UnsupportedFile(BINARY)
    return text


def _kind_of_text(text: str, filename: str) -> Kind:
    named = NAMES.get(_suffix(filename))
    if HTML_BEGINNING.match(text):
        return Kind.HTML
    if _begins_as_mail(text):
        return Kind.EML
    if MAILBOX_BEGINNING.match(text) and named is not Kind.EML:
        raise UnsupportedFile(MAILBOX)
    if XML_BEGINNING.match(text) and named is None:
        raise UnsupportedFile(EXPORT_XML)
    if named is None and _suffix(filename) not in PLAIN_NAMES and JSON_BEGINNING.match(text):
        return Kind.JSON
    return named or Kind.TEXT


def _begins_as_mail(text: str) -> bool:
    """At least three header fields that only mails have together, before the first blank line."""
    header = re.split(r"\r?\n\r?\n", text[:20_000], maxsplit=1)[0]
    fields = {match.group().lower() for line in header.splitlines() if (match := MAIL_FIELD.match(line))}
    return len(fields) >= 3 and "from:" in fields and bool(MAIL_FIELD.match(header))


def _suffix(filename: str) -> str:
    return PurePosixPath(filename).suffix.lower()
