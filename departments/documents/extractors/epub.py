"""EPUB: the chapters in the order of the spine, each once and read as HTML; without a spine, in the order of the list.

Members are looked up by name in the archive and never written to a disk, so a path inside it leads nowhere else. XML is
parsed by defusedxml: no entities, no external files.
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import unquote

from defusedxml import ElementTree  # type: ignore[import-untyped]

from departments.documents.extracted import Block, ExtractionFailed, Locator, Reason
from departments.documents.extractors.decode import decode
from departments.documents.extractors.draft import Draft, Headings, Options, check_pages
from departments.documents.extractors.html import read_html

CONTAINER = "META-INF/container.xml"
RIGHTS = "META-INF/rights.xml"
ENCRYPTION = "META-INF/encryption.xml"  # names fonts of books that are open, and chapters of books that are not
PROTECTED = "This book is protected against copying and cannot be read. Upload a copy without protection."
MISSING = "Chapters that the book names and does not hold: {count}. Check that the file is whole."
PAGES_OF_TEXT = frozenset({"application/xhtml+xml", "text/html"})


def extract(file: BinaryIO, options: Options) -> Draft:
    archive = zipfile.ZipFile(file)
    if RIGHTS in archive.namelist():
        raise ExtractionFailed(Reason.ENCRYPTED, PROTECTED)
    package_name = _xml(archive, CONTAINER).find(".//{*}rootfile").attrib["full-path"]
    package = _xml(archive, package_name)
    title = package.find(".//{http://purl.org/dc/elements/1.1/}title")
    chapters = _chapters(package, posixpath.dirname(package_name))
    check_pages(len(chapters), options.limits)
    if not _encrypted(archive).isdisjoint(chapters):
        raise ExtractionFailed(Reason.ENCRYPTED, PROTECTED)
    missing = set(chapters) - set(archive.namelist())
    warnings = [MISSING.format(count=len(missing))] if missing else []
    return Draft(_blocks(archive, chapters), title=title.text if title is not None else None, warnings=warnings)


def _xml(archive: zipfile.ZipFile, name: str) -> Any:
    return ElementTree.fromstring(archive.read(name))


def _encrypted(archive: zipfile.ZipFile) -> set[str]:
    """Names of the members that cannot be read without a key."""
    if ENCRYPTION not in archive.namelist():
        return set()
    return {unquote(each.get("URI", "")) for each in _xml(archive, ENCRYPTION).findall(".//{*}CipherReference")}


def _chapters(package: Any, folder: str) -> list[str]:
    """Names of the members in reading order. What is marked as not linear (covers, notes) comes as the book has it."""
    items = {
        item.get("id"): posixpath.normpath(posixpath.join(folder, unquote(item.get("href", "").partition("#")[0])))
        for item in package.findall(".//{*}manifest/{*}item")
        if item.get("media-type") in PAGES_OF_TEXT and "nav" not in (item.get("properties") or "").split()
    }
    order = [reference.get("idref") for reference in package.findall(".//{*}spine/{*}itemref")]
    return list(dict.fromkeys(items[name] for name in order if name in items)) or list(items.values())


def _blocks(archive: zipfile.ZipFile, chapters: list[str]) -> Iterator[Block]:
    present = set(archive.namelist())
    for number, name in enumerate(chapters, start=1):
        if name in present:
            text = decode(archive.read(name))
            yield from read_html(text, Locator(section=f"Chapter {number}"), Headings())[1]
