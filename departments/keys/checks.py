"""System checks: a key where none may be. `manage.py check` looks at settings, `check --database default` at every row.

Rules:
- A message names the place, never the text that was found there.
- The database is looked through only when it is asked for by name: it reads every text column of every table, those of
  the libraries too.
- Stable ids: departments.E001 settings, departments.E002 the database.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections
from django.db.models import Field, JSONField, Model
from psycopg import sql

from departments.keys.patterns import contains_key

DATABASE = "default"
MOST = 10  # findings of one table
TEXT = {"CharField", "TextField", "SlugField", "EmailField", "URLField", "JSONField", "FileField"}


def connect() -> None:
    """Called once, when the app is ready."""
    register(keys_in_settings, Tags.security)
    register(keys_in_database, Tags.database)


def keys_in_settings(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """A setting that holds a key: it would be in the process list, in deployment files and in error reports."""
    found = sorted({name for name in dir(settings) if name.isupper() and _holds_key(getattr(settings, name))})
    hint = "Put the key into the secret manager and take it out of the environment; then rotate it."
    return [Error(f"The setting {name} holds something that looks like a key.", hint=hint, id="departments.E001")
            for name in found]  # fmt: skip


def keys_in_database(app_configs: Any, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """A row that holds a key. Nothing of ours writes one; a person may have pasted it into a text."""
    if DATABASE not in (databases or ()):
        return []
    hint = "Rotate the key first, then remove the text."
    return [
        Error(f"{table}, row {row}: something that looks like a key.", hint=hint, id="departments.E002")
        for table, row in rows_with_keys()
    ]


def rows_with_keys() -> Iterator[tuple[str, str]]:
    """Table and primary key of every row that holds a key, at most `MOST` of a table."""
    there = set(connections[DATABASE].introspection.table_names(include_views=True))
    for model in apps.get_models():
        if model._meta.db_table in there | {"audit_event"}:
            yield from _rows_of(model)


def _rows_of(model: type[Model]) -> Iterator[tuple[str, str]]:
    columns = [sql.Identifier(field.column or "") for field in model._meta.concrete_fields if _holds_text(field)]
    if not columns:
        return
    joined = sql.SQL("concat_ws(' ', {})").format(sql.SQL("::text, ").join([*columns, sql.Literal("")]))
    query = sql.SQL("SELECT {key}, {joined} FROM {table} WHERE {joined} LIKE '%sk-%'").format(
        key=sql.Identifier(_key_column(model)), joined=joined, table=sql.Identifier(model._meta.db_table)
    )
    found = 0
    with connections[DATABASE].chunked_cursor() as cursor:
        cursor.execute(query.as_string())
        for row, text in cursor:
            if contains_key(text):
                yield model._meta.db_table, str(row)
                found += 1
            if found == MOST:
                return


def _key_column(model: type[Model]) -> str:
    """What names a row; of a key of several columns the first will do for finding it."""
    return model._meta.pk.column or model._meta.concrete_fields[0].column or "id"


def _holds_text(field: Field[Any, Any]) -> bool:
    return field.get_internal_type() in TEXT or isinstance(field, JSONField)


def _holds_key(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return contains_key(value if isinstance(value, str) else value.decode("latin-1"))
    if isinstance(value, os.PathLike):
        return _holds_key(os.fspath(value))
    if isinstance(value, Mapping):
        return any(_holds_key(one) for pair in value.items() for one in pair)
    return isinstance(value, list | tuple | set | frozenset) and any(_holds_key(one) for one in value)
