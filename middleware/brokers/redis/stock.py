"""Take over what stock Dramatiq left in its own layout on our keys.

Its ready messages run as they are, its delays and dead letters are emptied into ours by every round of care (parts/inbox.lua).
What remains is what a stock worker had in its hands when it went: the keeper looks for that.
"""

import logging
from collections.abc import Sequence
from typing import Any

from middleware.brokers.redis.scripts import translated
from middleware.brokers.redis.transitions import Transitions

logger = logging.getLogger(__name__)

#: A stock broker without a heartbeat for this long is gone, in milliseconds: its own rule. Its clock is its own, too.
GONE_AFTER_MS = 60_000
#: Stock brokers looked at in one round; producers leave heartbeats, too, and never take them away.
MOST = 100


def adopt_stock(transitions: Transitions, queue_names: Sequence[str]) -> int:
    """Put back what stock workers that are gone had fetched from ``queue_names``; returns how many messages.

    Raises: see :func:`middleware.brokers.redis.scripts.translated`.
    """
    client, heartbeats = transitions.scripts.client, transitions.scripts.keys.stock_heartbeats
    with translated("looking for stock workers that are gone"):
        seconds, microseconds = client.time()
        before_ms = seconds * 1000 + microseconds // 1000 - GONE_AFTER_MS
        gone: Any = client.zrangebyscore(heartbeats, "-inf", before_ms, start=0, num=MOST)
    adopted = 0
    for broker_id in gone:
        adopted += sum(transitions.adopt(queue_name, broker_id.decode()) for queue_name in queue_names)
        with translated("striking off a stock worker"):
            client.zrem(heartbeats, broker_id)
    if adopted:
        logger.warning("stock.adopted", extra={"messages": adopted})
    return adopted
