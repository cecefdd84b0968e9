"""Fields are called as people call them: words only, nothing changes in the database."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("console", "0003_saved_searches"),
    ]

    operations = [
        migrations.AlterField(
            model_name="departure",
            name="at",
            field=models.DateTimeField(default=django.utils.timezone.now, verbose_name="when"),
        ),
        migrations.AlterField(
            model_name="departure",
            name="by_name",
            field=models.CharField(max_length=120, verbose_name="ended by"),
        ),
    ]
