"""The schema of a department's store: numbered SQL files, applied once each, in order, as the department's own role.

Rules:
- A file that has been released is never changed; a change is the next number.
- One file is one transaction; an advisory lock lets one process in, so any number may start at once.
- `{model}`, `{dimensions}`, `{passage_tokens}` and `{language}` stand for how a new store's documents are embedded and
  cut, and for the language of the words; a brace of SQL's own is doubled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from psycopg import Connection, sql

FOLDER = Path(__file__).parent
LANGUAGE = "english"
PASSAGE_TOKENS = 400  # the longest passage of a store whose admin has chosen nothing else

_TABLE = "CREATE TABLE IF NOT EXISTS store_schema (version integer PRIMARY KEY, at timestamptz DEFAULT now())"


def upgrade(store: Connection[Any]) -> int:
    """Brings a store to the newest schema and returns its number. `store` is in autocommit mode."""
    store.execute("SELECT pg_advisory_lock(hashtext('schema'))")
    try:
        store.execute(_TABLE)
        for version, path in _steps():
            if version > _version(store):
                _apply(store, version, path)
        return _version(store)
    finally:
        store.execute("SELECT pg_advisory_unlock(hashtext('schema'))")


def newest() -> int:
    """The number of the newest schema."""
    return _steps()[-1][0]


def version_of(store: Connection[Any]) -> int:
    """The number of a store's schema; 0 for a database without one."""
    store.execute(_TABLE)
    return _version(store)


def _steps() -> list[tuple[int, Path]]:
    return sorted((int(path.name[:4]), path) for path in FOLDER.glob("[0-9]*.sql"))


def _version(store: Connection[Any]) -> int:
    row = store.execute("SELECT coalesce(max(version), 0) FROM store_schema").fetchone()
    return int(row[0]) if row else 0


def _apply(store: Connection[Any], version: int, path: Path) -> None:
    # a file of ours, read from beside this module
    statements = sql.SQL(path.read_text(encoding="utf-8"))
    with store.transaction():
        store.execute(
            statements.format(
                model=sql.Literal(settings.EMBEDDING_MODEL),
                dimensions=sql.Literal(int(settings.EMBEDDING_DIMENSIONS)),
                passage_tokens=sql.Literal(PASSAGE_TOKENS),
                language=sql.Literal(LANGUAGE),
            )
        )
        store.execute("INSERT INTO store_schema (version) VALUES (%s)", [version])
