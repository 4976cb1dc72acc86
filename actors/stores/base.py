"""What a store must do, and how backends are found.

The store is the truth: Redis may lose everything and the sweep puts every pending send back from here. ``actors.services``
builds one through :func:`make_store`; every backend passes ``tests/contracts/store_contract.py``, which a host can run
over its own. A third party adds one through the entry-point group ``chat_actors.stores``: a callable ``(settings) -> Store``.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from actors import backends
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

if TYPE_CHECKING:
    from actors.settings import Settings


class Store(Protocol):
    """Chat state. Safe to call from many threads and processes; every write is committed before it returns.

    Ids are str. ``load_…`` of a missing row raises ``actors.errors.NotFound`` naming the id; a write that finds no row to
    change answers False. Nothing here regresses delivered or seen. A database that is down is ``Transient``
    (``store_unavailable``), whose text quotes no row.
    """

    name: str

    def route(self, message_id: str) -> Route | None:
        """Conversation, instance and tenant of a chat message in one query; None when the row does not exist (yet)."""
        ...

    def conversation_route(self, conversation_id: str) -> Route | None:
        """The same for a conversation."""
        ...

    def load_message(self, message_id: str) -> ChatMessage:
        """Everything needed to send it.

        Raises:
            Permanent: it can never be sent: ``not_outgoing``, ``message_deleted``, ``bad_row``.
        """
        ...

    def load_conversation(self, conversation_id: str) -> Conversation:
        """Everything needed to fetch its picture or group."""
        ...

    def load_instance(self, name: str | None, *, tenant_id: str | None, use_fallback: bool = False) -> Instance | None:
        """The active instance ``name`` of the tenant (or of no tenant); None when there is none.

        ``name`` is any of an instance's names; the one returned is that on the wire. ``name`` None, or not found active
        with ``use_fallback``: the tenant's only active instance, else None. An instance of another tenant is never returned.
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

        Inserts ``sending``, or moves ``retryable`` → ``sending`` with ``number`` + 1; instance, start and deadline are those
        of this call. None when the row is in any other state (someone else sends, or it is settled). Raced by many callers
        exactly one gets the attempt.

        Raises:
            ChatError: ``claim_not_committed``: the caller has a transaction open, so the claim could still be undone.
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

        ``accepted`` and ``dead`` are final. ``unknown`` is reached from ``sending`` only. Where the provider id is bound to
        another attempt of the instance already, this one is accepted without it, with the reason ``duplicate_provider_id``.
        """
        ...

    def looked(self, attempt: SendAttempt) -> SendAttempt:
        """Count one more reconciliation that found nothing; the row as it is then, also when it has moved on."""
        ...

    def bound_ids(self, instance_name: str, *, since_ms: int) -> set[str]:
        """Provider ids already bound to attempts of the instance that started since then."""
        ...

    # -- the host's rows -----------------------------------------------------------------------------------------

    def mark_sent(self, message_id: str, *, provider_message_id: str | None) -> bool:
        """Move pending or failed → sent with the provider id in one statement; False when the row was already further.

        A row that was further and has no provider id gets it, so that webhooks find it. Where another row of the
        conversation holds the id (a webhook was faster), the row is sent without it.
        """
        ...

    def mark_failed(self, message_id: str, *, code: str, text: str) -> bool:
        """Move pending → failed with the reason; False when the row is no longer pending."""
        ...

    def mark_pending(self, message_id: str) -> bool:
        """Move failed → pending, for a redrive; also moves its ``dead`` attempts to ``retryable``. False when not failed."""
        ...

    def pending_messages(self, *, before_ms: int, limit: int, after_id: str | None = None) -> list[str]:
        """Ids of outgoing messages still pending that were created before then, oldest first; no internal notes.

        ``after_id`` is the last id of the page before; [] when that row is gone.
        """
        ...

    def older_pending(self, message_id: str) -> str | None:
        """Oldest outgoing message of the same conversation that is pending and was created strictly before this one.

        No internal notes; None when there is none, or the row itself is gone.
        """
        ...

    def save_picture(self, conversation_id: str, url: str) -> bool:
        """Store the picture's URL. False, and nothing changed, for one that is empty, over 500 characters or not http(s)."""
        ...

    def merge_group(self, conversation_id: str, info: GroupInfo) -> bool:
        """Merge into the stored metadata: keys that the gateway did not say, participants and foreign keys stay.

        The subject becomes the conversation's name, the picture its picture. False when it is no group.
        """
        ...

    def close_stale_connections(self) -> None:
        """Drop connections that the database may have closed; called around every message."""
        ...


def make_store(name: str, settings: "Settings") -> Store:
    """Build the backend ``name``.

    Raises:
        SettingsError: unknown name (the known ones are listed), or the backend lacks a setting.
    """
    factory: Callable[[Settings], Store] = backends.load("store", name)
    return factory(settings)
