"""What is written to the cache, and very long prompts, have prices of their own.

Prices of November 2026. What a provider's page does not say is taken as its sibling's, the dearer way.
"""

from decimal import Decimal

from django.db import migrations, models

WRITTEN = {"gpt-6.2-sol": "2.50", "gpt-6.1-sol": "2.50", "gpt-6.1-terra": "1.25", "gpt-6-luna": "0.125"}
LONG_FROM = 272_000


def fill(apps, schema_editor):
    rows = apps.get_model("calls", "CatalogueModel").objects.using(schema_editor.connection.alias)
    for name, price in WRITTEN.items():
        rows.filter(name=name).update(price_cache_write=price, long_prompt_tokens=LONG_FROM)


def price(help_text):
    return models.DecimalField(blank=True, decimal_places=6, help_text=help_text, max_digits=12, null=True)


def times(value, help_text):
    return models.DecimalField(decimal_places=2, default=Decimal(value), help_text=help_text, max_digits=5)


FIELDS = {
    "price_cached": price("Read from the cache. Empty: as input."),
    "price_cache_write": price("Written to the cache. Empty: as input."),
    "price_output": price("Reasoning is part of it."),
    "long_prompt_tokens": models.PositiveIntegerField(
        blank=True, help_text="Above so many tokens of input the whole call costs more. Empty: never.", null=True
    ),
    "long_input_times": times("2", "How many times the input then costs."),
    "long_output_times": times("1.5", "How many times the output then costs."),
}
KNOWN = {"price_cached", "price_output"}


class Migration(migrations.Migration):
    dependencies = [("calls", "0004_trials")]
    operations = [
        *(
            (migrations.AlterField if name in KNOWN else migrations.AddField)("cataloguemodel", name, field)
            for name, field in FIELDS.items()
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
