"""Which Evolution answers at a URL, asked before the first send through it and now and then after.

``actors.gateways.evolution`` calls :meth:`Versions.require` before each send. Evolution 1.x speaks another contract: a text
would be refused there as malformed, or worse, half understood.
"""

import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.errors import WrongContract
from actors.gateways.evolution_endpoint import Endpoint
from middleware.clock import Clock

logger = logging.getLogger(__name__)

#: What was told counts for this long; a server is upgraded meanwhile at most.
FRESH_MS = 10 * 60 * 1000
#: A server that did not say is asked again after this long. It is sent to: many a proxy lets only the operations through.
SILENT_MS = 60 * 1000
#: Asking takes this long at most, in seconds: Evolution asks WhatsApp before it answers.
ASK_S = 5.0
_VERSION = re.compile(r"[\w.+-]{1,30}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Told:
    version: str | None
    until_ms: int


class Versions:
    """What each server said. Safe to call from many threads, and after a fork.

    ``ask`` gives the decoded body of ``GET /``, None when there is none.
    """

    def __init__(self, clock: Clock, ask: Callable[[Endpoint], Any]) -> None:
        self._clock = clock
        self._ask = ask
        # Keyed by process: a lock that another thread held at the fork would never open in the child.
        self._told: dict[tuple[int, str], _Told] = {}
        self._locks: dict[tuple[int, str], threading.Lock] = {}

    def require(self, endpoint: Endpoint, *, instance: str) -> None:
        """Refuse to send through a server whose contract is another one.

        Raises:
            WrongContract: it says that it is no Evolution 2.x.
        """
        version = self._version(endpoint, instance)
        if version is not None:
            require_2(version, endpoint, owner=f"instance {instance!r}")

    def _version(self, endpoint: Endpoint, instance: str) -> str | None:
        key = (os.getpid(), endpoint.base_url)
        told = self._told.get(key)
        if told is None or self._clock.boot_ms() >= told.until_ms:
            # One asks, the others wait: they must not send before it is known.
            with self._locks.setdefault(key, threading.Lock()):
                told = self._told.get(key)
                if told is None or self._clock.boot_ms() >= told.until_ms:
                    told = self._told[key] = self._asked(endpoint, before=told, instance=instance)
        return told.version

    def _asked(self, endpoint: Endpoint, *, before: _Told | None, instance: str) -> _Told:
        version = version_of(self._ask(endpoint))
        now_ms = self._clock.boot_ms()
        if version is None:
            # What it said before holds: a refusal must not end because the server is busy.
            return _Told(before.version if before is not None else None, now_ms + SILENT_MS)
        if is_untested(version) and (before is None or before.version != version):
            logger.warning("gateway.version_untested", extra={"instance": instance, "version": version})
        return _Told(version, now_ms + FRESH_MS)


def version_of(body: Any) -> str | None:
    """The version in the decoded body of ``GET /``; None when that is not Evolution's."""
    version = body.get("version") if isinstance(body, dict) else None
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else None


def require_2(version: str, endpoint: Endpoint, *, owner: str) -> None:
    """Refuse another contract than that of 2.x.

    Raises:
        WrongContract: it is not.
    """
    if not version.startswith("2."):
        raise WrongContract(
            f"{owner}: Evolution {version} at {endpoint.host} speaks another contract; 2.x is needed: upgrade it, then redrive"
        )


def is_untested(version: str) -> bool:
    """Whether it is a 2.x that this project was not tested with."""
    return version.startswith("2.") and not version.startswith("2.3.")
