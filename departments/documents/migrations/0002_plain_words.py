"""Fields are called as people call them: words only, nothing changes in the database."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("documents", "0001_sources"),
    ]

    operations = [
        migrations.AlterField(
            model_name="documentsource",
            name="is_active",
            field=models.BooleanField(default=True, verbose_name="in use"),
        ),
        migrations.AlterField(
            model_name="documentsource",
            name="minutes",
            field=models.PositiveIntegerField(
                default=60,
                help_text="How often it is looked at.",
                validators=[django.core.validators.MinValueValidator(5)],
                verbose_name="minutes between two looks",
            ),
        ),
    ]
