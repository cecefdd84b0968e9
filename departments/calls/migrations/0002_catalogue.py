"""The models known when this was written (2026-11-23), as a start; IT edits the table."""

from django.db import migrations

# name, kind, context, output, prices per million tokens in US dollars: input, cached, output
MODELS = [
    ("gpt-6.2-sol", "chat", 922_000, 128_000, "2", None, "10"),
    ("gpt-6.1-sol", "chat", 922_000, 128_000, "2", "0.10", "10"),
    ("gpt-6.1-terra", "chat", 922_000, 128_000, "1", "0.05", "5"),
    ("gpt-6-luna", "chat", 922_000, 128_000, "0.10", "0.01", "0.50"),
    ("gpt-5.4-mini", "chat", 272_000, 128_000, "0.75", "0.075", "4.50"),
    ("text-embedding-3-small", "embedding", 8_192, 0, "0.02", None, None),
    ("text-embedding-3-large", "embedding", 8_192, 0, "0.13", None, None),
]


def fill(apps, schema_editor):
    model = apps.get_model("calls", "CatalogueModel")
    for name, kind, context, output, price_input, price_cached, price_output in MODELS:
        model.objects.using(schema_editor.connection.alias).get_or_create(
            name=name,
            defaults={
                "kind": kind,
                "context_tokens": context,
                "output_tokens": output,
                "price_input": price_input,
                "price_cached": price_cached,
                "price_output": price_output,
            },
        )


class Migration(migrations.Migration):
    dependencies = [("calls", "0001_initial")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
