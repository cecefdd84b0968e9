"""The child process that draws one page: `python -m departments.documents.preview_child JOB`, by preview.py only.

The file is standard input; JOB is JSON: limits, page (from 1), wide (pixels), passages (ordinal and text). The answer
is one JSON object on standard output: {"png": base64}. The same limits and refusals hold as in extract_child.py.
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

from departments.documents.extract_child import refuse_ways_out, set_limits
from departments.documents.extracted import Limits

INK = (11, 107, 91)
EDGE = 4  # pixels around the letters
ENDS = 48  # letters by which the beginning and the end of a passage are found


def main(job: str) -> None:
    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    fields = json.loads(job)
    set_limits(Limits.from_json(fields["limits"]))
    refuse_ways_out(None)
    message = json.dumps({"png": base64.b64encode(_draw(fields)).decode()}).encode()
    with os.fdopen(answer, "wb") as pipe:
        pipe.write(message)


def _draw(fields: dict[str, Any]) -> bytes:
    # imported late: the libraries are to load under the limits
    import pypdfium2
    from PIL import ImageDraw

    with os.fdopen(0, "rb") as file:
        page = pypdfium2.PdfDocument(file)[fields["page"] - 1]
        width, height = page.get_size()
        # a page that is a thin strip must not become a picture of a million lines
        scale = min(fields["wide"] / max(1.0, width), 2 * fields["wide"] / max(1.0, height))
        picture = page.render(scale=scale).to_pil().convert("RGB")
        pen = ImageDraw.Draw(picture)
        for ordinal, box in _boxes(page, fields["passages"]):
            left, bottom, right, top = (scale * each for each in box)
            upper, lower = height * scale - top, height * scale - bottom
            pen.rectangle((left - EDGE, upper - EDGE, right + EDGE, lower + EDGE), outline=INK, width=2)
            pen.text((right - 18, upper - 1), str(ordinal + 1), fill=INK)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _boxes(page: Any, passages: list[tuple[int, str]]) -> Iterator[tuple[int, tuple[float, float, float, float]]]:
    """Where each passage stands on the page, in points from the lower left corner; what is not found is left out."""
    import pypdfium2.raw as pdfium

    text = page.get_textpage()
    letters: list[str] = []
    places: list[int] = []
    for index in range(text.count_chars()):
        for letter in _plain(chr(pdfium.FPDFText_GetUnicode(text, index))):
            letters.append(letter)
            places.append(index)
    whole = "".join(letters)
    after = 0
    for ordinal, passage in passages:
        found = _find(whole, _plain(passage), after)
        if found is None:
            continue
        first, last = found
        after = first + 1
        boxes = [text.get_charbox(places[each], loose=True) for each in range(first, last)]
        yield (
            ordinal,
            (
                min(box[0] for box in boxes),
                min(box[1] for box in boxes),
                max(box[2] for box in boxes),
                max(box[3] for box in boxes),
            ),
        )


def _find(whole: str, passage: str, after: int) -> tuple[int, int] | None:
    """Where a passage begins and ends: by its whole text, else by its first and last letters."""
    if not passage:
        return None
    at = whole.find(passage, after)
    if at >= 0:
        return at, at + len(passage)
    first, last = whole.find(passage[:ENDS], after), whole.rfind(passage[-ENDS:])
    return (first, last + len(passage[-ENDS:])) if 0 <= first <= last else None


def _plain(text: str) -> str:
    """Letters and digits only, in one case: spaces, hyphens and line ends differ between the page and the passage."""
    return "".join(each for each in unicodedata.normalize("NFKC", text).casefold() if each.isalnum())


if __name__ == "__main__":
    main(sys.argv[1])
