"""A turn for what the current message wants to do: the one place where an actor meets ``actors.traffic``."""

import secrets
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from actors import services, wiring
from actors.circuit import Cause, State
from actors.domain import ChatMessage, Conversation, ConversationType, Instance
from actors.pace import Kind
from actors.services import Services
from actors.trips import Trip
from middleware.actor import current_job_id, current_options
from middleware.letters import DeadLetter

#: A place is kept so much longer than the longest attempt.
PLACE_MARGIN_MS = 5_000
#: Reason of a message that was started too often without coming to an end.
CRASH_LOOP = "crash_loop"


@dataclass(frozen=True, slots=True)
class MessageTurn:
    """Turns of the message that runs in this thread; without a carrier every one is given at once. See :class:`actors.pace.Turn`."""

    work: Services
    instance: Instance
    subject: ChatMessage | Conversation
    kind: Kind

    def __call__(self, kind: Kind | None = None, /) -> AbstractContextManager[None]:
        """See :meth:`actors.pace.Turn.__call__`."""
        traffic = wiring.traffic()
        return nullcontext() if traffic is None else traffic.turn(self.instance, self._trip(kind or self.kind))

    def abandon(self) -> None:
        """See :meth:`actors.pace.Turn.abandon`."""
        traffic = wiring.traffic()
        if traffic is not None:
            traffic.abandon(self.instance, self._trip(self.kind))

    def _trip(self, kind: Kind) -> Trip:
        subject = self.subject
        return Trip(
            kind=kind,
            pair=subject.conversation_id if isinstance(subject, ChatMessage) else subject.id,
            to_group=subject.conversation_type is ConversationType.GROUP,
            # Not the job: where Redis lost it, the sweep brings another one, and the place is the message's.
            holder=subject.id if isinstance(subject, ChatMessage) else current_job_id() or secrets.token_hex(6),
            group=current_options().get("group"),
            for_ms=self.work.settings.time_limit_ms + PLACE_MARGIN_MS,
            put_backs=int((current_options().get("put_backs") or {}).get("count", 0)),
        )


def give_back_place(message_id: str) -> None:
    """Give back the place of a message whose killed run may have had one and that does not come to a turn next."""
    traffic, store = wiring.traffic(), services.get().store
    attempts, route = store.attempts(message_id), store.route(message_id)
    if traffic is None or route is None:
        return
    # With a fallback it went through another instance than its row names.
    name = attempts[-1].instance_name if attempts else route.instance_name
    instance = store.load_instance(name, tenant_id=route.tenant_id)
    if instance is not None:
        traffic.give_back(instance, message_id)


def after_death(letter: DeadLetter) -> None:
    """A message that killed its workers had a place when the last one died: its instance must not stand still for it."""
    message_id = letter.kwargs.get("message_id")
    if letter.reason == CRASH_LOOP and isinstance(message_id, str):
        give_back_place(message_id)


def after_redrive(letter: DeadLetter) -> None:
    """Let an instance try again that was parked because it was refused: whoever redrives has mended key or URL."""
    traffic, store = wiring.traffic(), services.get().store
    message_id, conversation_id = letter.kwargs.get("message_id"), letter.kwargs.get("conversation_id")
    route = store.route(message_id) if isinstance(message_id, str) else None
    if route is None and isinstance(conversation_id, str):
        route = store.conversation_route(conversation_id)
    if traffic is None or route is None:
        return
    instance = store.load_instance(route.instance_name, tenant_id=route.tenant_id)
    if instance is None:
        return
    circuit = traffic.circuit(instance.name)
    if circuit.state is State.OPEN and circuit.cause is Cause.REFUSED:
        traffic.release(instance)
