"""What Django calls this app.

A host lists ``actors.django_app`` in ``INSTALLED_APPS``. Loading it opens no connection, so that ``migrate`` and
``collectstatic`` run where there is no Redis.
"""

from django.apps import AppConfig


class ChatActorsConfig(AppConfig):  # type: ignore[misc]  # Django brings no types
    """The app ``chat_actors``."""

    name = "actors.django_app"
    label = "chat_actors"
    verbose_name = "Chat actors"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from actors.django_app import checks  # noqa: F401  # importing it registers them
