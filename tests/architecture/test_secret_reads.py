"""Whoever takes a secret out of the secret manager writes it into the record, in the same function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READS = {"get_current", "get_version", "previous"}
OF_ANOTHER_KIND = {"store", "self"}  # a document's version, and a vault's own methods

# function -> why it writes no event of its own
EXCEPTIONS = {
    "departments/keys/cache.py::_load": "the hook `on_read` writes it before anybody gets the value",
    "departments/documents/password_rotation.py::_credential": "each step that asks for it records the read",
    "departments/documents/password_rotation.py::_require": "each step that asks for it records the read",
    "departments/keys/sealing.py::promote": "gives back what `current_signer` records",
    "departments/keys/sealing.py::staged_signer": "a key that was made a moment ago, to be announced in an event",
}


def reading_functions() -> Iterator[tuple[str, bool]]:
    """Each function that asks a vault for a value: its name, and whether it records something."""
    for top in ("departments", "chatgrid"):
        for file in sorted((ROOT / top).rglob("*.py")):
            if "vaults" in file.parts or "dev" in file.parts:
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(map(_is_read, ast.walk(node))):
                    yield f"{file.relative_to(ROOT)}::{node.name}", any(map(_is_record, ast.walk(node)))


def _is_read(node: ast.AST) -> bool:
    """A call of a reading method, or handing one to a thread that calls it."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    called = node.args[0] if node.func.attr == "to_thread" else node.func
    if not isinstance(called, ast.Attribute) or called.attr not in READS:
        return False
    return not (isinstance(called.value, ast.Name) and called.value.id in OF_ANOTHER_KIND)


def _is_record(node: ast.AST) -> bool:
    """A call of `record`, `record_read`, `_record_read` or `record_secret_read`."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    return name.lstrip("_").startswith("record")


def test_every_read_of_a_secret_is_recorded_where_it_happens() -> None:
    silent = [name for name, records in reading_functions() if not records and name not in EXCEPTIONS]
    assert silent == [], "Write Event.SECRET_READ with version and reason here, or say in EXCEPTIONS who does."


def test_no_exception_is_dead() -> None:
    assert set(EXCEPTIONS) - {name for name, _ in reading_functions()} == set()
