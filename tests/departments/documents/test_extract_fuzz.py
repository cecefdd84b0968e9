"""Fuzz of the readers: a file of every kind, damaged in every way, ends in text or in a sentence, within its limits.

The same files in every run: a damaged file that breaks something breaks it for everybody.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from departments.documents import extract as reader
from departments.documents.extract import Extracted, ExtractionFailed, Limits, extract
from tests.departments.documents import files

LIMITS = Limits(seconds=8, memory_bytes=1 << 30, characters=200_000, rows=5_000, pages=200)
KINDS: dict[str, bytes] = {
    "a.pdf": files.pdf(),
    "a.docx": files.word(),
    "a.pptx": files.slides(),
    "a.xlsx": files.workbook(),
    "a.epub": files.book(),
    "a.eml": files.mail(),
    "a.csv": b"name;days\nAnna;28\nBob;30\n",
    "a.html": b"<html><body><h1>Leave</h1><p>28 days</p><table><tr><td>1</td></tr></table></body></html>",
    "a.md": b"# Leave\n\n- 28 days\n\n```\ncode\n```\n",
    "a.txt": "Leave: 28 days. Gr\u00fc\u00dfe.".encode("utf-16"),
    "a.json": b'{"leave": {"days": 28, "notes": ["a", {"b": null}]}}',
}

changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "repeat", "zero", "swap"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 64),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=6,
)


def damaged(content: bytes, wanted: list[tuple[str, float, int, bytes]]) -> bytes:
    """The file with bytes flipped, cut out, put in, repeated, zeroed or exchanged, one after the other."""
    for how, where, length, junk in wanted:
        at = int(where * max(1, len(content)))
        part = content[at : at + length]
        new = {
            "flip": bytes(byte ^ 0xFF for byte in part),
            "cut": b"",
            "insert": junk + part,
            "repeat": part * 20,
            "zero": bytes(len(part)),
            "swap": part[::-1],
        }[how]
        content = content[:at] + new + content[at + length :]
    return content


def extracted_or_not(path: Path, name: str) -> Extracted | str:
    """The text, or the sentence that says why there is none."""
    try:
        return extract(path, name, LIMITS)
    except ExtractionFailed as failure:
        return failure.sentence


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(wanted=changes)
def test_a_damaged_file_gives_text_or_a_sentence_and_leaves_nothing(
    name: str, wanted: list[tuple[str, float, int, bytes]]
) -> None:
    started_readers: list[int] = []
    start = reader.subprocess.Popen

    def watched(*args: object, **options: object) -> object:
        process = start(*args, **options)  # type: ignore[call-overload]
        started_readers.append(process.pid)
        return process

    with tempfile.TemporaryDirectory() as folder, patch.object(reader.subprocess, "Popen", watched):
        path = Path(folder) / "original"
        path.write_bytes(damaged(KINDS[name], wanted))
        started = time.monotonic()
        found = extracted_or_not(path, name)
        if isinstance(found, Extracted):
            assert sum(len(block.text) for block in found.blocks) <= LIMITS.characters
        else:
            assert found.endswith(".")
        assert time.monotonic() - started < LIMITS.seconds + 20
        assert [each.name for each in Path(folder).iterdir()] == ["original"]
    for process_id in started_readers:
        with pytest.raises(ProcessLookupError):
            os.killpg(process_id, 0)  # the whole group of the reader is gone


def test_the_files_are_read_when_they_are_whole(tmp_path: Path) -> None:
    """Else every damage would have been refused at the first byte."""
    for name, content in KINDS.items():
        path = tmp_path / "original"
        path.write_bytes(content)
        assert extract(path, name, LIMITS).blocks, name
