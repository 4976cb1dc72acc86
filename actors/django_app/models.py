"""The one table of this package in the host's database.

``actors.stores.django_attempts`` reads and writes it; hosts may show it, and change nothing in it.
"""

from django.db import models


class SendAttempt(models.Model):  # type: ignore[misc]  # Django brings no types
    """What is known of the delivery of one part of one chat message; committed before the gateway is called.

    ``message_id`` is the host's key as text, without a foreign key: the host may delete or archive its rows at will, and
    no lock of ours is ever taken on them. Times in ``…_ms`` are milliseconds since 1970.
    """

    message_id = models.CharField(max_length=255)
    part = models.PositiveIntegerField()
    state = models.CharField(max_length=16)
    number = models.PositiveIntegerField()
    instance_name = models.CharField(max_length=255)
    started_at_ms = models.BigIntegerField()
    deadline_at_ms = models.BigIntegerField()
    looks = models.PositiveIntegerField(default=0)
    provider_message_id = models.CharField(max_length=255, null=True)  # NULL is outside the unique index
    reason = models.CharField(max_length=500, null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        """One row per part; a provider id belongs to one part of an instance."""

        constraints = (
            models.UniqueConstraint(fields=["message_id", "part"], name="chat_actors_one_per_part"),
            models.UniqueConstraint(
                fields=["instance_name", "provider_message_id"],
                condition=models.Q(provider_message_id__isnull=False),
                name="chat_actors_one_per_id",
            ),
        )
        indexes = (models.Index(fields=["instance_name", "started_at_ms"], name="chat_actors_started"),)

    def __str__(self) -> str:
        return f"{self.message_id}:{self.part} {self.state}"
