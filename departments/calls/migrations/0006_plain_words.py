"""Fields are called as people call them: words only, nothing changes in the database."""

from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("calls", "0005_prices"),
    ]

    operations = [
        migrations.AlterField(
            model_name="cataloguemodel",
            name="context_tokens",
            field=models.PositiveIntegerField(verbose_name="prompt and answer together, at most (tokens)"),
        ),
        migrations.AlterField(
            model_name="cataloguemodel",
            name="kind",
            field=models.CharField(
                choices=[("chat", "Chat"), ("embedding", "Embedding")], max_length=16, verbose_name="used for"
            ),
        ),
        migrations.AlterField(
            model_name="cataloguemodel",
            name="long_input_times",
            field=models.DecimalField(
                decimal_places=2,
                default=Decimal("2"),
                help_text="As in 2: a million tokens of long input cost twice as much.",
                max_digits=5,
                verbose_name="price of long input, times",
            ),
        ),
        migrations.AlterField(
            model_name="cataloguemodel",
            name="long_output_times",
            field=models.DecimalField(
                decimal_places=2,
                default=Decimal("1.5"),
                help_text="As in 1.5.",
                max_digits=5,
                verbose_name="price of the output after it, times",
            ),
        ),
        migrations.AlterField(
            model_name="cataloguemodel",
            name="long_prompt_tokens",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Then the whole call costs more. Empty: never.",
                null=True,
                verbose_name="input is long above (tokens)",
            ),
        ),
        migrations.AlterField(
            model_name="cataloguemodel",
            name="output_tokens",
            field=models.PositiveIntegerField(default=0, verbose_name="longest answer (tokens)"),
        ),
        migrations.AlterField(
            model_name="cataloguemodel",
            name="price_cache_write",
            field=models.DecimalField(
                blank=True,
                decimal_places=6,
                help_text="Empty: as input.",
                max_digits=12,
                null=True,
                verbose_name="input written to the cache (US$ a million tokens)",
            ),
        ),
        migrations.AlterField(
            model_name="cataloguemodel",
            name="price_cached",
            field=models.DecimalField(
                blank=True,
                decimal_places=6,
                help_text="Empty: as input.",
                max_digits=12,
                null=True,
                verbose_name="input read from the cache (US$ a million tokens)",
            ),
        ),
        migrations.AlterField(
            model_name="cataloguemodel",
            name="price_input",
            field=models.DecimalField(
                blank=True, decimal_places=6, max_digits=12, null=True, verbose_name="input (US$ a million tokens)"
            ),
        ),
        migrations.AlterField(
            model_name="cataloguemodel",
            name="price_output",
            field=models.DecimalField(
                blank=True,
                decimal_places=6,
                help_text="Reasoning is part of it.",
                max_digits=12,
                null=True,
                verbose_name="output (US$ a million tokens)",
            ),
        ),
        migrations.AlterField(
            model_name="cataloguemodel",
            name="shutdown_on",
            field=models.DateField(
                blank=True,
                help_text="The day on which the provider switches it off.",
                null=True,
                verbose_name="ends on",
            ),
        ),
        migrations.AlterField(
            model_name="cataloguemodel",
            name="smallest_answer",
            field=models.PositiveIntegerField(
                default=64,
                help_text="A model that thinks first needs room for its thoughts.",
                verbose_name="shortest useful answer (tokens)",
            ),
        ),
    ]
