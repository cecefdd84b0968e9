from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('keys', '0003_rotation'),
    ]

    operations = [
        migrations.AddField(
            model_name='providerproject',
            name='plan',
            field=models.JSONField(blank=True, default=list, editable=False, help_text='What applying would have done.'),
        ),
        migrations.AddField(
            model_name='providerproject',
            name='plan_sentence',
            field=models.CharField(blank=True, editable=False, help_text='Why there is no plan.', max_length=400),
        ),
        migrations.AddField(
            model_name='providerproject',
            name='planned_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='finding',
            name='problem',
            field=models.CharField(blank=True, help_text='Why the last repair did not work.', max_length=400),
        ),
    ]
