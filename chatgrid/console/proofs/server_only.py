"""Control 1: calls only from the server. Looks at the code that runs here and at the files that browsers get."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders

from chatgrid.console.proofs.base import Evidence, counted, named
from chatgrid.middleware import CONTENT_SECURITY_POLICY
from departments.keys.patterns import contains_key
from departments.models import Organization

PACKAGES = ("chatgrid", "departments", "audit")
SDK = "openai"
DOORS = ("departments/calls/", "departments/keys/")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
LARGEST = 5 * 1024 * 1024


def look(organization: Organization) -> list[Evidence]:
    return [_imports(settings.BASE_DIR), _bundle(list(_served())), _policy(), _environment()]


def _imports(root: Path) -> Evidence:
    files = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    outside = [
        path.relative_to(root).as_posix()
        for path in files
        if not path.relative_to(root).as_posix().startswith(DOORS) and _imports_sdk(path)
    ]
    if outside:
        return Evidence(f"The provider’s SDK is imported outside the door: {named(outside)}", holds=False)
    text = f"{counted(len(files), 'Python file')} read: only {' and '.join(DOORS)} import the provider’s SDK"
    return Evidence(text, holds=bool(files) or None)


def _imports_sdk(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import) and any(_is_sdk(alias.name) for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and not node.level and _is_sdk(node.module or ""):
            return True
    return False


def _is_sdk(module: str) -> bool:
    return module == SDK or module.startswith(f"{SDK}.")


def _served() -> Iterator[Path]:
    """Every file that pages are made of: scripts, styles, pictures and templates."""
    for finder in get_finders():
        for name, storage in cast(Any, finder).list([]):
            yield Path(storage.path(name))
    for engine in settings.TEMPLATES:
        for folder in cast(Any, engine)["DIRS"]:
            yield from (path for path in Path(folder).rglob("*") if path.is_file())


def _bundle(files: list[Path]) -> Evidence:
    addresses = _providers()
    bad = [path.name for path in files if _speaks_of(path, addresses)]
    if bad:
        return Evidence(f"Files for the browser hold a key or a provider’s address: {named(bad)}", holds=False)
    text = f"{counted(len(files), 'file')} for the browser read: no key, no provider’s address"
    return Evidence(text, holds=bool(files) or None)


def _providers() -> list[str]:
    hosts = {urlsplit(provider["base_url"]).hostname or "" for provider in settings.PROVIDERS.values()}
    return sorted({"api.openai.com", *hosts} - LOOPBACK - {""})


def _speaks_of(path: Path, addresses: list[str]) -> bool:
    if path.stat().st_size > LARGEST:
        return False
    text = path.read_bytes().decode("latin-1")
    return contains_key(text) or any(address in text for address in addresses)


def _policy() -> Evidence:
    rules = dict(rule.strip().partition(" ")[::2] for rule in CONTENT_SECURITY_POLICY.split(";"))
    narrow = rules.get("connect-src") == rules.get("script-src") == "'self'" and rules.get("default-src") == "'none'"
    words = "a browser may speak to this site only" if narrow else "a browser may speak to other sites"
    return Evidence(f"Content security policy: {words}", holds=narrow)


def _environment() -> Evidence:
    found = sorted(name for name in os.environ if name.startswith("OPENAI_"))
    if found:
        return Evidence(f"The environment holds {named(found)}: take it out", holds=False)
    return Evidence("No OPENAI_ variable in the environment of the worker that looked")
