"""The first functions that admitted and settled a call; 0004_step replaces them."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).with_suffix(".sql")


class Migration(migrations.Migration):
    dependencies = [("limits", "0001_initial")]
    operations = [
        migrations.RunSQL(
            SQL.read_text(encoding="utf-8"), "DROP FUNCTION limits_admit, limits_settle, limits_standing, limits_reserved, limits_asked, limits_lock;"
        )
    ]
