"""Text recognition by tesseract: the lines of a page that is a picture, and the words on it with their places.

Errors of its own mean that nothing was recognised. It runs in the child processes only, which may start nothing else
(extract_child.py).
"""

from __future__ import annotations

import csv
import subprocess
from dataclasses import dataclass
from typing import Any

from departments.documents.extractors.pdf_lines import Box

SCALE = 200 / 72
MOST_PIXELS = 12_000_000
WORD_LEVEL = "5"  # of tesseract's table: page, block, paragraph, line, word
PATIENCE = 8  # seconds for the words: a picture without outlines is better than none
FOUND_OUT = "1"  # how the page is turned and divided; without its data for turning it reads pages as they are


@dataclass(frozen=True)
class Tesseract:
    """Where the program is, and the languages it looks for in its notation ("eng+deu")."""

    path: str
    languages: str

    def lines(self, page: Any) -> list[str]:
        """What a page says, line by line, with blank ones between paragraphs; as long as it takes."""
        return self._run(page, None).splitlines()

    def words(self, page: Any) -> list[tuple[str, Box]]:
        """The words of a page as it is shown, in the order of its lines, with their boxes in points."""
        try:
            table = self._run(page, PATIENCE, "tsv")
        except subprocess.TimeoutExpired:
            return []
        high, size = page.get_size()[1], _scale(page)
        rows = csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["text"], _box(row, size, high)) for row in rows if row["level"] == WORD_LEVEL and row["text"]]

    def _run(self, page: Any, seconds: float | None, *how: str) -> str:
        command = [self.path, "stdin", "stdout", "-l", self.languages, "--psm", FOUND_OUT, *how]
        done = subprocess.run(command, input=_as_pgm(page), capture_output=True, check=False, timeout=seconds)
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _box(row: dict[str, str], scale: float, high: float) -> Box:
    """From pixels below the upper edge to points above the lower one."""
    left, top, wide, tall = (int(row[name]) / scale for name in ("left", "top", "width", "height"))
    return Box(left, high - top - tall, left + wide, high - top)


def _scale(page: Any) -> float:
    """A huge page is drawn smaller."""
    width, height = page.get_size()
    scale: float = min(SCALE, (MOST_PIXELS / max(1.0, width * height)) ** 0.5)
    return scale


def _as_pgm(page: Any) -> bytes:
    """The page in shades of grey, in the simplest picture format there is."""
    bitmap = page.render(scale=_scale(page), grayscale=True)
    buffer = bytes(bitmap.buffer)
    rows = (buffer[row * bitmap.stride : row * bitmap.stride + bitmap.width] for row in range(bitmap.height))
    return b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + b"".join(rows)
