"""Announce what a store wrote; called by each store after the commit of a write that really changed a row.

Where the row belongs is asked only when somebody listens, in one query.
"""

from typing import Protocol

from actors import events
from actors.domain import Route


class Routes(Protocol):
    """The part of a store that says where rows belong."""

    def route(self, message_id: str) -> Route | None:
        """See :meth:`Store.route`."""
        ...

    def conversation_route(self, conversation_id: str) -> Route | None:
        """See :meth:`Store.conversation_route`."""
        ...


def sent(store: Routes, message_id: str, *, provider_message_id: str | None, instance_name: str | None = None) -> None:
    """A row became sent; ``instance_name`` says through which instance, where the caller knows."""

    def make() -> events.Event | None:
        route = store.route(message_id)
        if route is None:
            return None
        return events.MessageSent(
            message_id=message_id,
            conversation_id=route.conversation_id,
            tenant_id=route.tenant_id,
            instance_name=instance_name or route.instance_name,
            provider_message_id=provider_message_id,
        )

    events.announce(make)


def failed(store: Routes, message_id: str, *, code: str) -> None:
    """A row became failed."""

    def make() -> events.Event | None:
        route = store.route(message_id)
        if route is None:
            return None
        return events.MessageFailed(
            message_id=message_id,
            conversation_id=route.conversation_id,
            tenant_id=route.tenant_id,
            instance_name=route.instance_name,
            code=code,
        )

    events.announce(make)


def picture(store: Routes, conversation_id: str) -> None:
    """A conversation has another picture."""
    _of_conversation(store, conversation_id, events.PictureUpdated)


def group(store: Routes, conversation_id: str) -> None:
    """What is known of a group changed."""
    _of_conversation(store, conversation_id, events.GroupUpdated)


def _of_conversation(
    store: Routes, conversation_id: str, kind: type[events.PictureUpdated] | type[events.GroupUpdated]
) -> None:
    def make() -> events.Event | None:
        route = store.conversation_route(conversation_id)
        if route is None:
            return None
        return kind(conversation_id=conversation_id, tenant_id=route.tenant_id, instance_name=route.instance_name)

    events.announce(make)
