"""The seals over the record, retention and legal holds, made by audit/sql/seals.sql."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent.parent / "sql" / "seals.sql"


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_models")]
    operations = [
        migrations.RunSQL(
            SQL.read_text(encoding="utf-8"),
            "DROP TABLE audit_seal, audit_leaf, audit_seal_key, audit_anchor_state, audit_retention_policy, audit_legal_hold;"
            "DROP FUNCTION audit_make_leaf_partition, audit_drop_month, audit_is_held, audit_days_kept, audit_now;",
        ),
    ]
