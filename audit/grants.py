"""What the application's database role may do, set again after every migration.

Rules:
- The application may do everything with ordinary tables and nothing but read and add with the record.
- Not even when it adds: the time of an event is the database's clock, so that nobody can write the past.
- The text of a question may also be deleted (erasure); the event that holds its hash may not.
- The migration role owns every table and is not the role that web and workers use.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import AppConfig
from django.conf import settings
from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from audit.writer import COLUMNS

EVERYTHING = """
    GRANT USAGE ON SCHEMA public TO {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};
    REVOKE EXECUTE ON FUNCTION audit_make_partition, audit_late_months FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION audit_make_partition, audit_late_months TO {role};
    REVOKE UPDATE, TRUNCATE ON audit_text FROM {role};
    REVOKE ALL ON audit_event FROM {role};
    GRANT SELECT, INSERT ({columns}) ON audit_event TO {role};
"""
NO_WAY_AROUND = "REVOKE ALL ON {partition} FROM {role}"
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_event'::regclass"


def apply_grants(sender: AppConfig, using: str, **_: object) -> None:
    """Receiver of post_migrate: grants to the application's role on the database that was just migrated."""
    # in one transaction: nobody sees the moment in which too much is granted
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        for statement in _statements(cursor):
            cursor.execute(statement.as_string(cursor.connection))


def _statements(cursor: CursorWrapper) -> Iterator[sql.Composed]:
    role = sql.Identifier(settings.DATABASE_APPLICATION_ROLE)
    yield sql.SQL(EVERYTHING).format(role=role, columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)))
    cursor.execute(PARTITIONS)
    # through the parent only: rights of a partition would be a second door
    for (partition,) in cursor.fetchall():
        yield sql.SQL(NO_WAY_AROUND).format(role=role, partition=sql.Identifier(partition))
