"""The checklist is true: every test it names is there, and every requirement has a test or a sentence."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.test import AsyncClient, override_settings

from departments.roles import DepartmentRole, OrganizationRole
from tests.attacks.checklist import CHECKLIST

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = [path for folder in ("chatgrid", "departments", "audit") for path in (ROOT / folder).rglob("*.py")]


def test_all_forty_are_there_and_no_other() -> None:
    assert list(CHECKLIST) == [f"S{number:02}" for number in range(1, 41)]


@pytest.mark.parametrize("number", CHECKLIST)
def test_a_requirement_has_a_test_or_a_sentence(number: str) -> None:
    check = CHECKLIST[number]
    assert bool(check.tests) != bool(check.not_yet)
    assert check.requirement
    assert check.anchor
    for named in check.tests:
        path, _, test = named.partition("::")
        assert (ROOT / path).exists(), named
        if test:
            assert re.search(rf"^(?:async )?def {test}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), (
                named
            )


def test_only_approved_digests_are_used() -> None:
    """MD5 stands in one place, as the tests' password hasher, which production settings do not have."""
    for path in PRODUCT:
        for line in path.read_text(encoding="utf-8").splitlines():
            weak = re.search(r"hashlib\.(?:md5|sha1|new)\(|\bSHA1\(|\bMD5\(|\bTripleDES\b|\bARC4\b|modes\.ECB", line)
            assert not weak or "usedforsecurity=False" in line, f"{path}: {line.strip()}"


@override_settings(SECURITY_CONTACTS=["mailto:security@acme.example", "https://acme.example/report"])
async def test_security_txt_says_whom_to_write_to() -> None:
    response = await AsyncClient().get("/.well-known/security.txt")
    lines = dict(line.split(": ", 1) for line in response.content.decode().splitlines())
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.content.decode().startswith(
        "Contact: mailto:security@acme.example\nContact: https://acme.example/report\n"
    )
    expires = datetime.fromisoformat(lines["Expires"])
    assert timedelta(days=30) < expires - datetime.now(UTC) < timedelta(days=365)


def test_the_threat_model_names_every_role_of_the_code() -> None:
    told = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    for role in (*OrganizationRole, *DepartmentRole):
        assert f"**{role.label}**" in told, f"docs/threat-model.md says nothing of what a {role.label} can see."
    assert "**Operator**" in told


def test_the_disclosure_policy_says_how_and_how_fast() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for promise in ("privately", "working days", "latest minor version", "docs/threat-model.md"):
        assert promise in text
