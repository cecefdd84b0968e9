"""What ChatGrid is made of: a bill of materials, allowed licences, and a scan that never takes silence for good."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from chatgrid.dev import supply
from chatgrid.dev.supply import EXCEPTIONS, Package, allows, bill, main, packages


def test_the_bill_names_every_pinned_package_with_hashes_and_needs() -> None:
    document = json.loads(bill())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    named = {part["name"]: part for part in document["components"]}
    assert set(named) == {package.name for package in packages()}
    assert {"django", "openai", "psycopg", "nh3"} <= set(named)
    for package in packages():
        assert named[package.name]["version"] == package.version
        assert {each["content"] for each in named[package.name]["hashes"]} == set(package.hashes) != set()
        assert named[package.name]["purl"].startswith("pkg:pypi/")
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    assert any(each.startswith("django==") for each in needs["chatgrid"])
    openai = next(ref for ref in needs if ref.startswith("openai=="))
    assert any(each.startswith("pydantic==") for each in needs[openai])


def test_every_licence_is_on_the_list_or_has_a_reason() -> None:
    assert {package.name: package.licence for package in packages() if not package.is_allowed} == {}


def test_no_exception_is_dead() -> None:
    assert set(EXCEPTIONS) <= {package.name for package in packages()}
    assert not [package.name for package in packages() if package.name in EXCEPTIONS and allows(package.licence)]


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("MIT AND Apache-2.0", True),
        ("MPL-2.0 AND (GPL-3.0-only OR MIT)", True),
        ("GPL-3.0-only", False),
        ("MIT AND AGPL-3.0-only", False),
        ("LicenseRef-other", False),
        ("", False),
    ],
)
def test_all_of_an_and_one_of_an_or_must_be_allowed(expression: str, allowed: bool) -> None:
    assert allows(expression) is allowed


def answered(monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    def run(*args: Any, **options: Any) -> Any:
        return subprocess.CompletedProcess(args, 0, stdout=output, stderr="")

    monkeypatch.setattr(supply.subprocess, "run", run)


def audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["supply", "audit"])
    return main(), capsys.readouterr().out


def test_a_known_flaw_ends_the_scan_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    flaw = {"id": "PYSEC-2026-1", "fix_versions": ["9.9"]}
    rows = [{"name": package.name, "version": package.version, "vulns": []} for package in packages()]
    rows[0]["vulns"] = [flaw]  # type: ignore[assignment]
    answered(monkeypatch, json.dumps({"dependencies": rows}))
    code, said = audit(monkeypatch, capsys)
    assert code == 1
    assert "PYSEC-2026-1, mended in 9.9" in said
    assert "1 known flaws" in said


@pytest.mark.parametrize("output", ["", "no network", json.dumps({"error": 1})])
def test_without_the_network_it_says_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    answered(monkeypatch, output)
    code, said = audit(monkeypatch, capsys)
    assert code == 0
    assert f"0 of {len(packages())} packages looked up" in said
    assert "nothing is known of them" in said


def test_a_package_that_the_index_does_not_know_is_not_called_clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, Any]] = [{"name": each.name, "version": each.version, "vulns": []} for each in packages()]
    rows[3] = {"name": "unknown-here", "skip_reason": "not found"}
    answered(monkeypatch, json.dumps({"dependencies": rows}))
    code, said = audit(monkeypatch, capsys)
    assert code == 0
    assert "Not looked up, so nothing is known of them: unknown-here" in said


def test_a_package_that_is_not_installed_has_no_known_licence() -> None:
    assert Package("no-such-package-of-ours", "1.0", ()).licence == ""
