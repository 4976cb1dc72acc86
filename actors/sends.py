"""Where a chat message belongs, asked in the process that sends it; and how to send again what somebody else sent first.

``actors.chat`` routes its actor with it; the sweep and the actor itself send again through :func:`send_again`.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import dramatiq
from dramatiq import Message

from actors import services
from actors.domain import Route, SendOptions
from actors.gates import group_of
from actors.pace import Kind
from middleware.actor import Routed

#: As hosts have them.
Id = str | UUID


def route_send(
    message_id: Id,
    *,
    conversation_id: Id | None = None,
    use_fallback: bool = False,
    bulk: bool = False,
) -> Routed:
    """Where one belongs.

    Args:
        message_id: the chat message's.
        conversation_id: its order is kept by this where the row is not found yet.
        use_fallback: it may leave through another instance of its tenant.
        bulk: it is one of many, which others overtake.
    """
    id_, options = str(message_id), SendOptions(use_fallback=use_fallback, bulk=bulk)
    route = services.get().store.route(id_)
    _remember([id_] if route else [], options)
    return _routed(id_, route, conversation_id, options)


def route_sends(
    message_ids: Sequence[Id], *, conversation_id: Id | None = None, use_fallback: bool = False, bulk: bool = False
) -> list[Routed]:
    """The same for many, in one query."""
    ids, options = [str(id_) for id_ in message_ids], SendOptions(use_fallback=use_fallback, bulk=bulk)
    known = services.get().store.known_messages(list(dict.fromkeys(ids)))
    _remember(list(known), options)
    routes = {id_: row.route for id_, row in known.items()}
    return [_routed(id_, routes.get(id_), conversation_id, options) for id_ in ids]


def _remember(ids: list[str], options: SendOptions) -> None:
    if options == SendOptions():
        return
    # The queue may be emptied; the row's own place may not. A sweep asks again and again, so look before writing.
    store = services.get().store
    before = store.options_of(ids)
    new = [id_ for id_ in ids if before.get(id_) != options]
    if new:
        store.remember_options(new, options)


def _routed(id_: str, route: Route | None, conversation_id: Id | None, options: SendOptions) -> Routed:
    allowed = {name: True for name in ("use_fallback", "bulk") if getattr(options, name)}
    lane = route.conversation_id if route else conversation_id
    group = None
    if route and route.instance_name and not options.use_fallback:
        # With a fallback it is not known here through which instance it goes.
        group = group_of(route.instance_name, Kind.BULK if options.bulk else Kind.SEND)
    return Routed(
        kwargs={"message_id": id_, **allowed},
        lane=str(lane) if lane else None,
        group=group,
        # Until it is finished a second send returns the first: the sweep may send again at any time.
        unique_key=id_,
        options={"tenant": route.tenant_id} if route else {},
        is_known=route is not None,
    )


def send_again(
    actor: "dramatiq.Actor[Any, Any]", message_id: str, options: SendOptions | None = None
) -> "Message[Any]":
    """Send one that somebody sent before, with what they allowed (asked where it is not given).

    Now, and raising what fails, whatever the settings say of the sends of a host.
    """
    if options is None:
        options = services.get().store.options_of([message_id]).get(message_id, SendOptions())
    allowed = {name: True for name in ("use_fallback", "bulk") if getattr(options, name)}
    return actor.send_with_options(kwargs={"message_id": message_id, **allowed}, on_commit=False, robust=False)
