"""Files that attack their reader: each ends in one sentence, and none outlives its limits."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from departments.documents.extract import Extracted, ExtractionFailed, Limits, Reason, extract
from departments.documents.extracted import SENTENCES
from tests.departments.documents import files

MEGABYTE = 1 << 20
PARAGRAPH = "<w:p><w:r><w:t>hello there</w:t></w:r></w:p>"
MISBEHAVING = "tests.departments.documents.misbehaving"

Fails = Callable[..., ExtractionFailed]


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[bytes], Path]:
    def store(content: bytes) -> Path:
        path = tmp_path / "original"
        path.write_bytes(content)
        return path

    return store


@pytest.fixture
def fails(stored: Callable[[bytes], Path]) -> Fails:
    """Extracts and returns the failure, which has to come within the wall clock."""

    def run(content: bytes, filename: str, limits: Limits = Limits(seconds=10)) -> ExtractionFailed:  # noqa: B008
        started = time.monotonic()
        with pytest.raises(ExtractionFailed) as failure:
            extract(stored(content), filename, limits)
        assert time.monotonic() - started < limits.seconds + 20
        return failure.value

    return run


def test_every_reason_has_a_sentence_with_a_next_step() -> None:
    assert set(SENTENCES) == set(Reason)
    assert all(sentence.count(".") >= 2 for sentence in SENTENCES.values())


def test_it_refuses_a_bomb_in_an_office_file_before_unpacking(fails: Fails) -> None:
    bomb = files.rezip(files.word(), {"word/media/a.xml": lambda old: b"\0" * (40 * MEGABYTE)})
    started = time.monotonic()
    assert fails(bomb, "a.docx").reason is Reason.TOO_LARGE
    assert time.monotonic() - started < 0.5


def test_it_refuses_an_archive_of_too_many_members(fails: Fails) -> None:
    many = files.rezip(files.word(), {f"word/{number}.xml": lambda old: b"" for number in range(200)})
    assert fails(many, "a.docx", Limits(entries=100)).reason is Reason.TOO_LARGE


def test_it_refuses_an_archive_whose_directory_lies_about_sizes(fails: Fails) -> None:
    honest = files.word_with(PARAGRAPH * 50_000)
    with zipfile.ZipFile(io.BytesIO(honest)) as archive:
        size = archive.getinfo(files.DOCUMENT_XML).file_size
    liar = honest.replace(size.to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert liar != honest
    assert fails(liar, "a.docx").reason is Reason.CORRUPT


def test_it_refuses_an_archive_with_a_password(fails: Fails) -> None:
    locked = bytearray(files.word())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := locked.find(mark, at + 1)) >= 0:
            locked[at + offset] |= 1
    assert fails(bytes(locked), "a.docx").reason is Reason.ENCRYPTED


def test_it_survives_a_pdf_whose_stream_unpacks_to_half_a_gigabyte(fails: Fails) -> None:
    stream = b"BT /F1 12 Tf (hello) Tj ET " + b" " * (500 * MEGABYTE)
    failure = fails(files.pdf_by_hand(stream), "a.pdf", Limits(seconds=20, memory_bytes=400 * MEGABYTE))
    assert failure.reason in {Reason.CORRUPT, Reason.MEMORY}


def test_it_refuses_a_pdf_with_a_password(fails: Fails) -> None:
    assert fails(files.locked_pdf(), "a.pdf").reason is Reason.ENCRYPTED


@pytest.mark.parametrize("content", [files.pdf(), files.word(), files.workbook(), files.slides(), files.book()])
def test_it_refuses_a_file_that_was_cut_off(fails: Fails, content: bytes) -> None:
    assert fails(content[: len(content) // 3], "a").reason is Reason.CORRUPT


@pytest.mark.parametrize("beginning", [b"%PDF-1.7\n", b"PK\x03\x04"])
def test_it_refuses_random_bytes_behind_a_good_beginning(fails: Fails, beginning: bytes) -> None:
    assert fails(beginning + os.urandom(20_000), "a").reason is Reason.CORRUPT


def test_it_refuses_random_bytes(fails: Fails) -> None:
    assert fails(b"\x01" + os.urandom(20_000), "a.txt").reason is Reason.UNSUPPORTED


@pytest.mark.parametrize("content", [b"", b" \n\t", b"<html><p hidden>x</p>", files.pdf_by_hand(b"")])
def test_it_says_that_a_file_has_no_text(fails: Fails, content: bytes) -> None:
    assert fails(content, "a.txt").reason is Reason.EMPTY


def test_it_refuses_too_many_pages_and_says_how_many_are_allowed(fails: Fails) -> None:
    failure = fails(files.pdf_by_hand(b"BT (x) Tj ET", pages=5_001), "a.pdf")
    assert failure.reason is Reason.TOO_MANY_PAGES
    assert "5,001 pages, 5,000 are allowed" in failure.sentence


@pytest.mark.parametrize(
    ("content", "filename", "limits"),
    [
        ("Name,Town\n" + "Ada,Rome\n" * 60, "a.csv", Limits(rows=50)),
        ("word " * 1_000, "a.txt", Limits(characters=4_000)),
        ("word\n\n" * 1_000, "a.md", Limits(characters=3_000)),
    ],
)
def test_it_refuses_more_text_than_the_limit_rather_than_a_part(
    fails: Fails, content: str, filename: str, limits: Limits
) -> None:
    assert fails(content.encode(), filename, limits).reason is Reason.TOO_LARGE


def test_it_counts_the_letters_of_a_pdf_against_the_limit(fails: Fails) -> None:
    page = b"BT /F1 2 Tf 10 100 Td " + b"(hello) Tj " * 2_000 + b"ET"
    assert fails(files.pdf_by_hand(page), "a.pdf", Limits(characters=9_000)).reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("content", "filename"),
    [
        (b"<html>" + b"<div>" * 20_000 + b"deep", "a.html"),
        (b"<html>" + b"<table><tr><td>" * 20_000 + b"deep", "a.html"),
        (b"<html>" + b"<h1>" * 50_000 + b"deep", "a.html"),
        (b"[" * 20_000 + b"deep", "a.md"),
        (b"*a_ " * 20_000 + b"deep", "a.md"),
        (b"---\n" + b"#\n" * 2_000 + b"deep", "a.md"),
        (b'{"a":' * 900 + b'"deep"' + b"}" * 900, "a.json"),
    ],
)
def test_it_reads_deep_nesting_without_falling_over(
    stored: Callable[[bytes], Path], content: bytes, filename: str
) -> None:
    blocks = extract(stored(content), filename, Limits(seconds=20)).blocks
    assert "deep" in f"{blocks[0].text} {blocks[-1].text}"


def test_it_refuses_json_that_is_nested_too_deeply(fails: Fails) -> None:
    failure = fails(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "a.json")
    assert failure.reason is Reason.CORRUPT
    assert "nested" in failure.sentence


def test_it_refuses_word_that_is_nested_too_deeply(fails: Fails) -> None:
    deep = "<w:sdt><w:sdtContent>" * 3_000 + "</w:sdtContent></w:sdt>" * 3_000
    assert fails(files.word_with(deep), "a.docx").reason is Reason.CORRUPT


def test_it_refuses_entities_that_multiply(fails: Fails) -> None:
    entities = '<!ENTITY e0 "aaaaaaaaaa">' + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    bomb = files.word_with("<w:p><w:r><w:t>&e9;</w:t></w:r></w:p>", f"<!DOCTYPE d [{entities}]>")
    assert fails(bomb, "a.docx").reason is Reason.CORRUPT


def test_it_refuses_a_book_with_entities(fails: Fails) -> None:
    doctype = b'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    book = files.rezip(files.book(), {"OPS/package.opf": lambda old: doctype + old})
    assert fails(book, "a.epub").reason is Reason.CORRUPT


def test_it_refuses_a_sheet_with_entities(fails: Fails) -> None:
    doctype = b'<!DOCTYPE x [<!ENTITY e "aaaaaaaaaa">]>'
    book = files.rezip(files.workbook(), {"xl/worksheets/sheet1.xml": lambda old: doctype + old.split(b"?>", 1)[-1]})
    assert fails(book, "a.xlsx").reason is Reason.CORRUPT


def test_it_does_not_put_a_file_into_a_slide_for_an_entity(stored: Callable[[bytes], Path], tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("top secret")
    doctype = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'.encode()

    def insert(old: bytes) -> bytes:
        return doctype + old.split(b"?>", 1)[-1].replace(b"<a:t>Goals", b"<a:t>&e;Goals", 1)

    show = files.rezip(files.slides(), {"ppt/slides/slide1.xml": insert})
    text = str(extract(stored(show), "a.pptx").to_json())
    assert "Dates" in text
    assert "top secret" not in text


def test_it_does_not_read_a_file_that_an_entity_names(stored: Callable[[bytes], Path], tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("top secret")
    xml = "<w:p><w:r><w:t>before &x; after</w:t></w:r></w:p>"
    content = files.word_with(xml, f'<!DOCTYPE d [<!ENTITY x SYSTEM "{secret.as_uri()}">]>')

    text = " ".join(block.text for block in extract(stored(content), "a.docx").blocks)

    assert text.startswith("before")
    assert "top secret" not in text


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


REMOTE_TEMPLATE = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r9" TargetMode="External" Target="{url}" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/attachedTemplate"/></Relationships>'
)


def remote_files(url: str) -> list[tuple[str, bytes]]:
    entity = f'<!DOCTYPE d SYSTEM "{url}" [<!ENTITY x SYSTEM "{url}">]>'
    template = REMOTE_TEMPLATE.format(url=url).encode()
    page = f"<html><base href='{url}'><link rel=stylesheet href='{url}'><img src='{url}'><iframe src='{url}'></iframe>x"
    return [
        ("a.docx", files.rezip(files.word(), {"word/_rels/settings.xml.rels": lambda old: template})),
        ("a.docx", files.word_with("<w:p><w:r><w:t>&x;</w:t></w:r></w:p>", entity)),
        ("a.html", page.encode()),
        ("a.md", f"![x]({url})\n\ntext".encode()),
        ("a.epub", files.book((f"<p>x<img src='{url}'/></p>",))),
    ]


def test_it_connects_to_nothing_that_a_file_names(stored: Callable[[bytes], Path], listener: socket.socket) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    for filename, content in remote_files(url):
        extract(stored(content), filename)
    with pytest.raises(TimeoutError):
        listener.accept()


def test_it_says_that_memory_ran_out(fails: Fails) -> None:
    content = b"word " * (12 * MEGABYTE)
    limits = Limits(seconds=20, memory_bytes=100 * MEGABYTE, characters=1 << 30)
    assert fails(content, "a.txt", limits).reason is Reason.MEMORY


def test_it_ends_a_reading_that_takes_too_long(fails: Fails) -> None:
    content = b"<html>" + b"<div>" * 300_000 + b"x"
    assert fails(content, "a.html", Limits(seconds=1)).reason is Reason.TIMEOUT


def test_the_child_loads_neither_django_nor_a_client() -> None:
    modules = (
        "extract_child",
        "extractors.collect",
        "extractors.pdf",
        "extractors.eml",
        "extractors.epub",
        "extractors.pptx",
    )
    imports = "; ".join(f"import departments.documents.{module}" for module in modules)
    loaded = subprocess.check_output(
        [sys.executable, "-c", f"{imports}; import sys; print(*sys.modules)"], text=True
    ).split()
    assert "departments.documents.extractors.pdf" in loaded
    assert not {"django", "openai", "boto3", "celery"} & set(loaded)


class TestAChildThatMisbehaves:
    """The parent's side of the pipe, against a child that has been taken over."""

    @pytest.fixture
    def run(self, stored: Callable[[bytes], Path]) -> Callable[..., Extracted]:
        def run(act: str, limits: Limits = Limits(seconds=20)) -> Extracted:  # noqa: B008
            return extract(stored(b"text"), "a.txt", limits, ocr_languages=act, child=MISBEHAVING)

        return run

    @pytest.mark.parametrize("act", ["hang", "hang_after_the_answer"])
    def test_it_is_killed_at_the_deadline(self, run: Callable[..., Extracted], act: str) -> None:
        started = time.monotonic()
        with pytest.raises(ExtractionFailed) as failure:
            run(act, Limits(seconds=1))
        assert failure.value.reason is Reason.TIMEOUT
        assert time.monotonic() - started < 20

    def test_its_helpers_die_with_it(self, run: Callable[..., Extracted], tmp_path: Path) -> None:
        note = tmp_path / "pid"
        with pytest.raises(ExtractionFailed, match=r"done|long"):
            run(f"leave_a_helper_behind {note}", Limits(seconds=1))
        assert _has_ended(int(note.read_text()))

    def test_its_babble_is_cut_off(self, run: Callable[..., Extracted]) -> None:
        with pytest.raises(ExtractionFailed) as failure:
            run("babble", Limits(seconds=10, output_bytes=MEGABYTE))
        assert failure.value.reason is Reason.TOO_LARGE

    def test_its_abort_means_that_the_file_could_not_be_read(self, run: Callable[..., Extracted]) -> None:
        with pytest.raises(ExtractionFailed, match="could not be read") as failure:
            run("abort")
        assert failure.value.reason is Reason.CORRUPT

    @pytest.mark.parametrize(
        "answer", ["", "nonsense", "[]", "{}", '{"extracted": {"kind": "pdf"}}', '{"failed": 1}', "[" * 100_000]
    )
    def test_its_lies_mean_that_the_file_could_not_be_read(self, run: Callable[..., Extracted], answer: str) -> None:
        with pytest.raises(ExtractionFailed) as failure:
            run(f"lie {answer}")
        assert failure.value.reason is Reason.CORRUPT

    def test_it_finds_no_setting_of_ours_in_its_environment(
        self, run: Callable[..., Extracted], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CHATGRID_SECRET_KEY", "not for children")
        with pytest.raises(ExtractionFailed) as failure:
            run("list_environment")
        names = set(failure.value.sentence.split())
        assert "PYTHONPATH" in names
        assert not any(name.startswith(("CHATGRID", "AWS", "DJANGO")) for name in names)

    def test_it_cannot_connect(self, run: Callable[..., Extracted], listener: socket.socket) -> None:
        with pytest.raises(ExtractionFailed, match=r"socket\.\w+ is not allowed"):
            run(f"connect {listener.getsockname()[1]}", Limits(seconds=5))

    def test_it_cannot_start_a_program(self, run: Callable[..., Extracted]) -> None:
        with pytest.raises(ExtractionFailed, match="may not be started"):
            run("start_a_program", Limits(seconds=5))


def _has_ended(process: int) -> bool:
    """Gone, or a zombie that nobody has collected yet."""
    status = Path(f"/proc/{process}/stat")
    for _ in range(50):
        if not status.exists() or status.read_text().split(")")[1].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False
