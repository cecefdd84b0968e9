"""Fields are called as people call them: words only, nothing changes in the database."""

import departments.models
import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("departments", "0012_second_factor"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="department",
            name="bytes_allowed",
            field=models.PositiveBigIntegerField(
                blank=True,
                help_text="All of them together. Empty: what the settings of this installation say.",
                null=True,
                verbose_name="bytes at most",
            ),
        ),
        migrations.AlterField(
            model_name="department",
            name="files_allowed",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Older versions of a document count. Empty: what the settings of this installation say.",
                null=True,
                verbose_name="files at most",
            ),
        ),
        migrations.AlterField(
            model_name="department",
            name="instructions",
            field=models.TextField(
                blank=True,
                help_text="And how it should answer. Never put a secret here.",
                max_length=8000,
                verbose_name="what the assistant is for",
            ),
        ),
        migrations.AlterField(
            model_name="department",
            name="is_active",
            field=models.BooleanField(
                default=True, help_text="Closed: nobody in it can ask any more.", verbose_name="open"
            ),
        ),
        migrations.AlterField(
            model_name="department",
            name="slug",
            field=models.SlugField(help_text="Part of the address, such as /d/finance/.", verbose_name="short name"),
        ),
        migrations.AlterField(
            model_name="membership",
            name="created_at",
            field=models.DateTimeField(auto_now_add=True, verbose_name="since"),
        ),
        migrations.AlterField(
            model_name="membership",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="memberships",
                to=settings.AUTH_USER_MODEL,
                verbose_name="person",
            ),
        ),
        migrations.AlterField(
            model_name="organization",
            name="conversation_days",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Counted from its last question; then it is deleted. Empty: kept without an end.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="days a conversation is kept",
            ),
        ),
        migrations.AlterField(
            model_name="organization",
            name="created_at",
            field=models.DateTimeField(auto_now_add=True, verbose_name="added on"),
        ),
        migrations.AlterField(
            model_name="organization",
            name="slug",
            field=models.SlugField(unique=True, verbose_name="short name"),
        ),
        migrations.AlterField(
            model_name="organization",
            name="time_zone",
            field=models.CharField(
                default="UTC",
                help_text="At midnight there a new day begins, and with it the budgets of the day and the month.",
                max_length=64,
                validators=[departments.models.validate_time_zone],
            ),
        ),
    ]
