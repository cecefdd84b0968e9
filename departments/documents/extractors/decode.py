"""Bytes of a text file as text: by its mark, as UTF-8, by what the file declares, or as the old Western code page."""

from __future__ import annotations

import codecs

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(data: bytes, declared: str | None = None) -> str:
    """Never raises: what cannot be decoded becomes U+FFFD, and cleaning takes the rest."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(_known_text_encoding(declared) or "cp1252", "replace")


def _known_text_encoding(name: str | None) -> str | None:
    """Python's codecs also hold compressors; only those for text may be named by a file."""
    try:
        return name if name and "".encode(name) is not None else None
    except (LookupError, ValueError):
        return None
