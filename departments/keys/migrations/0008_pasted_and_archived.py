from __future__ import annotations

from typing import Any

from django.db import migrations, models
from django.db.models import F


def note_who_began(apps: Any, schema_editor: Any) -> None:
    """Until now whoever began an exchange with a paste was taken for the one who had pasted."""
    rows = apps.get_model("keys", "Rotation").objects.using(schema_editor.connection.alias)
    rotations = rows.filter(by_paste=True, trigger="paste")
    rotations.update(pasted_by_id=F("started_by_id"))


class Migration(migrations.Migration):
    dependencies = [("keys", "0007_exchanges_of_every_kind")]

    operations = [
        migrations.AddField(
            model_name="rotation",
            name="pasted_by_id",
            field=models.UUIDField(help_text="The person who pasted the new key.", null=True),
        ),
        migrations.AlterField(
            model_name="rotation",
            name="result",
            field=models.CharField(
                blank=True,
                choices=[
                    ("done", "Done: the old key is proven dead"),
                    ("rolled_back", "Given up: the old key is in use, the new one is dead"),
                    ("outage", "The old key is dead and there is no new one"),
                    ("superseded", "The provider deletes whole accounts only: the next rotation does that"),
                    ("handed_over", "Another exchange was needed first: it proves this one's old key dead, too"),
                    ("archived", "Ended with its project or its store, which was closed for good"),
                ],
                max_length=16,
            ),
        ),
        migrations.RunPython(note_who_began, migrations.RunPython.noop),
    ]
