"""Names that people and their computers gave to files, made fit to be shown. They never become part of our paths.

A name is shown, kept in the record and sent with every question that finds the document: one that looks like a key is
refused, wherever the file comes from.
"""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

from departments.keys.patterns import contains_key
from departments.keys.redaction import without_keys

LONGEST_NAME = 200
LONGEST_PATH = 2_000  # bytes; the store finds files by their paths, and an index of PostgreSQL holds 2,704
KEY_IN_NAME = "Its name holds something that looks like a key: it is not taken. Rename it, and have the key exchanged."
NOT_UTF8 = "Its name is not in UTF-8, so nobody could find it again. Rename it."
TOO_DEEP = f"Its path is longer than {LONGEST_PATH:,} bytes. Move it further up."


def clean_filename(name: str) -> str:
    """A name fit to be shown: the last part of any path, without control characters, at most `LONGEST_NAME` long."""
    last = PurePosixPath(name.replace("\\", "/")).name
    shown = "".join(character for character in last if unicodedata.category(character)[0] != "C").strip()
    stem, dot, extension = shown.rpartition(".")
    if len(shown) > LONGEST_NAME and dot and len(extension) < 10:
        shown = f"{stem[: LONGEST_NAME - len(extension) - 1]}.{extension}"
    return shown[:LONGEST_NAME] or "document"


def clean_folder(path: str) -> str:
    """Where a file stood, fit to be shown: "Policies/2026", the end of it where it is long."""
    parts = [clean_filename(part) for part in path.replace("\\", "/").split("/") if part.strip(" .")]
    return "/".join(parts)[-LONGEST_NAME:].lstrip("/")


def holds_key(folder: str, filename: str) -> bool:
    """Whether a name or a folder, fit to be shown, holds something key-shaped."""
    return contains_key(filename) or contains_key(folder)


def oddity_of(path: str) -> str:
    """Why a file with this path of a folder or a bucket cannot be taken; empty if it can."""
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return NOT_UTF8
    if length > LONGEST_PATH:
        return TOO_DEEP
    folder, _, name = path.rpartition("/")
    return KEY_IN_NAME if holds_key(path, clean_filename(name)) or contains_key(clean_folder(folder)) else ""


def shown_path(path: str) -> str:
    """The end of a path, fit to be shown and kept: without keys, control characters, and bytes that are no text."""
    readable = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return without_keys("".join(each for each in readable if unicodedata.category(each)[0] != "C"))[-LONGEST_NAME:]
