"""What Django calls this app.

A host lists ``actors.django_app`` in ``INSTALLED_APPS``. Loading it opens no connection, so that ``migrate`` and
``collectstatic`` run where there is no Redis.
"""

from typing import Any

from django.apps import AppConfig


class ChatActorsConfig(AppConfig):  # type: ignore[misc]  # Django brings no types
    """The app ``chat_actors``."""

    name = "actors.django_app"
    label = "chat_actors"
    verbose_name = "Chat actors"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks; have every send keep to transactions, and outcomes told over Channels where wanted.

        Where the host has initialised Sentry, its events about our frames are scrubbed from here on, also in web processes.
        """
        from django.core.signals import setting_changed

        from actors.django_app import checks  # noqa: F401  # importing it registers them
        from actors.django_app.commits import Commits
        from actors.django_app.conf import chat_actors
        from middleware import sentry_client
        from middleware.sending import use_policy

        if sentry_client.sdk() is not None:
            sentry_client.hook()
        use_policy(Commits())
        setting_changed.connect(_forget_settings, dispatch_uid="chat_actors.forget_settings")
        if chat_actors().get("BROADCAST"):
            from actors.django_app import sockets

            sockets.connect()


def _forget_settings(*, setting: str, **_: Any) -> None:
    """A test overrides ``CHAT_ACTORS``: what this process built from the old one is not that of the test."""
    if setting == "CHAT_ACTORS":
        from actors import services

        services.install(None)
