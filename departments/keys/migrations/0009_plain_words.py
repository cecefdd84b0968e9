"""Fields are called as people call them: words only, nothing changes in the database."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("keys", "0008_pasted_and_archived"),
    ]

    operations = [
        migrations.AlterField(
            model_name="adminkeyreference",
            name="expires_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="ends by itself on"),
        ),
        migrations.AlterField(
            model_name="adminkeyreference",
            name="installed_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now,
                help_text="When this version of it became current.",
                verbose_name="in use since",
            ),
        ),
        migrations.AlterField(
            model_name="adminkeyreference",
            name="key_id",
            field=models.CharField(blank=True, max_length=64, verbose_name="id at OpenAI"),
        ),
        migrations.AlterField(
            model_name="adminkeyreference",
            name="secret_name",
            field=models.CharField(max_length=512, unique=True, verbose_name="name in the secret manager"),
        ),
        migrations.AlterField(
            model_name="adminkeyreference",
            name="version",
            field=models.CharField(max_length=64, verbose_name="version in the secret manager"),
        ),
        migrations.AlterField(
            model_name="keyreference",
            name="created_at",
            field=models.DateTimeField(auto_now_add=True, verbose_name="first stored"),
        ),
        migrations.AlterField(
            model_name="keyreference",
            name="expires_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="ends by itself on"),
        ),
        migrations.AlterField(
            model_name="keyreference",
            name="installed_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now,
                help_text="When this version of it became current.",
                verbose_name="in use since",
            ),
        ),
        migrations.AlterField(
            model_name="keyreference",
            name="key_id",
            field=models.CharField(blank=True, max_length=64, verbose_name="id at the provider"),
        ),
        migrations.AlterField(
            model_name="keyreference",
            name="project_id",
            field=models.CharField(blank=True, max_length=64, verbose_name="project at the provider"),
        ),
        migrations.AlterField(
            model_name="keyreference",
            name="secret_name",
            field=models.CharField(max_length=512, unique=True, verbose_name="name in the secret manager"),
        ),
        migrations.AlterField(
            model_name="keyreference",
            name="service_account_id",
            field=models.CharField(blank=True, max_length=64, verbose_name="service account at the provider"),
        ),
        migrations.AlterField(
            model_name="keyreference",
            name="version",
            field=models.CharField(max_length=64, verbose_name="version in the secret manager"),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="alert_percents",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Mails at these shares of the limit.",
                verbose_name="warn at (percent)",
            ),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="alert_recipients",
            field=models.JSONField(
                blank=True, default=list, help_text="E-mail addresses.", verbose_name="who is warned"
            ),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="allowed_models",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Empty: the department's model and that of the embeddings.",
                verbose_name="further models",
            ),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="checked_at",
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name="last compared with OpenAI"),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="failure",
            field=models.CharField(blank=True, max_length=400, verbose_name="why it stopped, and what to do"),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="key_days",
            field=models.PositiveIntegerField(
                default=104, help_text="Days until a new key ends by itself.", verbose_name="days until a key ends"
            ),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="key_scopes",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Empty: all that the project may do.",
                verbose_name="what a key may do",
            ),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="monthly_cents",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="OpenAI answers nothing beyond it.",
                null=True,
                verbose_name="limit a month (US cents)",
            ),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="plan_sentence",
            field=models.CharField(blank=True, editable=False, max_length=400, verbose_name="why there is no plan"),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="planned_at",
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name="plan made"),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="project_id",
            field=models.CharField(blank=True, max_length=64, verbose_name="project at OpenAI"),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="retention",
            field=models.CharField(
                choices=[
                    ("organization_default", "As the organization's"),
                    ("none", "No control of its own"),
                    ("zero_data_retention", "Nothing is kept"),
                    ("modified_abuse_monitoring", "Kept without content"),
                    ("enhanced_zero_data_retention", "Nothing is kept (enhanced)"),
                    ("enhanced_modified_abuse_monitoring", "Kept without content (enhanced)"),
                ],
                default="organization_default",
                max_length=64,
                verbose_name="what OpenAI keeps",
            ),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="service_account_id",
            field=models.CharField(blank=True, max_length=64, verbose_name="service account at OpenAI"),
        ),
        migrations.AlterField(
            model_name="providerproject",
            name="step",
            field=models.CharField(blank=True, max_length=32, verbose_name="last step"),
        ),
    ]
