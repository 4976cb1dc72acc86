"""The queues as commands reach them: on the pinned database, closed afterwards.

``stats``, ``dlq`` and ``memory`` open them; ``doctor`` looks at the connection itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from actors.cli import terminal

if TYPE_CHECKING:
    from middleware.brokers.redis.broker import CarrierBroker


@contextmanager
def open_queues() -> "Iterator[CarrierBroker]":
    """The broker of this process, whose connection is proven to be on the pinned database.

    Raises:
        SettingsError: settings are wrong, no Redis is set, or another broker than Redis.
        Refusal: the connection is on another database, or Redis did not answer.
    """
    from actors import services, wiring
    from actors.errors import SettingsError
    from middleware.brokers.redis import connections
    from middleware.brokers.redis.broker import CarrierBroker

    settings = services.settings()
    settings.queue_connection()
    broker = wiring.broker
    if not isinstance(broker, CarrierBroker):
        raise SettingsError(
            [f"CHAT_BROKER is {settings.broker!r}: only the queues of the broker redis can be looked at"]
        )
    try:
        connections.assert_pinned(broker.client, db=settings.queue_db)
        yield broker
    finally:
        broker.close()


def note(broker: "CarrierBroker", what: str, **facts: Any) -> None:
    """Leave a line in the audit trail, before ``what`` is done."""
    from middleware.audit import AuditTrail

    AuditTrail(broker).note(terminal.who(), what, **facts)
