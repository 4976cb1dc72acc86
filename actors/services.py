"""What the actors work with: settings, store, gateways, clock; built once per process, when first needed.

``actors.wiring`` says where settings come from; chat and housekeeping call :func:`get` in the worker, routing calls it in the
process that sends. Tests install their own with :func:`install`.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.domain import Instance
from actors.gateways.base import Gateway, make_gateway
from actors.settings import Settings
from actors.stores.base import Store, make_store
from middleware.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Safe to share between threads."""

    settings: Settings
    store: Store
    clock: Clock = field(default_factory=SystemClock)
    gateways: dict[str, Gateway] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def gateway(self, instance: Instance) -> Gateway:
        """The gateway that serves an instance; ``sandbox`` replaces every one, so that a copied database sends nothing.

        Raises:
            SettingsError: its backend is unknown or lacks a setting.
        """
        name = self.gateway_name(instance)
        replaced = instance.backend if self.settings.gateway == "sandbox" else None
        key = name if replaced is None else f"{name} in place of {replaced}"
        with self._lock:
            if key not in self.gateways:
                self.gateways[key] = make_gateway(name, self.settings, in_place_of=replaced)
            return self.gateways[key]

    def gateway_name(self, instance: Instance) -> str:
        """Backend that serves an instance."""
        name = self.settings.gateway
        return instance.backend if name != "sandbox" and instance.backend is not None else name

    def credentials_digest(self, instance: Instance) -> str:
        """Tells one key and URL from another, and nothing else."""
        own = self.settings.evolution_api_key, self.settings.whatsapp_cloud_token
        keys = [instance.api_key or "", *(key.get_secret_value() if key is not None else "" for key in own)]
        urls = [
            instance.base_url,
            self.settings.evolution_url,
            self.settings.whatsapp_cloud_url,
            instance.phone_number_id,
        ]
        return hashlib.sha256("\0".join([*keys, *map(str, urls)]).encode()).hexdigest()[:16]

    def close(self) -> None:
        """Give back the gateways' connections. Repeatable."""
        with self._lock:
            for gateway in self.gateways.values():
                gateway.close()
            self.gateways.clear()


_lock = threading.RLock()
_settings: Settings | None = None
_services: Services | None = None


def _no_host() -> Mapping[str, Any] | None:
    return None


_host_settings: Callable[[], Mapping[str, Any] | None] = _no_host


def use_host_settings(read: Callable[[], Mapping[str, Any] | None]) -> None:
    """Say where the host's ``CHAT_ACTORS`` is read from; called by ``wiring`` when it is imported."""
    global _host_settings
    _host_settings = read


def settings() -> Settings:
    """Settings of this process, read at the first call.

    Raises:
        SettingsError: every fault at once; the next call reads again.
    """
    global _settings
    with _lock:
        if _settings is None:
            _settings = Settings.load(django=_host_settings())
        return _settings


def get() -> Services:
    """Services of this process, built at the first call.

    Raises:
        SettingsError: settings are wrong, or no store is set.
    """
    global _services
    with _lock:
        if _services is None:
            read = settings()
            _services = Services(settings=read, store=make_store(read.require_store(), read))
        return _services


def installed() -> Services | None:
    """Services of this process, None where none were built yet."""
    return _services


def install(services: Services | None) -> None:
    """Replace (and close) the services of this process; None forgets them and the settings: the next call builds anew."""
    global _services, _settings
    with _lock:
        if _services is not None and _services is not services:
            _services.close()
        _services = services
        _settings = None if services is None else services.settings
