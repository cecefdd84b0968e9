"""The sums over the record, made by audit/sql/rollups.sql."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent.parent / "sql" / "rollups.sql"


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_seal_models")]
    operations = [
        migrations.RunSQL(
            SQL.read_text(encoding="utf-8"),
            "DROP FUNCTION audit_rollup_again, audit_roll_up, audit_rollup_add, audit_rollup_forget, audit_rollup_sums;"
            "DROP TABLE audit_rollup, audit_rollup_person, audit_rollup_detail, audit_rollup_state;",
        ),
    ]
