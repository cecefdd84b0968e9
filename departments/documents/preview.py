"""A page of a PDF as a picture with its passages outlined: what the model sees, beside what a person wrote.

Rules:
- The file is as hostile here as when it was read: it is drawn in the same kind of child process, with less time and
  memory, and what comes back is checked to be a picture.
- Two are drawn at a time in a process, by threads of their own: whoever leafs through a long file takes neither the
  processors from the answers nor the threads from uploads and downloads.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

from django.conf import settings

from departments.documents import statements
from departments.documents.extract import run_child
from departments.documents.extracted import ExtractionFailed, Kind, Limits, Reason
from departments.documents.originals import local_copy
from departments.documents.records import DocumentVersion
from departments.documents.store import Store

CHILD = "departments.documents.preview_child"
LIMITS = Limits(seconds=15, memory_bytes=768 << 20, output_bytes=24 << 20)
PIXELS_WIDE = 900
PNG = b"\x89PNG\r\n\x1a\n"
LONGEST_JOB = 100_000  # bytes of an argument; the kernel takes 128 KiB

_drawing = ThreadPoolExecutor(2, thread_name_prefix="preview")


def has_pages(version: DocumentVersion) -> bool:
    """Whether pages of this version can be shown as pictures."""
    return version.kind == Kind.PDF and bool(version.pages)


async def draw_page(
    store: Store, version: DocumentVersion, number: int, *, marked: int | None = None, generation: int | None = None
) -> bytes | None:
    """A PNG of page `number` (from 1) with the passages outlined; None where there is no such page.

    `marked` is the ordinal of the one that a citation leads to, `generation` the cutting that it knows.
    Raises ExtractionFailed where it cannot be drawn, FileNotFoundError where the original is gone, StoreDown.
    """
    if not has_pages(version) or not 1 <= number <= (version.pages or 0):
        return None
    passages = await _passages_on(store, version.id, number, generation)
    drawn = asyncio.get_running_loop().run_in_executor(_drawing, _draw, version.original_key, number, passages, marked)
    return await drawn


async def _passages_on(store: Store, version_id: UUID, number: int, generation: int | None) -> list[tuple[int, str]]:
    asked = {"id": version_id, "generation": generation, "page": str(number)}
    async with store.connection() as held:
        rows = await (await held.execute(statements.PASSAGES_ON_PAGE, asked)).fetchall()
    return [(row["ordinal"], row["text"]) for row in rows]


def _draw(key: str, number: int, passages: list[tuple[int, str]], marked: int | None) -> bytes:
    with local_copy(key) as path:
        return draw(path, number, passages, marked, ocr_languages=settings.OCR_LANGUAGES)


def draw(
    path: Path,
    number: int,
    passages: list[tuple[int, str]],
    marked: int | None = None,
    *,
    ocr_languages: str = "eng",
) -> bytes:
    """The picture of one page of the file at `path`. Raises ExtractionFailed."""
    passages = sorted(passages, key=lambda each: each[0] != marked)  # what a citation leads to is never left out
    job = {
        "limits": LIMITS.to_json(),
        "page": number,
        "wide": PIXELS_WIDE,
        "passages": passages,
        "marked": marked,
        "tesseract": shutil.which("tesseract"),
        "languages": ocr_languages,
    }
    while len(json.dumps(job).encode()) > LONGEST_JOB:
        passages.pop()
    passages.sort()  # they are looked for in the order in which they stand
    with path.open("rb") as file:
        answer, returncode = run_child(file, json.dumps(job), LIMITS, CHILD)
    return _picture(answer, returncode)


def _picture(answer: bytes, returncode: int) -> bytes:
    try:
        picture = base64.b64decode(json.loads(answer)["png"], validate=True) if returncode == 0 else b""
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError) as error:
        raise ExtractionFailed(Reason.CORRUPT) from error
    if not picture.startswith(PNG):
        raise ExtractionFailed(Reason.CORRUPT)
    return picture
