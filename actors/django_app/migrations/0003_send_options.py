"""Remember more of a send than its fallback; a new name and columns with a default lock the small table for a moment only."""

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """What was remembered so far were fallbacks."""

    dependencies = (("chat_actors", "0002_resends_and_fallbacks"),)
    operations = (
        migrations.RenameModel("FallbackAllowed", "SendOptions"),
        migrations.AddField("sendoptions", "use_fallback", models.BooleanField(default=True)),
        migrations.AlterField("sendoptions", "use_fallback", models.BooleanField(default=False)),
        migrations.AddField("sendoptions", "bulk", models.BooleanField(default=False)),
    )
