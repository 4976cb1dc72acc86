"""The way back: give every send that waits to the old product's consumers.

``migrate-legacy --back-to`` runs it while no worker does. Rows say what waits, not the queue: its messages are dropped first, so
that the old consumers find none of their ids. Pages leave in one transaction with their place, so a repeated run goes on there.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from actors.domain import AttemptState
from actors.legacy_jobs import OPERATIONS, SEND
from actors.legacy_queues import LEGACY, SLICE
from actors.services import Services
from middleware.brokers.redis.broker import CarrierBroker

#: String: the last row that was given back, or :data:`DONE`; gone when something is moved here again.
PLACE = f"{LEGACY}:back"
DONE = "done"


class Way(StrEnum):
    """Where the old product reads its sends."""

    LIST = "list"
    STREAM = "stream"


@dataclass
class GivenBack:
    """``held`` may be out through this project already: a person decides about those, by id."""

    sends: int = 0
    held: list[str] = field(default_factory=list)
    was_done: bool = False


def give_back(work: Services, broker: CarrierBroker, client: Any, *, key: str, way: Way) -> GivenBack:
    """Drop what is queued here, and put every send that waits into the list or stream ``key`` of ``client``'s database.

    Pictures and groups are dropped: the next message of their conversation asks again.

    Raises:
        QueueUnavailable, QueueRefused, Transient: call it again, it goes on where it was.
    """
    place = client.get(PLACE)
    if place is None:
        for queue_name in OPERATIONS:
            broker.transitions.purge(queue_name)
        # From now on the old product's entries may stand under the same name: never again.
        client.set(PLACE, "")
    elif place.decode() == DONE:
        return GivenBack(was_done=True)
    given, after_id, before_ms = GivenBack(), (place or b"").decode() or None, work.clock.now_ms()
    while page := work.store.pending_messages(before_ms=before_ms, limit=SLICE, after_id=after_id):
        unsent = [id_ for id_ in page if _is_unsent(work, id_)]
        after_id = page[-1]
        with client.pipeline() as pipe:
            for id_ in unsent:
                _put(pipe, key, id_, way)
            pipe.set(PLACE, after_id)
            pipe.execute()
        given.sends += len(unsent)
        given.held += [id_ for id_ in page if id_ not in unsent]
    client.set(PLACE, DONE)
    return given


def _is_unsent(work: Services, message_id: str) -> bool:
    if work.store.known_messages((message_id,))[message_id].provider_message_id is not None:
        return False
    return all(attempt.state is AttemptState.RETRYABLE for attempt in work.store.attempts(message_id))


def _put(pipe: Any, key: str, message_id: str, way: Way) -> None:
    if way is Way.LIST:
        pipe.lpush(key, json.dumps({"message_id": message_id}))
    else:
        pipe.xadd(key, {"message_id": message_id, "retry": 0, "extra": "{}"})


def old_key(prefix: str) -> str:
    """Name of the old product's list or stream of sends."""
    return f"{prefix}:{SEND}"
