"""Calls to a rare model are found at once: without this, a page of them reads a company's events until it is full.

The index is made month by month beside the writers, which wait for nothing: a record of ten million events would
otherwise stand still for a minute, and no call can be made meanwhile. Broken off, it is run again.
"""

from typing import Any

from django.db import migrations
from psycopg import sql

# what is about no model costs nothing; the condition follows from any model that is asked for
COLUMNS = "(organization_id, model_asked, at DESC) WHERE model_asked <> ''"
MAKE = "CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON {month} " + COLUMNS
ATTACH = "ALTER INDEX audit_event_by_model ATTACH PARTITION {index}"
BROKEN_OFF = """
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.relname LIKE 'audit_event_%_by_model'
"""
WITHOUT = """
    SELECT p.relname FROM pg_inherits m JOIN pg_class p ON p.oid = m.inhrelid
    WHERE m.inhparent = 'audit_event'::regclass AND NOT EXISTS (
        SELECT FROM pg_inherits a JOIN pg_index i ON i.indexrelid = a.inhrelid
        WHERE a.inhparent = 'audit_event_by_model'::regclass AND i.indrelid = p.oid
    ) ORDER BY 1
"""


def add(apps: Any, editor: Any) -> None:
    with editor.connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX IF NOT EXISTS audit_event_by_model ON ONLY audit_event {COLUMNS}")
        for (name,) in _rows(cursor, BROKEN_OFF):
            cursor.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(name)))
        for (month,) in _rows(cursor, WITHOUT):
            names = {"index": sql.Identifier(f"{month}_by_model"), "month": sql.Identifier(month)}
            cursor.execute(sql.SQL(MAKE).format(**names))
            cursor.execute(sql.SQL(ATTACH).format(**names))


def take_away(apps: Any, editor: Any) -> None:
    with editor.connection.cursor() as cursor:
        cursor.execute("DROP INDEX audit_event_by_model")


def _rows(cursor: Any, query: str) -> list[Any]:
    cursor.execute(query)
    return list(cursor.fetchall())


class Migration(migrations.Migration):
    atomic = False  # an index cannot be made beside writers in a transaction
    dependencies = [("audit", "0008_push")]
    operations = [migrations.RunPython(add, take_away)]
