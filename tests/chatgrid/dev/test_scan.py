"""The key scan: finds what is planted, wherever it is, and never repeats it."""

from __future__ import annotations

import gzip
import subprocess
import zipfile
from pathlib import Path

import pytest

from chatgrid.dev import scan
from tests.company import make_key


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("ignored.txt\n")
    (tmp_path / "settings.py").write_text("# nothing here\nRISK = 'task-sk-folding-cube__wrapper--is-a-class-name'\n")
    return tmp_path


def test_a_clean_repository_passes(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scan.main([str(repository)]) == 0
    assert "0 findings" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["settings.py", "static/js/chat.js", "docs/notes.md", "deep/er/fixture.json"])
def test_a_planted_key_is_found_with_its_place_and_without_its_text(
    repository: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = make_key().reveal()
    (repository / name).parent.mkdir(parents=True, exist_ok=True)
    (repository / name).write_text(f"first line\nconst key = '{key}';\n")
    assert scan.main([str(repository)]) == 1
    said = capsys.readouterr().out
    assert f"{name}:2: looks like a key of OpenAI" in said
    assert not any(key[at : at + 8] in said for at in range(8, len(key) - 8))


def test_a_committed_key_is_found_too(repository: Path) -> None:
    (repository / "old.txt").write_text(make_key().reveal())
    subprocess.run(["git", "add", "old.txt"], cwd=repository, check=True)
    assert scan.main([str(repository)]) == 1


def test_what_git_ignores_is_left_alone(repository: Path) -> None:
    (repository / "ignored.txt").write_text(make_key().reveal())
    assert scan.main([str(repository)]) == 0


def test_a_compressed_copy_hides_nothing(tmp_path: Path) -> None:
    packed = tmp_path / "chat.js.gz"
    packed.write_bytes(gzip.compress(make_key().reveal().encode()))
    assert [found.kind for found in scan.scan([("chat.js.gz", packed)])] == ["key of OpenAI"]


def test_what_lies_in_a_zip_file_is_looked_at(tmp_path: Path) -> None:
    packed = tmp_path / "letter.docx"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as folder:
        folder.writestr("word/document.xml", f"<p>{make_key().reveal()}</p>")
    assert [str(found) for found in scan.scan([("letter.docx", packed)])] == [
        "letter.docx!word/document.xml:1: looks like a key of OpenAI"
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_a_key_in_wide_characters_is_found(tmp_path: Path, encoding: str) -> None:
    exported = tmp_path / "exported.csv"
    exported.write_text(f"name;key\nHR;{make_key().reveal()}\n", encoding=encoding)
    assert [found.line for found in scan.scan([("exported.csv", exported)])] == [2]


def test_a_key_as_a_name_is_found_and_not_repeated(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = make_key().reveal()
    (repository / f"{key}.txt").write_text("nothing")
    assert scan.main([str(repository)]) == 1
    assert key[10:30] not in capsys.readouterr().out


def test_a_file_that_is_too_large_is_not_passed_over(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scan, "LARGEST", 100)
    (repository / "dump.sql").write_text("x" * 101)
    assert scan.main([str(repository)]) == 1
    assert "dump.sql:0: looks like a place for keys: too large" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("key of AWS", "A" + "KIA" + "ABCDEFGH" * 2),
        ("token of GitHub", "gh" + "p_" + "a1B2" * 10),
        ("token of Slack", "xo" + "xb-" + "1234567890-" * 3),
        ("private key", "-----BEGIN EC " + "PRIVATE KEY-----\n" + "MHcCAQEE" * 8),
    ],
)
def test_other_credentials_are_found(kind: str, text: str) -> None:
    assert [found.kind for found in scan.scan_text("file", f"x\n{text}\n")] == [kind]


def test_this_repository_and_its_built_pages_hold_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert scan.main([]) == 0, capsys.readouterr().out
