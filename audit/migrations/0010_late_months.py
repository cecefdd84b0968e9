"""A month that nobody made ahead takes its rows out of the default partition, made by audit/sql/months.sql.

The functions of before make no month beside such rows; taken back, these stay as they are.
"""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent.parent / "sql" / "months.sql"


class Migration(migrations.Migration):
    dependencies = [("audit", "0009_by_model")]
    operations = [migrations.RunSQL(SQL.read_text(encoding="utf-8"), migrations.RunSQL.noop)]
