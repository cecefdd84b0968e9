"""What the documents promise is there: settings are explained, paths exist, decisions are numbered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
PATH = re.compile(r"(?<![\w/.-])((?:chatgrid|departments|audit|tests|templates|static|docs|deploy|bench)/[\w./*-]+)")


def settings_read() -> set[str]:
    text = (ROOT / "chatgrid" / "settings.py").read_text(encoding="utf-8")
    return set(re.findall(r"\"(CHATGRID_\w+)\"", text))


def test_every_setting_is_explained() -> None:
    explained = set(re.findall(r"`(CHATGRID_\w+)`", (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")))
    assert settings_read() - explained == set(), "Explain these in docs/settings.md."


def test_no_explained_setting_is_dead() -> None:
    explained = set(re.findall(r"^\| `(CHATGRID_\w+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
    assert explained - settings_read() == set(), "These settings do not exist any more."


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_a_document_names_exists(document: Path) -> None:
    named = {match.rstrip(".,:") for match in PATH.findall(document.read_text(encoding="utf-8"))}
    missing = sorted(name for name in named if not list(ROOT.glob(name.rstrip("/"))))
    assert not missing, f"{document.name} names what is not there: {missing}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_a_document_names_exists(document: Path) -> None:
    named = set(re.findall(r"manage\.py ([a-z_]+)", document.read_text(encoding="utf-8")))
    assert named - get_commands().keys() == set()


def test_the_picture_of_the_packages_names_each_of_them() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = {path.parent.name for top in ("chatgrid", "departments") for path in ROOT.glob(f"{top}/*/__init__.py")}
    missing = {name for name in packages - {"management", "migrations"} if not re.search(rf"\b{name}\b", picture)}
    assert missing == set(), "Draw these into docs/architecture.md."


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in DECISIONS)
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_fits_on_a_page_and_says_what_was_rejected(decision: Path) -> None:
    text = decision.read_text(encoding="utf-8")
    assert len(text.split()) <= 450
    assert all(part in text for part in ("**Context.**", "We will", "**Consequences.**", "**Rejected.**"))


@pytest.mark.parametrize("control", range(1, 9))
def test_every_control_names_code_and_a_test(control: int) -> None:
    text = (ROOT / "docs" / "controls.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {control}\. .*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"docs/controls.md has no section '## {control}. …'"
    named = PATH.findall(section.group())
    assert any(name.startswith("tests/") for name in named), "names no test"
    assert any(not name.startswith(("tests/", "docs/")) for name in named), "names no code"
