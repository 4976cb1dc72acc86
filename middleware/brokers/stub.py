"""Messages in memory, for a host's own tests (``CHAT_BROKER=stub``).

Dramatiq's stub broker, with the outcomes of our middleware applied as the carrier would: retries and put-back messages are
enqueued again, dead letters are rejected. Nothing survives the process; lanes and unique keys are not kept.
"""

from typing import Any

from dramatiq import MessageProxy
from dramatiq.broker import Consumer
from dramatiq.brokers.stub import StubBroker as DramatiqStubBroker

from middleware.outcomes import PutBack, Retry


class StubBroker(DramatiqStubBroker):
    """See :class:`dramatiq.brokers.stub.StubBroker`."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        """Consumer of a queue that applies outcomes."""
        return _OutcomeConsumer(self, super().consume(queue_name, prefetch=prefetch, timeout=timeout))


class _OutcomeConsumer(Consumer):
    def __init__(self, broker: StubBroker, inner: Consumer) -> None:
        self.broker = broker
        self.inner = inner

    def __next__(self) -> MessageProxy | None:
        return next(self.inner)

    def ack(self, message: MessageProxy) -> None:
        outcome: Any = getattr(message, "outcome", None)
        if isinstance(outcome, Retry | PutBack):
            self.broker.enqueue(message._message, delay=outcome.delay_ms or None)
        self.inner.ack(message)

    def nack(self, message: MessageProxy) -> None:
        self.inner.nack(message)

    def requeue(self, messages: Any) -> None:
        self.inner.requeue(messages)

    def close(self) -> None:
        self.inner.close()
