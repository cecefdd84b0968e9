"""Names that people and their computers gave to files, made fit to be shown. They never become part of our paths."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

LONGEST_NAME = 200


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
