"""What each database role may do with seals, leaves and the end of a month, set again after every migration.

- The application reads seals and leaves; retention and holds it may change, because IT does so in the console.
- The sealer reads events, adds leaves and seals, and keeps the anchors' state.
- The retention role reads, erases texts, and may run the one function that drops a month.
Both may add events of their own. A role that this cluster does not have is passed over: then the owner seals.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import AppConfig
from django.conf import settings
from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from audit.writer import COLUMNS

APPLICATION = """
    REVOKE ALL ON audit_seal, audit_leaf, audit_seal_key, audit_anchor_state FROM {role};
    GRANT SELECT ON audit_seal, audit_leaf, audit_seal_key, audit_anchor_state TO {role};
    REVOKE DELETE, TRUNCATE ON audit_legal_hold FROM {role};
    GRANT EXECUTE ON FUNCTION audit_make_leaf_partition TO {role};
"""
SEALER = """
    GRANT USAGE ON SCHEMA public TO {role};
    GRANT SELECT, INSERT ({columns}) ON audit_event TO {role};
    GRANT SELECT, INSERT ON audit_seal, audit_leaf, audit_seal_key TO {role};
    GRANT SELECT, INSERT, UPDATE ON audit_anchor_state TO {role};
"""
RETENTION = """
    GRANT USAGE ON SCHEMA public TO {role};
    GRANT SELECT, INSERT ({columns}) ON audit_event TO {role};
    GRANT SELECT ON audit_seal, audit_leaf, audit_retention_policy, audit_legal_hold TO {role};
    GRANT SELECT, DELETE ON audit_text TO {role};
    GRANT EXECUTE ON FUNCTION audit_drop_month, audit_days_kept, audit_is_held TO {role};
"""
NOBODY = """
    REVOKE EXECUTE ON FUNCTION audit_drop_month, audit_days_kept, audit_is_held, audit_make_leaf_partition FROM PUBLIC
"""
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_leaf'::regclass"


def apply_seal_grants(sender: AppConfig, using: str, **_: object) -> None:
    """Receiver of post_migrate, connected after the grants of the record itself."""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        for statement in _statements(cursor):
            cursor.execute(statement.as_string(cursor.connection))


def role_of(alias: str) -> str:
    """The role of a connection's address, or the name that the bootstrap gives it."""
    entry = settings.DATABASES.get(alias)
    return str(entry["USER"]) if entry else f"chatgrid_{alias}"


def _statements(cursor: CursorWrapper) -> Iterator[sql.Composed]:
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    application = sql.Identifier(settings.DATABASE_APPLICATION_ROLE)
    yield sql.Composed([sql.SQL(NOBODY)])
    yield sql.SQL(APPLICATION).format(role=application)
    cursor.execute(PARTITIONS)
    for (partition,) in cursor.fetchall():
        yield sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.Identifier(partition), application)
    for alias, statement in (("sealer", SEALER), ("retention", RETENTION)):
        if _is_a_role_of_its_own(cursor, role_of(alias)):
            yield sql.SQL(statement).format(role=sql.Identifier(role_of(alias)), columns=columns)


def _is_a_role_of_its_own(cursor: CursorWrapper, role: str) -> bool:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s AND rolname <> current_user", [role])
    return cursor.fetchone() is not None
