"""Settings as Django's ``CHAT_ACTORS`` and the environment have them.

Read by the checks of this app; workers read the same through ``actors.wiring``.
"""

from typing import Any

from django.conf import settings as django_settings

from actors.settings import Settings


def chat_actors() -> dict[str, Any]:
    """``CHAT_ACTORS`` of the host's settings, empty where there is none."""
    return dict(getattr(django_settings, "CHAT_ACTORS", {}))


def load_settings() -> Settings:
    """Everything, read anew.

    Raises:
        SettingsError: something is wrong; its text has every fault.
    """
    return Settings.load(django=chat_actors())
