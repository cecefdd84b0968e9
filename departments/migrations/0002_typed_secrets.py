"""What a department does about secrets in questions."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("departments", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="department",
            name="typed_secrets",
            field=models.CharField(
                choices=[
                    ("warn", "Ask the person before it is sent"),
                    ("block", "Do not send it"),
                    ("redact", "Take the secret out and send the rest"),
                ],
                default="warn",
                help_text="What happens to a question that looks as if it held a key, a card number or another secret.",
                max_length=8,
                verbose_name="secrets in questions",
            ),
        )
    ]
