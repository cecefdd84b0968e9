"""What a browser keeps for a year must never name what changes under the same name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import HashedFilesMixin

from chatgrid.static_files import StaticFiles

IMPORT = re.compile(r"""^import [^;]*?["'](\./[^"']+)["']""", re.MULTILINE)


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[StaticFiles, Path]:
    """Our own scripts, as `collectstatic` would leave them."""
    folder = tmp_path_factory.mktemp("static")
    storage = StaticFiles(location=folder, base_url="/static/")
    paths = {}
    for finder in finders.get_finders():
        for path, source in finder.list([]):
            if path.startswith("js/"):
                with source.open(path) as content:
                    storage.save(path, content)
                paths[path] = (storage, path)
    assert isinstance(storage, HashedFilesMixin)
    for _, _, problem in storage.post_process(paths):
        assert not isinstance(problem, Exception), problem
    return storage, folder


def test_a_script_imports_others_by_their_hashed_names(collected: tuple[StaticFiles, Path]) -> None:
    storage, folder = collected
    chat = (folder / storage.stored_name("js/chat.js")).read_text()
    imported = IMPORT.findall(chat)
    assert imported
    for name in imported:
        assert re.search(r"\.[0-9a-f]{12}\.js$", name), name
        assert (folder / "js" / name).is_file()
