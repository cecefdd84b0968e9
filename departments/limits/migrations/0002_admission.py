"""The functions that admit and settle a call: departments/limits/sql/admit.sql."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent.parent / "sql" / "admit.sql"


class Migration(migrations.Migration):
    dependencies = [("limits", "0001_initial")]
    operations = [
        migrations.RunSQL(
            SQL.read_text(encoding="utf-8"), "DROP FUNCTION limits_admit, limits_settle, limits_standing, limits_reserved, limits_asked, limits_lock;"
        )
    ]
