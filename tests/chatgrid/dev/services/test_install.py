"""The installer's one delicate part: pip's configuration, read as pip reads it and said to uv in uv's words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chatgrid.dev import install


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose pip is configured by a file and, above it, by the environment."""
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://mirror.example/simple\nextra-index-url =\n  https://one.example/\n"
        "  https://two.example/\ncert = /from/the/file.pem\n[install]\nfind-links = /wheels /more-wheels\n"
    )
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_CERT", "/from/the/environment.pem")


@pytest.mark.usefixtures("configured")
def test_uv_is_told_what_pip_would_do() -> None:
    told = install.uv_settings(install.pip_settings(Path(sys.executable)))
    assert told["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert told["UV_INDEX"] == "https://one.example/ https://two.example/"
    assert told["UV_FIND_LINKS"] == "/wheels,/more-wheels"
    assert told["SSL_CERT_FILE"] == "/from/the/environment.pem"


def test_an_environment_whose_python_is_gone_does_not_count(tmp_path: Path) -> None:
    assert install.works(Path(sys.executable))
    gone = tmp_path / "python"
    gone.symlink_to(tmp_path / "removed")
    assert not install.works(gone)
