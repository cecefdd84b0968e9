"""A web process refuses to start where the system checks find what must not be in production."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from chatgrid.dev.services.ports import pick

ROOT = Path(__file__).resolve().parents[2]


def start(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """uvicorn as an operator starts it; it ends by itself where it refuses."""
    static = tmp_path / "static"
    static.mkdir()
    wanted = {**os.environ, "CHATGRID_ENVIRONMENT": "production", "CHATGRID_DATA": str(tmp_path), **environment}
    command = [sys.executable, "-m", "uvicorn", "chatgrid.asgi:application", "--port", str(pick())]
    return subprocess.run(command, cwd=ROOT, env=wanted, capture_output=True, text=True, timeout=60, check=False)


def test_a_key_file_on_the_machine_and_a_short_secret_stop_the_start(tmp_path: Path) -> None:
    done = start(tmp_path, CHATGRID_VAULT="local", CHATGRID_SECRET_KEY="short", CHATGRID_ALLOWED_HOSTS="a.example")
    assert done.returncode != 0
    for found in ("chatgrid.E001", "Set CHATGRID_VAULT=aws", "chatgrid.E004"):
        assert found in done.stderr + done.stdout, done.stderr


def test_a_key_of_the_provider_in_the_environment_stops_the_start(tmp_path: Path) -> None:
    done = start(tmp_path, CHATGRID_ALLOWED_HOSTS="chat.example", OPENAI_API_KEY="anything")
    assert done.returncode != 0
    assert "OPENAI_" in done.stderr + done.stdout
