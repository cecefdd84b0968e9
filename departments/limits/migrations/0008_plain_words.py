"""Fields are called as people call them: words only, nothing changes in the database."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("limits", "0007_months"),
    ]

    operations = [
        migrations.AlterField(
            model_name="alerttarget",
            name="is_active",
            field=models.BooleanField(default=True, verbose_name="send alerts"),
        ),
        migrations.AlterField(
            model_name="alerttarget",
            name="kind",
            field=models.CharField(
                choices=[("email", "E-mail"), ("webhook", "Webhook")], max_length=8, verbose_name="sent by"
            ),
        ),
        migrations.AlterField(
            model_name="limit",
            name="answers_at_once",
            field=models.PositiveIntegerField(
                blank=True, help_text="Being written at the same time.", null=True, verbose_name="answers at once"
            ),
        ),
        migrations.AlterField(
            model_name="limit",
            name="money_per_day",
            field=models.DecimalField(
                blank=True,
                decimal_places=4,
                max_digits=14,
                null=True,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="US$ a day",
            ),
        ),
        migrations.AlterField(
            model_name="limit",
            name="money_per_month",
            field=models.DecimalField(
                blank=True,
                decimal_places=4,
                max_digits=14,
                null=True,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="US$ a month",
            ),
        ),
        migrations.AlterField(
            model_name="limit",
            name="person_answers_at_once",
            field=models.PositiveIntegerField(blank=True, null=True, verbose_name="each person: answers at once"),
        ),
        migrations.AlterField(
            model_name="limit",
            name="person_money_per_day",
            field=models.DecimalField(
                blank=True,
                decimal_places=4,
                max_digits=14,
                null=True,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="each person: US$ a day",
            ),
        ),
        migrations.AlterField(
            model_name="limit",
            name="person_money_per_month",
            field=models.DecimalField(
                blank=True,
                decimal_places=4,
                max_digits=14,
                null=True,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="each person: US$ a month",
            ),
        ),
        migrations.AlterField(
            model_name="limit",
            name="person_requests_per_minute",
            field=models.PositiveIntegerField(blank=True, null=True, verbose_name="each person: questions a minute"),
        ),
        migrations.AlterField(
            model_name="limit",
            name="person_tokens_per_day",
            field=models.PositiveBigIntegerField(blank=True, null=True, verbose_name="each person: tokens a day"),
        ),
        migrations.AlterField(
            model_name="limit",
            name="person_tokens_per_month",
            field=models.PositiveBigIntegerField(blank=True, null=True, verbose_name="each person: tokens a month"),
        ),
        migrations.AlterField(
            model_name="limit",
            name="requests_per_minute",
            field=models.PositiveIntegerField(
                blank=True, help_text="In any 60 seconds.", null=True, verbose_name="questions a minute"
            ),
        ),
        migrations.AlterField(
            model_name="limit",
            name="tokens_per_day",
            field=models.PositiveBigIntegerField(
                blank=True, help_text="Empty: no limit of its own.", null=True, verbose_name="tokens a day"
            ),
        ),
        migrations.AlterField(
            model_name="limit",
            name="tokens_per_month",
            field=models.PositiveBigIntegerField(blank=True, null=True, verbose_name="tokens a month"),
        ),
    ]
