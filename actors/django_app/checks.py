"""System checks: what of the host's project would stop or lose messages. docs/checks.md has all of them.

Run by ``manage.py check``, ``runserver`` and ``migrate``, without asking any server; with ``--deploy`` they ask, as
``chat-actors doctor`` does. A number is never given a second meaning.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from actors.django_app import check_doctor, check_host
from actors.django_app.check_neighbours import impatient, neighbours
from actors.django_app.conf import chat_actors, load_settings
from actors.errors import SettingsError
from actors.settings import Settings

TAG = "chat_actors"


@register(TAG)  # type: ignore[untyped-decorator]  # Django brings no types
def check_chat_actors(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """All checks that need nobody."""
    del app_configs, kwargs
    try:
        settings = load_settings()
    except SettingsError as error:
        hint = "Mend CHAT_ACTORS or the environment (docs/configuration.md)."
        return [Error(fault, hint=hint, id=f"{TAG}.E001") for fault in error.faults]
    return [
        *check_host.models(settings, TAG),
        *neighbours(settings, TAG),
        *impatient(TAG),
        *_broadcast_errors(settings),
        *check_host.twice(chat_actors(), TAG),
        *check_host.shown(settings, TAG),
    ]


@register(TAG, deploy=True)  # type: ignore[untyped-decorator]  # Django brings no types
def check_servers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What the doctor finds; nothing while the settings cannot be used, which the other checks say."""
    del app_configs, kwargs
    try:
        load_settings()
    except SettingsError:
        return []
    return list(check_doctor.examined(TAG))


def _broadcast_errors(settings: Settings) -> Iterator[CheckMessage]:
    if not settings.broadcast:
        return
    if find_spec("channels") is None:
        hint = "pip install 'chat-actors[channels]' and a channel layer, or take BROADCAST out of CHAT_ACTORS."
        yield Error("BROADCAST is set and Channels is not installed", hint=hint, id=f"{TAG}.E006")
    elif "default" not in (getattr(django_settings, "CHANNEL_LAYERS", None) or {}):
        hint = "Name a layer there, or take BROADCAST out of CHAT_ACTORS."
        yield Error("BROADCAST is set and CHANNEL_LAYERS has no 'default'", hint=hint, id=f"{TAG}.E006")
    if settings.broadcast_serializer is not None:
        try:
            import_string(settings.broadcast_serializer)
        except ImportError:
            path = settings.broadcast_serializer
            hint = "Name a class of yours, as module.Class, with the methods of actors.django_app.sockets.Serializer."
            yield Error(f"BROADCAST_SERIALIZER {path!r} cannot be imported", hint=hint, id=f"{TAG}.E006")
