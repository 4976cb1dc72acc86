"""The host's rows, as the adopting product has them (without what the work never reads)."""

import uuid

from django.db import models
from django.utils import timezone


class WhatsAppInstance(models.Model):
    """A connected number; without a tenant it serves all of them."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant_id = models.CharField(max_length=64, null=True, blank=True, db_index=True)
    friendly_name = models.CharField(max_length=100, default="WhatsApp")
    instance_name = models.CharField(max_length=100)
    evolution_instance_name = models.CharField(max_length=100, blank=True)
    api_url = models.URLField(null=True, blank=True)
    api_key = models.CharField(max_length=255, null=True, blank=True)
    connection_state = models.CharField(max_length=20, default="close")
    status = models.CharField(max_length=20, default="inactive")
    is_active = models.BooleanField(default=True)
    integration_type = models.CharField(max_length=20, default="evolution")
    phone_number_id = models.CharField(max_length=64, null=True, blank=True)
    access_token = models.TextField(null=True, blank=True)
    pace = models.JSONField(default=dict, blank=True)


class Conversation(models.Model):
    """A thread with a person or a group."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant_id = models.CharField(max_length=64, null=True, blank=True, db_index=True)
    contact_phone = models.CharField(max_length=50, db_index=True)
    contact_name = models.CharField(max_length=255, blank=True)
    profile_pic_url = models.URLField(max_length=500, null=True, blank=True)
    instance_name = models.CharField(max_length=255, blank=True, db_index=True)
    conversation_type = models.CharField(max_length=20, default="individual")
    group_metadata = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=20, default="open")
    last_message_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)


class Message(models.Model):
    """A chat message; ``message_id`` is the provider's."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    sender_name = models.CharField(max_length=255, blank=True)
    sender_phone = models.CharField(max_length=20, blank=True)
    content = models.TextField(blank=True)
    direction = models.CharField(max_length=10, default="outgoing")
    message_id = models.CharField(max_length=255, null=True, blank=True, db_index=True)
    evolution_status = models.CharField(max_length=50, blank=True)
    error_message = models.TextField(blank=True)
    status = models.CharField(max_length=20, default="pending", db_index=True)
    is_internal = models.BooleanField(default=False)
    is_deleted = models.BooleanField(default=False)
    is_edited = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = (models.Index(fields=["status", "direction"], name="chat_message_waiting"),)
        constraints = (
            models.UniqueConstraint(
                fields=["conversation", "message_id"],
                condition=models.Q(message_id__isnull=False),
                name="chat_message_provider_id",
            ),
        )

    def save(self, *args: object, **kwargs: object) -> None:
        is_new = self._state.adding
        super().save(*args, **kwargs)
        if is_new and not self.is_internal:
            Conversation.objects.using(self._state.db).filter(pk=self.conversation_id).update(
                last_message_at=self.created_at
            )


class MessageAttachment(models.Model):
    """A file of a chat message."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="attachments")
    original_filename = models.CharField(max_length=255, blank=True)
    mime_type = models.CharField(max_length=100)
    file_path = models.CharField(max_length=500, blank=True)
    file_url = models.TextField(blank=True)
    short_url = models.CharField(max_length=255, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
