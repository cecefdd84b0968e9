"""Pages of a PDF as pictures with outlined passages, drawn where a file can do no harm; OCR with the real tool."""

from __future__ import annotations

import asyncio
import io
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
from django.urls import reverse
from fpdf import FPDF
from PIL import Image, ImageDraw, ImageFont

from departments.documents import preview
from departments.documents.extract import Limits, extract
from departments.documents.extracted import ExtractionFailed
from departments.documents.ingest import ingest_version
from departments.documents.records import State
from departments.documents.store import open_store
from departments.documents.uploads import accept_upload
from departments.models import Department
from tests.company import Company, signed_in
from tests.departments.documents import files
from tests.departments.documents.shelf import LEAVE, add, execute, ready, version_of
from tests.provider import Provider

INK, MARK = (11, 107, 91), (176, 80, 0)


@pytest.fixture
def hr(company: Company, provider: Provider) -> Department:
    return ready(company.hr)


def stored(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


def outlined(picture: bytes) -> list[tuple[int, int]]:
    """The points of a picture that have the colour of an outline."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    return [(x, y) for x in range(image.width) for y in range(image.height) if image.getpixel((x, y)) == INK]


def test_a_passage_is_outlined_where_it_stands_on_its_page(tmp_path: Path) -> None:
    path = stored(tmp_path, files.long_pdf(2))
    plain = preview.draw(path, 2, [])
    assert outlined(plain) == []
    around = outlined(preview.draw(path, 2, [(4, "Only page 2 says two.\n\nAnd a line that fills it.")]))
    assert around
    elsewhere = outlined(preview.draw(path, 2, [(4, "This stands on no page at all, wherever one looks for it.")]))
    assert elsewhere == []
    top = min(y for _, y in around)
    assert 0 < top < Image.open(io.BytesIO(plain)).height / 2


def marks(picture: bytes) -> bool:
    """Whether a cited passage is filled on a picture."""
    colours = Image.open(io.BytesIO(picture)).convert("RGB").getcolors(1 << 20) or []
    return MARK in {colour for _, colour in colours}


@pytest.mark.parametrize("content", [files.locked_pdf(), b"%PDF-1.7 and then nothing", b"not a pdf"])
def test_what_cannot_be_drawn_is_an_error_and_no_picture(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ExtractionFailed):
        preview.draw(stored(tmp_path, content), 1, [])


def test_a_page_that_is_not_there_and_a_strip_of_a_page_do_no_harm(tmp_path: Path) -> None:
    with pytest.raises(ExtractionFailed):
        preview.draw(stored(tmp_path, files.long_pdf(1)), 9, [])
    paper = FPDF(format=(10, 5000))
    paper.add_page()
    strip = Image.open(io.BytesIO(preview.draw(stored(tmp_path, bytes(paper.output())), 1, [])))
    assert strip.width * strip.height <= 2 * preview.PIXELS_WIDE**2


def test_what_the_child_says_is_checked_to_be_a_picture(tmp_path: Path) -> None:
    for lie in (b"", b"{}", b"[1]", b'{"png": "AAAA"}', b'{"png": 1}', b"[" * 100_000):
        with pytest.raises(ExtractionFailed):
            preview._picture(lie, 0)


async def test_a_page_is_shown_to_members_and_to_nobody_else(company: Company, hr: Department) -> None:
    content = files.pdf()
    from django.core.files.uploadedfile import SimpleUploadedFile

    version = (await accept_upload(hr, company.alice, "leave.pdf", SimpleUploadedFile("leave.pdf", content))).version
    await ingest_version(hr, version.id)
    assert (await version_of(hr, version.id)).state is State.LIVE

    def page(number: int) -> str:
        return reverse("documents:page", args=["hr", version.document_id, version.id, number])

    bob, dave = await signed_in(company.bob), await signed_in(company.dave)
    shown = await bob.get(page(1))
    assert (shown.status_code, shown["Content-Type"]) == (200, "image/png")
    assert outlined(shown.content)
    assert [(await bob.get(page(number))).status_code for number in (0, 3, 9_999_999)] == [404] * 3
    assert (await dave.get(page(1))).status_code == 404
    detail = reverse("documents:detail", args=["hr", version.document_id])
    assert f'{page(1)}"' in (await bob.get(detail)).content.decode()
    # a citation leads to its passage, and the picture of that page has it filled
    [row] = await execute(hr, "SELECT ordinal, generation FROM passage WHERE locator->>'page' = '2' LIMIT 1")
    cited = (await bob.get(detail, {"passage": row["ordinal"], "cut": row["generation"]})).content.decode()
    address = f"{page(2)}?mark={row['ordinal']}&amp;cut={row['generation']}"
    assert (address in cited, f'{page(1)}"' in cited) == (True, True)
    assert marks((await bob.get(address.replace("&amp;", "&"))).content)
    assert not marks((await bob.get(page(2))).content)


async def test_a_page_shows_the_passages_of_one_cutting(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    version = (await accept_upload(hr, company.alice, "a.pdf", SimpleUploadedFile("a.pdf", files.long_pdf(1)))).version
    await ingest_version(hr, version.id)
    same = "version_id, ordinal, context, text, heading_path, locator, tokens, searchable"
    await execute(
        hr, f"INSERT INTO passage (generation, {same}) SELECT 1, {same.replace(', searchable', ', false')} FROM passage"
    )
    asked: list[int] = []
    monkeypatch.setattr(preview, "draw", lambda path, number, passages, *_, **__: asked.append(len(passages)) or b"")
    client = await signed_in(company.bob)
    page = reverse("documents:page", args=["hr", version.document_id, version.id, 1])
    for query in ("", "?cut=0", "?cut=1", "?cut=7&mark=x"):
        await client.get(page + query)
    [row] = await execute(hr, "SELECT count(*)::int AS passages FROM passage WHERE generation = 0")
    assert asked == [row["passages"]] * 4


async def test_a_text_shows_the_file_itself_escaped(company: Company, hr: Department) -> None:
    version = await add(hr, company.alice, LEAVE + "\n<script>alert(1)</script>\n")
    client = await signed_in(company.bob)
    page = (await client.get(reverse("documents:detail", args=["hr", version.document_id]))).content.decode()
    assert "The file as it was uploaded" in page
    assert "## Carry over" in page
    assert "<script>alert" not in page


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="install tesseract-ocr to see it")
def test_a_scan_is_read_by_the_real_tesseract(tmp_path: Path) -> None:
    text = extract(stored(tmp_path, scan("Everybody has thirty days of leave")), "scan.pdf", Limits())
    assert text.pages == 1
    assert "thirty days of leave" in " ".join(block.text for block in text.blocks)


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="install tesseract-ocr to see it")
@pytest.mark.parametrize("on_side", [False, True])
def test_what_was_recognised_on_a_scan_is_outlined_where_it_stands(tmp_path: Path, on_side: bool) -> None:
    path = stored(tmp_path, scan("Everybody has thirty days of leave", on_side=on_side))
    [block] = extract(path, "scan.pdf", Limits()).blocks
    picture = Image.open(io.BytesIO(preview.draw(path, 1, [(0, block.text)], marked=0))).convert("RGB")
    rows, columns = np.nonzero((np.asarray(picture) == MARK).all(axis=2))
    assert len(rows), "nothing is outlined"
    # the picture is 260 by 76 of 297 by 210 mm from 10 mm on, and the words begin at a twentieth of its width
    assert columns.min() / picture.width == pytest.approx((10 + 260 * 80 / 1700) / 297, abs=0.02)
    assert rows.min() / picture.height == pytest.approx((10 + 76 * 190 / 500) / 210, abs=0.03)
    assert (columns.max() < picture.width * 0.95, rows.max() < picture.height * 0.4) == (True, True)


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="install tesseract-ocr to see it")
def test_a_passage_before_the_cited_one_is_outlined_as_well(tmp_path: Path) -> None:
    path = stored(tmp_path, scan("Everybody has thirty days of leave"))
    picture = preview.draw(path, 1, [(0, "Everybody has thirty"), (1, "days of leave")], marked=1)
    assert marks(picture)
    assert outlined(picture)


def test_without_tesseract_a_page_of_a_scan_is_drawn_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not marks(preview.draw(stored(tmp_path, scan("Nobody reads this")), 1, [(0, "Nobody reads this")], marked=0))


def test_without_tesseract_a_scan_says_plainly_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExtractionFailed, match=r"tesseract\) is not installed here. Run text recognition"):
        extract(stored(tmp_path, scan("Nobody reads this")), "scan.pdf", Limits())


def scan(words: str, *, on_side: bool = False) -> bytes:
    """A PDF that is a picture of words; with `on_side` the picture lies, on a page that is shown turned."""
    picture = Image.new("RGB", (1700, 500), "white")
    font: Any = ImageFont.load_default(size=72)
    ImageDraw.Draw(picture).text((80, 180), words, fill="black", font=font)
    paper = FPDF(orientation="portrait" if on_side else "landscape")
    paper.add_page()
    if not on_side:
        paper.image(picture, x=10, y=10, w=260)
        return bytes(paper.output())
    paper.image(picture.rotate(90, expand=True), x=10, y=297 - 270, h=260)
    document, out = pypdfium2.PdfDocument(bytes(paper.output())), io.BytesIO()
    document[0].set_rotation(90)
    document.save(out)
    return out.getvalue()


async def test_pages_that_wait_to_be_drawn_hold_up_nobody_else(
    company: Company, hr: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    version = (await accept_upload(hr, company.alice, "a.pdf", SimpleUploadedFile("a.pdf", files.long_pdf(1)))).version
    await ingest_version(hr, version.id)
    go_on, drawing = threading.Event(), threading.Semaphore(0)

    def slow(*_: Any) -> bytes:
        drawing.release()
        assert go_on.wait(60)
        return b"drawn"

    monkeypatch.setattr(preview, "_draw", slow)
    known = await version_of(hr, version.id)
    async with open_store(hr) as store:
        leafing = [asyncio.create_task(preview.draw_page(store, known, 1)) for _ in range(40)]
        await asyncio.to_thread(drawing.acquire)
        # every thread that others use is free: an upload's digest, a download
        free = asyncio.gather(*(asyncio.to_thread(lambda: None) for _ in range(40)))
        await asyncio.wait_for(free, 30)
        go_on.set()
        assert await asyncio.gather(*leafing) == [b"drawn"] * 40
