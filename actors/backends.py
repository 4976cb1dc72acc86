"""Which backends there are, by kind and name: this distribution's, and those that others bring by entry point.

Settings check names against it, ``gateways``, ``stores``, ``schedulers`` and ``wiring`` load from it. A third party adds one
through the entry-point group ``chat_actors.<kind>s``; what its callable takes is said where the kind is defined.
"""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from actors.errors import SettingsError

#: Kind → name → ``module:callable``. Nothing here is imported before it is chosen: each backend brings its SDK.
BUILT_IN: dict[str, dict[str, str]] = {
    "broker": {
        "redis": "actors.wiring:make_redis_broker",
        "stub": "middleware.brokers.stub:StubBroker",
    },
    "gateway": {
        "evolution": "actors.gateways.evolution:make_gateway",
        "whatsapp_cloud": "actors.gateways.whatsapp_cloud:make_gateway",
        "sandbox": "actors.gateways.sandbox:make_gateway",
    },
    "store": {
        "memory": "actors.stores.memory:make_store",
        "sqlite": "actors.stores.sqlite:make_store",
        "django": "actors.stores.django_orm:make_store",
    },
    "scheduler": {
        "apscheduler": "actors.schedulers.apscheduler:start",
        "periodiq": "actors.schedulers.periodiq:start",
        "none": "actors.schedulers.base:start_nothing",
    },
}


def names(kind: str) -> list[str]:
    """Names that ``CHAT_<KIND>`` accepts, sorted; nothing is loaded."""
    return sorted({*BUILT_IN[kind], *(point.name for point in entry_points(group=f"chat_actors.{kind}s"))})


def load(kind: str, name: str) -> Any:
    """The callable behind a name.

    Raises:
        SettingsError: there is none of that name; the known ones are listed.
        ImportError: its package is not installed.
    """
    if name in BUILT_IN[kind]:
        module_name, _, attribute = BUILT_IN[kind][name].partition(":")
        return getattr(import_module(module_name), attribute)
    for point in entry_points(group=f"chat_actors.{kind}s", name=name):
        return point.load()
    raise SettingsError([f"unknown {kind} backend {name!r}; known: {', '.join(names(kind))}"])
