"""Show metrics and health: ``/metrics``, ``/healthz``, ``/readyz``, for all worker processes of a launcher or for this one.

``chat-actors worker`` serves them in the launcher, which every worker reports to; under ``dramatiq actors`` each worker process
serves its own, ``periodiq actors`` too. The same pages are on a local socket, by which :func:`examine_live` finds them.
"""

import hashlib
import json
import logging
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dramatiq import Broker

from actors import services
from actors.gauges import Look, look_at
from actors.settings import Settings
from middleware import metrics
from middleware.board import Board, worker_families
from middleware.brokers.redis.broker import CarrierBroker
from middleware.errors import Described
from middleware.meters import families
from middleware.reporter import health_of, report_of

if TYPE_CHECKING:
    from middleware.exposition import Exposition, Page

logger = logging.getLogger(__name__)

#: Longest wait for one process that is asked by :func:`examine_live`, in seconds.
LIVE_WITHIN_S = 3.0
_PREFIX = "chat-actors"


def serve(board: Board, broker: Broker, settings: Settings) -> "Exposition":
    """Show a board, and what Redis knows; stop it with :meth:`Exposition.stop`. What cannot be shown holds nobody up."""
    from middleware.exposition import Exposition, Page

    look = Look(lambda: look_at(broker)) if isinstance(broker, CarrierBroker) else None

    def scrape(accept: str) -> Page:
        found = [*families(board.counted()), *worker_families(board.workers())]
        found += look.families() if look is not None else []
        try:
            content_type, body = metrics.exposed(found, accept=accept)
        except metrics.NotInstalled:
            return Page.of_json(501, {"error": "prometheus-client is missing: pip install chat-actors[metrics]"})
        return Page(200, content_type, body)

    def health(*, of_life: bool) -> "Callable[[str], Page]":
        def page(_: str) -> Page:
            is_well, found = board.verdict(of_life=of_life)
            return Page.of_json(200 if is_well else 503, found)

        return page

    exposition = Exposition({"/metrics": scrape, "/healthz": health(of_life=True), "/readyz": health(of_life=False)})
    exposition.listen_locally(f"{local_name(settings)}:{os.getpid()}")
    if settings.metrics_port:
        exposition.listen(settings.metrics_host, settings.metrics_port)
    return exposition


def prepare(broker: Broker) -> Callable[[], None]:
    """Have the store asked for its health and, without a launcher, show this process; returns what ends it."""
    health = health_of(broker)
    if health is None:
        return lambda: None
    health.probe("store", _ask_store)
    if health.is_gathered:
        return lambda: None
    exposition = serve(Board(own=lambda: report_of(broker, health)), broker, services.settings())
    return exposition.stop


def show_scheduler(broker: Broker) -> None:
    """Show this process, which runs no worker and only sends ticks."""
    health = health_of(broker)
    if health is not None:
        health.state = "scheduling"
        serve(Board(own=lambda: report_of(broker, health)), broker, services.settings())


def _ask_store() -> None:
    store = services.get().store
    try:
        store.instances(limit=1)
    finally:
        # Asked seldom: a connection of its own would be one more for every process.
        store.close_thread_connections()


# -- asking from outside -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Live:
    """What a process on this machine said: ``name`` of its socket, whether it is well, and the page (or why there is none)."""

    name: str
    is_well: bool
    page: dict[str, Any]


def local_name(settings: Settings) -> str:
    """Start of the names of this product's local sockets: tells deployments on one machine apart."""
    try:
        where = settings.queue_connection()
        place = f"{where.get('host')}:{where.get('port')}:{where.get('path')}/{where.get('db')}"
    except Described:
        place = settings.broker
    digest = hashlib.sha256(f"{place}\0{settings.namespace}".encode()).hexdigest()[:12]
    return f"{_PREFIX}:{digest}"


def examine_live(settings: Settings) -> list[Live]:
    """Ask every process of this deployment on this machine how it is; ``is_well`` means ready.

    Needs no port and no Redis; Linux only. Empty where none runs. Each has :data:`LIVE_WITHIN_S` to answer.
    """
    prefix = f"@{local_name(settings)}:"
    try:
        lines = Path("/proc/net/unix").read_text().splitlines()
    except OSError:
        return []
    names = {line.split()[-1] for line in lines if line.split()[-1].startswith(prefix)}
    return [_ask(name, "/readyz") for name in sorted(names)]


def _ask(name: str, path: str) -> Live:
    connection = _LocalConnection("localhost", timeout=LIVE_WITHIN_S)
    connection.name = name
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        page = _object(response.read())
    except (OSError, HTTPException, ValueError) as error:
        return Live(name[1:], is_well=False, page={"error": f"no answer: {type(error).__name__}"})
    finally:
        connection.close()
    return Live(name[1:], response.status == 200, page)


def _object(body: bytes) -> dict[str, Any]:
    found = json.loads(body)
    return found if isinstance(found, dict) else {}


class _LocalConnection(HTTPConnection):
    """HTTP over a local socket without a file."""

    name = ""

    def connect(self) -> None:
        """Connect, to nobody but ourselves: such a name is anybody's to take."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect("\0" + self.name[1:])
        credentials = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] not in (os.getuid(), 0):
            raise OSError("another user's socket")
