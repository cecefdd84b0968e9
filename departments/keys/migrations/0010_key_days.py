"""How long a key may live is checked where it is typed in; nothing changes in the database."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("keys", "0009_plain_words"),
    ]

    operations = [
        migrations.AlterField(
            model_name="providerproject",
            name="key_days",
            field=models.PositiveIntegerField(
                default=104,
                help_text="Days until a new key ends by itself.",
                validators=[
                    django.core.validators.MinValueValidator(15, "A key lives 15 to 365 days."),
                    django.core.validators.MaxValueValidator(365, "A key lives 15 to 365 days."),
                ],
                verbose_name="days until a key ends",
            ),
        ),
    ]
