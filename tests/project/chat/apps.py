"""The app of the demo project."""

import django
from django.apps import AppConfig
from django.db.backends.signals import connection_created


class ChatConfig(AppConfig):
    name = "chat"

    def ready(self) -> None:
        if django.VERSION < (5, 1):
            connection_created.connect(_use_wal)


def _use_wal(connection, **kwargs: object) -> None:
    """What ``init_command`` does from Django 5.1 on."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
