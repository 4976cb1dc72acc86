"""What of the host's models and settings would stop or lose messages, or show a secret; nobody is asked."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution
from django.db import connections, router
from django.views.debug import get_default_exception_reporter_filter

from actors.settings import Settings, overruled
from actors.settings_values import Hidden
from actors.stores.django_fields import sweeps_by_index, unfit
from actors.stores.django_host import HostModel, find_host

#: Databases that the store was tried on.
TRIED = ("postgresql", "sqlite")


def models(settings: Settings, tag: str) -> Iterator[CheckMessage]:
    """E002, E003 and E010 of the models; E008, E009, W003, W005, W006 and W008 of the database that has them."""
    if settings.store != "django":
        return
    host, faults = find_host(settings.models, settings.field_map)
    for fault in faults:
        yield Error(fault.text, hint=fault.hint, id=f"{tag}.{'E002' if fault.is_model else 'E003'}")
    for fault in unfit(host):
        yield Error(fault.text, hint=fault.hint, id=f"{tag}.E010")
    if "message" in host:
        yield from _database(settings, host["message"], tag)


def _database(settings: Settings, message: HostModel, tag: str) -> Iterator[CheckMessage]:
    using = router.db_for_write(message.model)
    connection = connections[using]
    name = f"DATABASES[{using!r}]"
    if not connection.settings_dict["AUTOCOMMIT"]:
        hint = "Take AUTOCOMMIT out: a claim must be committed before the gateway is called."
        yield Error(f"{name} has AUTOCOMMIT False", hint=hint, id=f"{tag}.E008")
    if not router.allow_migrate_model(using, apps.get_model(tag, "SendAttempt")):
        text = f"{name} has the chat messages, and a router keeps the tables of chat_actors out of it"
        hint = "Let allow_migrate() of your router say True for the app chat_actors there: both commit together."
        yield Error(text, hint=hint, id=f"{tag}.E009")
    if connection.vendor not in TRIED:
        hint = f"Tried are {' and '.join(TRIED)}; run the contract suite (docs/stores.md) over yours."
        yield Caution(f"{name} is {connection.vendor}, which was never tried", hint=hint, id=f"{tag}.W006")
    if connection.settings_dict.get("ATOMIC_REQUESTS") and settings.on_commit != "all":
        text = f"{name} has ATOMIC_REQUESTS: a plain .send() in a view is faster than the commit"
        hint = "Set CHAT_ACTORS['ON_COMMIT'] = 'all'; or send with send_on_commit only, and silence this check."
        yield Caution(text, hint=hint, id=f"{tag}.W003")
    yield from _connections(connection.vendor, connection.settings_dict, name, tag)
    if {"status", "created_at"} <= message.paths.keys() and not sweeps_by_index(message):
        text = f"{message.model._meta.label}: no index begins with {message.paths['status']} or {message.paths['created_at']}"
        hint = "The sweep reads the whole table once a minute: add models.Index(fields=[status, created_at])."
        yield Caution(text, hint=hint, id=f"{tag}.W005")


def _connections(vendor: str, kept: dict[str, Any], name: str, tag: str) -> Iterator[CheckMessage]:
    if vendor != "sqlite" and kept.get("CONN_MAX_AGE", 0) != 0 and not kept.get("CONN_HEALTH_CHECKS"):
        text = f"{name} keeps connections (CONN_MAX_AGE) and does not look whether they are still there"
        hint = "Set CONN_HEALTH_CHECKS = True: else a restart of the database costs an attempt of every worker thread."
        yield Caution(text, hint=hint, id=f"{tag}.W008")


def twice(chosen: dict[str, Any], tag: str) -> Iterator[CheckMessage]:
    """W002: the environment and ``CHAT_ACTORS`` disagree, about the scheduler or anything else."""
    for variable, key in overruled(chosen).items():
        hint = f"CHAT_ACTORS wins: take {key} out of it, or unset {variable}."
        yield Caution(f"{variable} has no effect: CHAT_ACTORS says otherwise", hint=hint, id=f"{tag}.W002")


def shown(settings: Settings, tag: str) -> Iterator[CheckMessage]:
    """W004: with ``DEBUG`` an error page shows a secret of ours, because its name does not look like one to Django."""
    if not django_settings.DEBUG:
        return
    cleanse = getattr(get_default_exception_reporter_filter(), "cleanse_setting", None)
    if cleanse is None:
        # A filter of the host's own, which says for itself what it hides.
        return
    for field in fields(settings):
        value = getattr(settings, field.name)
        if not isinstance(value, Hidden) or not _is_secret(value.get_secret_value()):
            continue
        name = field.name.upper()
        if cleanse(name, "secret") == "secret":
            hint = "Set DEBUG = False wherever others may look; or use a password that opens nothing else."
            yield Caution(f"DEBUG is on, and an error page shows {name} with its password", hint=hint, id=f"{tag}.W004")


def _is_secret(text: str) -> bool:
    """A URL is one where it has a password; anything else that is hidden is one."""
    if "://" not in text:
        return True
    try:
        parts = urlsplit(text)
    except ValueError:
        return True
    return bool(parts.password) or "password=" in parts.query
