"""The simulator as a process of its own, and what it may not depend on."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from chatgrid.dev import openai_simulator
from chatgrid.dev.openai_simulator.options import KeyPolicy, Options, read_options

PACKAGE = Path(openai_simulator.__path__[0])


@contextmanager
def started(*arguments: str) -> Iterator[str]:
    """The address a freshly started process prints."""
    command = [sys.executable, "-m", "chatgrid.dev.openai_simulator", "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=PACKAGE.parents[2], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
    assert process.returncode in (0, -15)


def test_it_prints_its_address_answers_there_and_stops_when_told() -> None:
    with started("--keys", "registered") as base_url:
        assert base_url.startswith("http://127.0.0.1:")
        key = "sk-" + "proj-" + "a" * 40
        http = httpx2.Client(headers={"authorization": f"Bearer {key}"}, trust_env=False)
        with http:
            assert http.get(f"{base_url}/models").status_code == 401
            http.post(base_url.replace("/v1", "/__simulator/keys"), json={"key": key}).raise_for_status()
            assert http.get(f"{base_url}/models").status_code == 200


def test_a_laptop_gets_a_human_pace_and_the_environment_can_change_it() -> None:
    assert read_options({}) == Options(200.0, 60.0, KeyPolicy.UNTIL_REGISTERED)
    changed = {
        "CHATGRID_SIMULATOR_FIRST_TOKEN_MS": "0",
        "CHATGRID_SIMULATOR_TOKENS_PER_SECOND": "0",
        "CHATGRID_SIMULATOR_KEYS": "any",
    }
    assert read_options(changed) == Options(0.0, 0.0, KeyPolicy.ANY)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_it_imports_neither_django_nor_the_product(path: Path) -> None:
    """It stands for another company's server, so it may share nothing with what it is tested against."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] not in {"django", "departments", "audit", "openai"}
            assert not name.startswith("chatgrid") or name.startswith("chatgrid.dev.openai_simulator")
