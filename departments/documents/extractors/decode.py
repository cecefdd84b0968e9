"""Bytes of a text file as text: by its mark, as UTF-8, by what the file declares, or as the old Western code page.

UTF-8 with a few broken letters, as where a file was cut off, is UTF-8: no other encoding looks like it by chance.
An old code page of another alphabet that nothing declares cannot be told from garbage: such a file is refused with what
to do, because text that nobody can read would be searched and cited all the same.
"""

from __future__ import annotations

import codecs
import re

from departments.documents.extracted import ExtractionFailed, Reason

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


XML_ENCODING = re.compile(rb"<\?xml[^>]{0,100}encoding\s{0,5}=\s{0,5}[\"']([A-Za-z0-9_-]{1,40})", re.IGNORECASE)
WESTERN_SHARE = 0.3  # of all letters, that have an accent at most in any language of that code page
SAMPLED_BYTES = 200_000
# signs of that code page that stand in no Western word: between two letters they are letters of another alphabet.
# Not among them: apostrophes, dashes, soft hyphens, spaces, trade marks, and powers such as in W/m\u00b2K
NO_LETTERS = (
    "\u00a1-\u00a8\u00ac\u00af\u00b3\u00b4\u00b6\u00b8\u00b9\u00bb-\u00bf\u02c6\u02dc\u2020\u2021\u2022\u2030\ufffd"
)
INSIDE_WORD = re.compile(rf"(?<=[^\W\d_])[{NO_LETTERS}](?=[^\W\d_])")
FEWEST_SIGNS = 2  # different ones
BROKEN_SHARE = 0.05  # of the letters beyond ASCII of a text that is UTF-8 all the same
OLD_ENCODING = (
    "The letters of this text are in an old encoding that the file does not name. "
    "Open it where it can be read, save it as UTF-8 and upload it again."
)


def decode(data: bytes, declared: str | None = None) -> str:
    """The text; what cannot be decoded becomes U+FFFD, and cleaning takes the rest. ExtractionFailed: see above."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if unmarked := unmarked_utf16(data):
        return data.decode(unmarked, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if _is_nearly_utf8(data):
            return data.decode("utf-8", "replace")
        known = _known_text_encoding(declared or _declared_by_xml(data))
        if known is None and _is_foreign(data):
            raise ExtractionFailed(Reason.UNSUPPORTED, OLD_ENCODING) from None
        return data.decode(known or "cp1252", "replace")


def _is_nearly_utf8(data: bytes) -> bool:
    text = data.decode("utf-8", "replace")
    beyond = sum(letter > "\x7f" for letter in text)
    return 0 < text.count("\ufffd") <= BROKEN_SHARE * beyond


def unmarked_utf16(data: bytes) -> str | None:
    """The byte order of UTF-16 without a mark: letters of most alphabets' basics leave every second byte empty."""
    head = data[: 512 // 2 * 2]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if len(head) < 8 or max(even, odd) < len(head) * 0.35 or min(even, odd) > len(head) * 0.02:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _declared_by_xml(data: bytes) -> str | None:
    found = XML_ENCODING.match(data[:200].lstrip())
    return found.group(1).decode() if found else None


def _is_foreign(data: bytes) -> bool:
    """More letters beyond ASCII than any Western text has, or signs where only letters stand."""
    sample = data[:SAMPLED_BYTES]
    beyond = sum(byte >= 0x80 for byte in sample)
    letters = beyond + sum(65 <= byte <= 90 or 97 <= byte <= 122 for byte in sample)
    signs = set(INSIDE_WORD.findall(sample.decode("cp1252", "replace")))
    return beyond > WESTERN_SHARE * letters or len(signs) >= FEWEST_SIGNS


def _known_text_encoding(name: str | None) -> str | None:
    """Python's codecs also hold compressors; only those for text may be named by a file."""
    try:
        return name if name and "".encode(name) is not None else None
    except (LookupError, ValueError):
        return None
