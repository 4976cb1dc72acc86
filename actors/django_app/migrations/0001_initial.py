"""Make the table of send attempts; a new table locks nothing that is in use."""

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """The first schema."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="SendAttempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("message_id", models.CharField(max_length=255)),
                ("part", models.PositiveIntegerField()),
                ("state", models.CharField(max_length=16)),
                ("number", models.PositiveIntegerField()),
                ("instance_name", models.CharField(max_length=255)),
                ("started_at_ms", models.BigIntegerField()),
                ("deadline_at_ms", models.BigIntegerField()),
                ("looks", models.PositiveIntegerField(default=0)),
                ("provider_message_id", models.CharField(max_length=255, null=True)),
                ("reason", models.CharField(max_length=500, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "indexes": [models.Index(fields=["instance_name", "started_at_ms"], name="chat_actors_started")],
                "constraints": [
                    models.UniqueConstraint(fields=("message_id", "part"), name="chat_actors_one_per_part"),
                    models.UniqueConstraint(
                        condition=models.Q(("provider_message_id__isnull", False)),
                        fields=("instance_name", "provider_message_id"),
                        name="chat_actors_one_per_id",
                    ),
                ],
            },
        ),
    )
