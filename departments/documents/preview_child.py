"""The child process that draws one page: `python -m departments.documents.preview_child JOB`, by preview.py only.

The file is standard input; JOB is JSON: limits, page (from 1), wide (pixels), passages (ordinal and text), marked (an
ordinal or null), the path of tesseract or null, its languages. The answer is one JSON object on standard output:
{"png": base64}. The same limits and refusals hold as in extract_child.py.
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from departments.documents.extract_child import refuse_ways_out, set_limits
from departments.documents.extracted import Limits

if TYPE_CHECKING:
    from departments.documents.extractors.pdf_places import Area

INK, MARK, FILL = (11, 107, 91), (176, 80, 0), (255, 196, 0, 70)
PAPER, NUMBER_SIZE = (255, 255, 255), 16
EDGE = 4  # pixels around the letters


def main(job: str) -> None:
    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    fields = json.loads(job)
    set_limits(Limits.from_json(fields["limits"]))
    refuse_ways_out(fields["tesseract"])
    message = json.dumps({"png": base64.b64encode(_draw(fields)).decode()}).encode()
    with os.fdopen(answer, "wb") as pipe:
        pipe.write(message)


def _draw(fields: dict[str, Any]) -> bytes:
    # imported late: the libraries are to load under the limits
    import pypdfium2

    from departments.documents.extractors.ocr import Tesseract
    from departments.documents.extractors.pdf_lines import load_page
    from departments.documents.extractors.pdf_places import places_of

    with os.fdopen(0, "rb") as file:
        page, _ = load_page(pypdfium2.PdfDocument(file), fields["page"] - 1)
        tesseract = Tesseract(fields["tesseract"], fields["languages"]) if fields["tesseract"] else None
        areas = places_of(page, fields["passages"], tesseract)
        width, height = page.get_size()
        # a page that is a thin strip must not become a picture of a million lines
        scale = min(fields["wide"] / max(1.0, width), 2 * fields["wide"] / max(1.0, height))
        picture = page.render(scale=scale).to_pil().convert("RGB")
    for ordinal, area in areas:
        _outline(picture, area, str(ordinal + 1), is_marked=ordinal == fields["marked"])
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _outline(picture: Any, area: Area, number: str, *, is_marked: bool) -> None:
    """A frame around an area (in shares of the page) with its number; filled where a citation leads there."""
    from PIL import ImageDraw, ImageFont

    wide, high = picture.size
    frame = (
        area.left * wide - EDGE,
        area.top * high - EDGE,
        area.right * wide + EDGE,
        area.bottom * high + EDGE,
    )
    if is_marked:
        ImageDraw.Draw(picture, "RGBA").rectangle(frame, fill=FILL)
    pen, ink = ImageDraw.Draw(picture), MARK if is_marked else INK
    pen.rectangle(frame, outline=ink, width=3 if is_marked else 2)
    # the number stands in the margin, where it covers no word
    font, label = ImageFont.load_default(NUMBER_SIZE), f" {number} "
    length = pen.textlength(label, font)
    left, top = min(frame[2], wide - length), frame[1]
    pen.rectangle((left, top, left + length, top + NUMBER_SIZE + EDGE), fill=ink)
    pen.text((left, top), label, PAPER, font)


if __name__ == "__main__":
    main(sys.argv[1])
