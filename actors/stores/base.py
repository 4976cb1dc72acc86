"""What a store must do, and how backends are found.

The store is the truth: Redis may lose everything and the sweep puts every pending send back from here. ``actors.services``
builds one through :func:`make_store`; every backend passes ``tests/contracts/store_contract.py``, which a host can run
over its own. A third party adds one through the entry-point group ``chat_actors.stores``: a callable ``(settings) -> Store``.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

from actors.domain import (
    AttemptState,
    ChatMessage,
    Conversation,
    GroupInfo,
    Instance,
    Receipt,
    Route,
    SendAttempt,
)
from actors.errors import SettingsError

if TYPE_CHECKING:
    from actors.settings import Settings


class Store(Protocol):
    """Chat state. Safe to call from many threads and processes; every write is one committed conditional statement.

    Ids are str. A missing row raises ``actors.errors.NotFound`` naming the id. Nothing here regresses delivered or seen.
    """

    name: str

    def route(self, message_id: str) -> Route | None:
        """Conversation, instance and tenant of a chat message in one query; None when the row does not exist (yet)."""
        ...

    def conversation_route(self, conversation_id: str) -> Route | None:
        """The same for a conversation."""
        ...

    def load_message(self, message_id: str) -> ChatMessage:
        """Everything needed to send it."""
        ...

    def load_conversation(self, conversation_id: str) -> Conversation:
        """Everything needed to fetch its picture or group."""
        ...

    def load_instance(self, name: str | None, *, tenant_id: str | None, use_fallback: bool = False) -> Instance | None:
        """The active instance ``name`` of the tenant (or of no tenant); None when there is none.

        ``name`` None, or inactive with ``use_fallback``: the tenant's only other active instance, else None. An instance
        of another tenant is never returned.
        """
        ...

    # -- send attempts: one row per (message, part) --------------------------------------------------------------

    def attempts(self, message_id: str) -> list[SendAttempt]:
        """All attempt rows of a message, by part."""
        ...

    def claim(
        self, message_id: str, part: int, *, instance_name: str, now_ms: int, deadline_at_ms: int
    ) -> SendAttempt | None:
        """Take the right to send, committed before it returns.

        Inserts ``sending``, or moves ``retryable`` → ``sending`` with ``number`` + 1. None when the row is in any other state (someone else sends, or it is settled).

        Raced by many callers exactly one gets the attempt.
        """
        ...

    def reclaim(self, attempt: SendAttempt, *, now_ms: int) -> SendAttempt | None:
        """Take the right to send again after reconciliation found nothing.

        ``unknown`` → ``sending``, ``number`` + 1, ``looks`` 0, only while the row is still as ``attempt`` says; else None.
        """
        ...

    def settle(
        self, attempt: SendAttempt, state: AttemptState, *, receipt: Receipt | None = None, reason: str | None = None
    ) -> bool:
        """Record what became of ``attempt`` (same message, part and ``number``); False when the row has moved on.

        ``accepted`` and ``dead`` are final. ``unknown`` is reached from ``sending`` only.
        """
        ...

    def looked(self, attempt: SendAttempt) -> SendAttempt:
        """Count one more reconciliation that found nothing."""
        ...

    def bound_ids(self, instance_name: str, *, since_ms: int) -> set[str]:
        """Provider ids already bound to attempts of the instance that started since then."""
        ...

    # -- the host's rows -----------------------------------------------------------------------------------------

    def mark_sent(self, message_id: str, *, provider_message_id: str | None) -> bool:
        """Move pending or failed → sent with the provider id in one statement; False when the row was already further."""
        ...

    def mark_failed(self, message_id: str, *, code: str, text: str) -> bool:
        """Move pending → failed with the reason; False when the row is no longer pending."""
        ...

    def mark_pending(self, message_id: str) -> bool:
        """Move failed → pending, for a redrive; also moves its ``dead`` attempts to ``retryable``. False when not failed."""
        ...

    def pending_messages(self, *, before_ms: int, limit: int) -> list[str]:
        """Ids of outgoing messages still pending that were created before then, oldest first."""
        ...

    def save_picture(self, conversation_id: str, url: str) -> bool:
        """Store the picture's URL (cut to nothing: a URL over 500 characters is refused, False)."""
        ...

    def merge_group(self, conversation_id: str, info: GroupInfo) -> bool:
        """Merge into the stored metadata: keys that the gateway did not say, participants and foreign keys stay."""
        ...

    def close_stale_connections(self) -> None:
        """Called around every message."""
        ...


#: Backends of this distribution: name → ``module:factory``.
BACKENDS = {
    "memory": "actors.stores.memory:make_store",
    "sqlite": "actors.stores.sqlite:make_store",
    "django": "actors.stores.django_orm:make_store",
}
ENTRY_POINT_GROUP = "chat_actors.stores"


def known_backends() -> list[str]:
    """Names that :func:`make_store` accepts."""
    return sorted({*BACKENDS, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def make_store(name: str, settings: "Settings") -> Store:
    """Build the backend ``name``.

    Raises:
        SettingsError: unknown name (the known ones are listed), or the backend lacks a setting.
    """
    factory: Callable[[Settings], Store]
    if name in BACKENDS:
        module_name, _, attribute = BACKENDS[name].partition(":")
        factory = getattr(import_module(module_name), attribute)
        return factory(settings)
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        factory = point.load()
        return factory(settings)
    raise SettingsError([f"unknown store backend {name!r}; known: {', '.join(known_backends())}"])
