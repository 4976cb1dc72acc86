"""Who works for which tenant: people see the conversations of theirs and of nobody else."""

from django.conf import settings
from django.db import models


class Member(models.Model):
    """A person of a tenant."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="member")
    tenant_id = models.CharField(max_length=64)


def tenant_of(user: object) -> str | None:
    """Tenant of a person who may see chats; None for everybody else."""
    if not getattr(user, "is_authenticated", False) or not user.has_perm("chat.view_conversation"):
        return None
    return Member.objects.filter(user=user).values_list("tenant_id", flat=True).first()
