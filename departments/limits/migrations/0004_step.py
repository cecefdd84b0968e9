"""The functions that admit and settle a call: departments/limits/sql/step.sql."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent.parent / "sql" / "step.sql"
OLD = Path(__file__).with_name("0002_admission.sql")
DROP_OLD = "DROP FUNCTION limits_admit, limits_settle, limits_standing, limits_reserved, limits_asked, limits_lock;"
DROP = (
    "DROP FUNCTION limits_reached, limits_budgets, limits_settle_and_meter, limits_meter, limits_settle, limits_admit, limits_resets_at, limits_begins, "
    "limits_standings, limits_asked, limits_moments, limits_is_question, limits_member;"
)


class Migration(migrations.Migration):
    dependencies = [("limits", "0003_budgets")]
    operations = [
        migrations.RunSQL(DROP_OLD, OLD.read_text(encoding="utf-8")),
        migrations.RunSQL(SQL.read_text(encoding="utf-8"), DROP),
    ]
