"""A month counts every day that is booked in it: the functions once more."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent.parent / "sql" / "step.sql"


class Migration(migrations.Migration):
    dependencies = [("limits", "0006_step_again")]
    operations = [migrations.RunSQL(SQL.read_text(encoding="utf-8"), migrations.RunSQL.noop)]
