"""What a web process imports: a library that only workers, commands or rare pages need takes memory of every one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START = (
    "import sys, chatgrid.asgi; from django.urls import get_resolver; get_resolver().url_patterns; print(*sys.modules)"
)
# imported where it is used, with what each alone would add to every web process in MB of resident memory
LATE = {
    "boto3": 14,
    "docx": 7,
    "numpy": 10,
    "openai.resources.admin.organization": 7,
    "openpyxl": 24,
    "pptx": 13,
    "pyarrow": 38,
    "pypdfium2": 6,
    "semantic_text_splitter": 2,
}


def test_a_web_process_loads_nothing_that_only_others_need() -> None:
    loaded = set(subprocess.check_output([sys.executable, "-c", START], text=True, cwd=ROOT).split())
    assert {"chatgrid.chat.views", "chatgrid.console.admin", "openai", "celery"} <= loaded
    early = {name: megabytes for name, megabytes in LATE.items() if name in loaded}
    assert not early, f"Import these inside the function that needs them, and say so there: {early}"
