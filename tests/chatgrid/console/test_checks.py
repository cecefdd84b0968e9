"""The system checks: a production that must not start says why, and one that is right is clean."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def production(folder: Path, **changes: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "CHATGRID_ENVIRONMENT": "production",
        "CHATGRID_SECRET_KEY": secrets.token_urlsafe(60),
        "CHATGRID_DATA": str(folder),
        "CHATGRID_DATABASE_URL": "postgresql://somebody@localhost/nothing",
        "CHATGRID_REDIS_URL": "redis://localhost/0",
        "CHATGRID_ALLOWED_HOSTS": "chat.example",
        "CHATGRID_VAULT": "aws",
        **changes,
    }


def check(environment: dict[str, str]) -> str:
    command = [sys.executable, "manage.py", "check", "--deploy"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def found(output: str) -> set[str]:
    return set(re.findall(r"\((\w+\.[A-Z]\d{3})\)", output))


def test_a_production_that_is_right_is_clean(tmp_path: Path) -> None:
    output = check(production(tmp_path))
    assert "System check identified" in output, output
    assert not found(output), output


def test_every_unfit_setting_is_named_at_once(tmp_path: Path) -> None:
    unfit = {
        "CHATGRID_VAULT": "local",
        "OPENAI_ORGANIZATION": "org",
        "CHATGRID_SIMULATED": "1",
        "CHATGRID_SECRET_KEY": "change me",
        "CHATGRID_OPENAI_BASE_URL": "http://models.example/v1",
        "CHATGRID_ALLOWED_HOSTS": "",
    }
    output = check(production(tmp_path, **unfit))
    assert found(output) >= {f"chatgrid.E00{number}" for number in (1, 2, 3, 4, 6, 7)}, output


def test_what_is_only_unfit_for_production_is_fine_on_a_laptop(tmp_path: Path) -> None:
    laptop = {
        "CHATGRID_ENVIRONMENT": "development",
        "CHATGRID_VAULT": "local",
        "CHATGRID_SIMULATED": "1",
        "CHATGRID_SECRET_KEY": "change me",
        "CHATGRID_OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    }
    assert not [name for name in found(check(production(tmp_path, **laptop))) if name.startswith("chatgrid.")]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DEBUG", True, "chatgrid.E005"),
        ("MIDDLEWARE", [], "chatgrid.E008"),
        ("ALLOWED_HOSTS", ["*"], "chatgrid.E007"),
        ("SECRET_KEY", "a" * 80, "chatgrid.E004"),
        ("PROVIDERS", {"own": {"kind": "compatible", "base_url": "http://10.0.0.1/v1"}}, "chatgrid.E006"),
    ],
)
def test_a_setting_in_the_code_is_checked_too(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object, expected: str
) -> None:
    from django.conf import settings
    from django.core.checks import run_checks

    monkeypatch.setattr(settings, "PRODUCTION", True)
    monkeypatch.setattr(settings, name, value)
    assert expected in {message.id for message in run_checks(tags=["security"])}


@pytest.mark.parametrize(
    ("address", "is_fine"),
    [
        ("http://proxy.example:3128", True),
        ("proxy.example:3128", True),
        ("socks5://127.0.0.1:1080", False),
        ("ftp://proxy.example", False),
    ],
)
def test_a_proxy_that_no_client_can_use_stops_the_start_and_not_the_first_question(
    monkeypatch: pytest.MonkeyPatch, address: str, is_fine: bool
) -> None:
    from chatgrid.checks import proxies

    for name in ("ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", address)
    assert [error.id for error in proxies()] == ([] if is_fine else ["chatgrid.E009"])


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000/v1", "http://[::1]/v1", "http://localhost/v1", "https://a.example"]
)
def test_a_provider_over_tls_or_on_this_machine_is_fine(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    from django.conf import settings

    from chatgrid.checks import provider_addresses

    monkeypatch.setattr(settings, "PROVIDERS", {"own": {"kind": "compatible", "base_url": address}})
    assert list(provider_addresses()) == []
