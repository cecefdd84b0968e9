"""The record's tables, made by audit/sql/record.sql."""

from pathlib import Path

import django.db.models.manager
from django.db import migrations, models
import uuid

SQL = Path(__file__).parent.parent / "sql" / "record.sql"


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.RunSQL(
            SQL.read_text(encoding="utf-8"),
            "DROP TABLE audit_event, audit_text; DROP FUNCTION audit_make_partition, audit_refuse_change;",
        ),
    ]
