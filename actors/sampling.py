"""The memory samples of this process: who takes them, and where else they go.

The periodic actor ``record_memory_usage`` samples through :func:`watch`; a worker process also has it watch for slots that were
missed (``middleware.memory_watch``).
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dramatiq import Broker

from actors import services, wiring
from actors.errors import SettingsError
from actors.services import Services
from middleware.brokers.redis.broker import CarrierBroker
from middleware.errors import ExitCode, PipelineError, Refusal
from middleware.worker_process import ask_for_another

# At run time these are imported where they are used: a process that only sends needs none of it.
if TYPE_CHECKING:
    from middleware.memory import Sample
    from middleware.memory_watch import MemoryWatch, WatchOptions

logger = logging.getLogger(__name__)

#: Names of the cache's keys that are looked at for a row of the host's table.
COUNT_DRAWS = 500

_lock = threading.Lock()
_watch: "tuple[Services, MemoryWatch] | None" = None


def watch() -> "MemoryWatch | None":
    """What samples in this process; None where the broker has no Redis.

    Raises:
        SettingsError: settings are wrong.
    """
    global _watch
    broker, work = wiring.broker, services.get()
    if not isinstance(broker, CarrierBroker):
        return None
    from middleware.memory_watch import MemoryWatch

    with _lock:
        if _watch is None or _watch[0] is not work:
            _watch = work, MemoryWatch(broker, clock=work.clock, options=_options(work, broker))
        return _watch[1]


def _options(work: Services, broker: CarrierBroker) -> "WatchOptions":
    from middleware.memory_watch import WatchOptions

    limit_mb = work.settings.max_rss_mb
    return WatchOptions(
        every_ms=work.settings.memory_every_s * 1000,
        max_rss_bytes=None if limit_mb is None else limit_mb * 1024 * 1024,
        replace=ask_for_another,
        recorded=_row_of(work, broker),
        # The thread outlives its connection to the database, and seldom needs one.
        rested=work.store.close_thread_connections,
    )


def _row_of(work: Services, broker: CarrierBroker) -> "Callable[[Sample], None]":
    """What writes a row of the host's table for a sample, where the host has named one."""
    label = work.settings.models.get("redis_usage")
    if not label or work.store.name != "django":
        return lambda sample: None
    from actors.stores.django_usage import UsageRows

    rows = UsageRows.of(label, work.settings.field_map.get("redis_usage", {}))
    return lambda sample: rows.add(sample, count=lambda words: _count(broker, sample, words))


def _count(broker: CarrierBroker, sample: "Sample", words: Mapping[str, bytes]) -> dict[str, int | None]:
    """Keys of the cache by what is in their names, from some of them: a look at all of them takes a second of Redis."""
    from middleware.memory_databases import CACHE_DB
    from middleware.memory_keys import database, draw_names

    keys = sample.databases.get(CACHE_DB, {}).get("keys")
    try:
        with database(broker.client, int(CACHE_DB)) as cache:
            names = draw_names(cache, COUNT_DRAWS)
    except PipelineError as error:
        logger.warning("memory.database_refused", extra={"database": CACHE_DB, "code": error.code})
        return {}
    if not names or not isinstance(keys, int):
        return dict.fromkeys(words, 0)
    return {field: round(keys * sum(word in name for name in names) / len(names)) for field, word in words.items()}


def prepare(broker: Broker) -> Callable[[], None]:
    """Watch in this worker process; returns what stops it. Nothing is watched where nothing is scheduled.

    Raises:
        Refusal: the host's table cannot be written.
    """
    try:
        found = watch()
    except SettingsError as error:
        logger.critical("worker.refused: %s", error)
        raise Refusal(ExitCode.SETTINGS, str(error)) from error
    if found is None or services.get().settings.scheduler == "none":
        return lambda: None
    found.start()
    return found.stop
