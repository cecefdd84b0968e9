"""Who may do what with the sums over the record, set again after every migration.

Whoever reads the record reads its sums; nobody writes them but the function that makes them from the record, and that
one the application may call, because nothing it is given can change what comes out.
"""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings
from django.db import connections, transaction
from psycopg import sql

GRANTS = """
    REVOKE ALL ON audit_rollup, audit_rollup_person, audit_rollup_detail, audit_rollup_state FROM {role};
    GRANT SELECT ON audit_rollup, audit_rollup_person, audit_rollup_detail, audit_rollup_state TO {role};
    REVOKE EXECUTE ON FUNCTION audit_roll_up, audit_rollup_again, audit_rollup_add, audit_rollup_forget FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION audit_roll_up, audit_rollup_again TO {role};
"""


def apply_rollup_grants(sender: AppConfig, using: str, **_: object) -> None:
    """Receiver of post_migrate, connected after the grants of the record itself, which open every ordinary table."""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        statement = sql.SQL(GRANTS).format(role=sql.Identifier(settings.DATABASE_APPLICATION_ROLE))
        cursor.execute(statement.as_string(cursor.connection))
