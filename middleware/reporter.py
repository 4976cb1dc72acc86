"""Tell the launcher, once a second, what this worker process counted and how it is.

``worker_process`` attaches it when the launcher gave it a channel. A thread of its own writes, so a launcher that does not read
holds nobody up; what was counted in the last second before a ``kill -9`` is not told.
"""

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from dramatiq import Broker

from middleware.clock import Clock, SystemClock
from middleware.health import Health
from middleware.meters import METERS

logger = logging.getLogger(__name__)

#: Time between two reports, in seconds.
EVERY_S = 1.0
#: A worker that ends waits so long for a launcher that does not read its last report, in seconds.
PATIENCE_S = 2.0


def report_of(broker: Broker, health: Health | None) -> dict[str, Any]:
    """What a process says: ``meters`` (:meth:`Meters.snapshot`) and ``vitals`` (None where nobody takes them)."""
    return {"meters": METERS.snapshot(), "vitals": asdict(health.vitals(broker)) if health is not None else None}


def health_of(broker: Broker) -> Health | None:
    """The broker's :class:`Health`."""
    return next((one for one in broker.middleware if isinstance(one, Health)), None)


class Reporter:
    """Writes lines of JSON to a channel; stops for good when nobody reads them any more."""

    def __init__(
        self, channel: socket.socket, make: Callable[[], dict[str, Any]], *, clock: Clock | None = None
    ) -> None:
        self.channel = channel
        self.make = make
        self.clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin."""
        # What the host runs must not hold it open when this process is gone.
        self.channel.set_inheritable(False)
        self._thread.start()

    def stop(self) -> None:
        """Report once more and end."""
        self._stopping.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        with contextlib.closing(self.channel), contextlib.suppress(OSError):
            while not self._stopping.is_set():
                self._report()
                self.clock.wait(EVERY_S, until=self._stopping)
            self._report()

    def _report(self) -> None:
        try:
            line = json.dumps(self.make(), separators=(",", ":")).encode() + b"\n"
        except Exception as error:
            # The launcher counts the silence; one report less is no reason to be silent for ever.
            logger.warning("report.not_made", extra={"code": type(error).__name__})
            return
        self.channel.sendall(line)


def attach(broker: Broker, fd: int) -> Reporter:
    """Report on ``fd`` from now on; what this process would show by itself is left to the launcher."""
    health = health_of(broker)
    if health is not None:
        health.is_gathered = True
    reporter = Reporter(socket.socket(fileno=fd), lambda: report_of(broker, health))
    reporter.start()
    return reporter
