"""The tables of this package in the host's database.

``actors.stores.django_attempts`` reads and writes them; hosts may show them, and change nothing in them.
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
    resends = models.PositiveIntegerField(default=0)
    fingerprint = models.CharField(max_length=64, default="")
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
        permissions = (("reconcile_sendattempt", "Can have send attempts reconciled"),)

    def __str__(self) -> str:
        return f"{self.message_id}:{self.part} {self.state}"


class SendOptions(models.Model):  # type: ignore[misc]  # Django brings no types
    """What whoever sent a chat message allowed: another instance of its tenant, or to be overtaken as one of many.

    Kept here because the queue may lose it; without a foreign key, as above.
    """

    message_id = models.CharField(max_length=255, primary_key=True)
    use_fallback = models.BooleanField(default=False)
    bulk = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        allowed = [name for name in ("use_fallback", "bulk") if getattr(self, name)]
        return f"{self.message_id} {' '.join(allowed)}"


class DeadLetter(models.Model):  # type: ignore[misc]  # Django brings no types
    """No table: what the admin's permissions and its log call a dead letter, which is kept in Redis."""

    id = models.CharField(max_length=255, primary_key=True)

    class Meta:
        """Seen, sent again and deleted by rights of their own."""

        managed = False
        default_permissions = ("view",)
        permissions = (
            ("redrive_deadletter", "Can send dead letters again"),
            ("discard_deadletter", "Can delete dead letters"),
        )

    def __str__(self) -> str:
        return f"dead letter {self.pk}"


class InstanceCircuit(models.Model):  # type: ignore[misc]  # Django brings no types
    """No table: the same of how an instance stands."""

    name = models.CharField(max_length=255, primary_key=True)

    class Meta:
        """Seen, parked and released by rights of their own."""

        managed = False
        verbose_name = "instance"
        default_permissions = ("view",)
        permissions = (
            ("park_instancecircuit", "Can park instances"),
            ("release_instancecircuit", "Can release instances"),
        )

    def __str__(self) -> str:
        return str(self.pk)
