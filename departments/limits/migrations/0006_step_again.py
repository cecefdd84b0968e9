"""Alerts, the page of a person's budgets, and the pause after a provider's spend limit: the functions once more."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent.parent / "sql" / "step.sql"


class Migration(migrations.Migration):
    dependencies = [("limits", "0005_alerts")]
    operations = [migrations.RunSQL(SQL.read_text(encoding="utf-8"), migrations.RunSQL.noop)]
