"""Name the rights of the admin's pages; changes no table: two of the models have none."""

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django brings no types
    """Permissions, which Django makes after it."""

    dependencies = (("chat_actors", "0003_send_options"),)
    operations = (
        migrations.AlterModelOptions(
            name="sendattempt",
            options={"permissions": (("reconcile_sendattempt", "Can have send attempts reconciled"),)},
        ),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[("id", models.CharField(max_length=255, primary_key=True, serialize=False))],
            options={
                "permissions": (
                    ("redrive_deadletter", "Can send dead letters again"),
                    ("discard_deadletter", "Can delete dead letters"),
                ),
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="InstanceCircuit",
            fields=[("name", models.CharField(max_length=255, primary_key=True, serialize=False))],
            options={
                "verbose_name": "instance",
                "permissions": (
                    ("park_instancecircuit", "Can park instances"),
                    ("release_instancecircuit", "Can release instances"),
                ),
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    )
