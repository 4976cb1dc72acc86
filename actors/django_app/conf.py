"""Settings as Django's ``CHAT_ACTORS`` and the environment have them.

Read by the checks of this app; workers read the same through ``actors.wiring``.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings as django_settings

from actors.settings import Settings


def chat_actors() -> dict[str, Any]:
    """``CHAT_ACTORS`` of the host's settings; empty where there is none, or no dict (which :func:`load_settings` says)."""
    chosen = getattr(django_settings, "CHAT_ACTORS", {})
    return dict(chosen) if isinstance(chosen, Mapping) else {}


def load_settings() -> Settings:
    """Everything, read anew.

    Raises:
        SettingsError: something is wrong; its text has every fault.
    """
    chosen = getattr(django_settings, "CHAT_ACTORS", None)
    return Settings.load(django={} if chosen is None else chosen)
