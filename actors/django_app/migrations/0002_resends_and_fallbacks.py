"""Count resends, know equal parts, remember fallbacks; columns with a default lock the table for a moment only."""

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """What reconciliation of equal messages needs."""

    dependencies = (("chat_actors", "0001_initial"),)
    operations = (
        migrations.AddField("sendattempt", "resends", models.PositiveIntegerField(default=0)),
        migrations.AddField("sendattempt", "fingerprint", models.CharField(default="", max_length=64)),
        migrations.CreateModel(
            name="FallbackAllowed",
            fields=[
                ("message_id", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
    )
