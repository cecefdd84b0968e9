"""Of several refusals the longest is told; an alert is told again under a higher ceiling: the functions once more."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).parent.parent / "sql" / "step.sql"


class Migration(migrations.Migration):
    dependencies = [("limits", "0008_plain_words")]
    operations = [
        migrations.AddField(
            model_name="refused",
            name="ceiling",
            field=models.DecimalField(
                decimal_places=8, help_text="As it was at the last one.", max_digits=24, null=True
            ),
        ),
        migrations.RemoveConstraint(model_name="alert", name="alert_once"),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(
                fields=("scope", "scope_id", "measure", "period", "begins", "percent", "ceiling"), name="alert_once"
            ),
        ),
        migrations.RunSQL(SQL.read_text(encoding="utf-8"), migrations.RunSQL.noop),
    ]
