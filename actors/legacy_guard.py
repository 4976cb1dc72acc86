"""Refuse to start a worker over the old product's entries: it would drop them, and their consumer pops ids that it cannot run.

``actors.wiring`` puts it in front of the carrier. Costs one round trip.
"""

import logging
from typing import Any

import dramatiq
import redis
from dramatiq import Broker, Middleware

from actors.legacy_jobs import OPERATIONS, is_foreign
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.scripts import translated
from middleware.errors import ExitCode, PipelineError, Refusal

logger = logging.getLogger(__name__)

#: Other work of the old product, which may stay with its own consumer for now.
OTHERS = ("edit_message", "mark_as_read", "fetch_contact_name", "dead_letter")
#: Entries looked at, from either end.
LOOK_AT = 20


class LegacyGuard(Middleware):
    """Looks at the queues' lists before the first message is taken."""

    def before_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Look.

        Raises:
            Refusal: ``UNSAFE``, entries of another program stand under a queue's name.
        """
        if isinstance(broker, CarrierBroker):
            self._look(broker)

    def _look(self, broker: CarrierBroker) -> None:
        keys = broker.machinery.keys
        ours = {keys.of(queue, "ready"): queue for queue in sorted(broker.get_declared_queues() | set(OPERATIONS))}
        others = [keys.of(name, "ready") for name in OTHERS]
        try:
            foreign = foreign_lists(broker.client, [*ours, *others])
        except PipelineError:
            # What is wrong with Redis is found, and said, by those who come next.
            return
        for key in others:
            if key in foreign:
                logger.warning("legacy.other_work_found", extra={"queue": key})
        unsafe = [key for key in ours if key in foreign]
        if unsafe:
            text = f"{', '.join(unsafe)}: another program's entries are in it; run chat-actors migrate-legacy --dry-run"
            logger.critical("worker.refused: %s", text)
            raise Refusal(ExitCode.UNSAFE, text)


def foreign_lists(client: "redis.Redis", keys: list[str]) -> set[str]:
    """Of these keys those that hold a JSON object at either end, or are no list.

    Raises:
        QueueUnavailable, QueueRefused: Redis did not do its part.
    """
    with translated("looking for the old product's entries"), client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.type(key)
            pipe.lrange(key, 0, LOOK_AT - 1)
            pipe.lrange(key, -LOOK_AT, -1)
        found: list[Any] = pipe.execute(raise_on_error=False)
    triples = zip(keys, found[0::3], found[1::3], found[2::3], strict=True)
    return {key for key, kind, head, tail in triples if kind not in (b"none", b"list") or _is_any(head, tail)}


def _is_any(*ends: Any) -> bool:
    return any(isinstance(end, list) and any(map(is_foreign, end)) for end in ends)
