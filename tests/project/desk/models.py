"""Threads and entries with integer keys, a tenant reached over a relation, no attachments."""

from django.db import models


class Inbox(models.Model):
    """A tenant's place for threads."""

    owner = models.CharField(max_length=64, null=True)


class Line(models.Model):
    """A connected number."""

    owner = models.CharField(max_length=64, null=True)
    label = models.CharField(max_length=100)
    wire_name = models.CharField(max_length=100, blank=True)
    enabled = models.BooleanField(default=True)


class Thread(models.Model):
    """A conversation."""

    inbox = models.ForeignKey(Inbox, on_delete=models.CASCADE)
    kind = models.CharField(max_length=20, default="individual")
    address = models.CharField(max_length=80)
    title = models.CharField(max_length=255, blank=True)
    line = models.CharField(max_length=100, null=True)
    avatar = models.CharField(max_length=500, blank=True)
    group = models.JSONField(default=dict)


class Entry(models.Model):
    """A chat message. The default manager hides archived ones, as hosts' managers do."""

    class Visible(models.Manager):
        def get_queryset(self) -> models.QuerySet:
            return super().get_queryset().filter(archived=False)

    thread = models.ForeignKey(Thread, on_delete=models.CASCADE)
    way = models.CharField(max_length=10, default="outgoing")
    body = models.TextField(blank=True)
    state = models.CharField(max_length=20, default="pending")
    raw_state = models.CharField(max_length=50, blank=True)
    external_id = models.CharField(max_length=255, blank=True)
    failure = models.TextField(null=True)
    note = models.BooleanField(default=False)
    removed = models.BooleanField(default=False)
    archived = models.BooleanField(default=False)
    author = models.CharField(max_length=40, null=True)
    extra = models.JSONField(null=True)
    written_at = models.DateTimeField()

    objects = Visible()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["thread", "external_id"], condition=~models.Q(external_id=""), name="desk_entry_external_id"
            ),
        )


class UsageSample(models.Model):
    """Redis' memory, in the shape of the adopting product's table."""

    sampled_at = models.DateTimeField(auto_now_add=True)
    used_memory = models.BigIntegerField()
    aof_current_size = models.BigIntegerField(null=True)
    keys_profile_pic = models.IntegerField(null=True)
    keys_webhook = models.IntegerField(null=True)
