"""What a store must do, and how backends are found.

The store is the truth: Redis may lose everything and the sweep puts every pending send back from here. ``actors.services``
builds one through :func:`make_store`; every backend passes ``tests/contracts/store_contract.py``, which a host can run
over its own. A third party adds one through the entry-point group ``chat_actors.stores``: a callable ``(settings) -> Store``.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from actors import backends
from actors.domain import (
    AttemptState,
    ChatMessage,
    Conversation,
    GroupInfo,
    Instance,
    KnownMessage,
    MessageStatus,
    Receipt,
    Route,
    SendAttempt,
    SendOptions,
)

if TYPE_CHECKING:
    from actors.settings import Settings


class Store(Protocol):
    """Chat state. Safe to call from many threads and processes; every write is committed before it returns.

    Ids are str. ``load_…`` of a missing row raises ``actors.errors.NotFound`` naming the id; a write that finds no row to
    change answers False. Whoever's write really changed a row announces it (``actors.events``), after the commit. Nothing here regresses delivered or seen. A database that is down is ``Transient``
    (``store_unavailable``), whose text quotes no row.
    """

    name: str
    #: Django's aliases of the databases that it reads, so that a send inside an open transaction is noticed; () elsewhere.
    databases: tuple[str, ...]

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

    def conversation_routes(self, conversation_ids: Sequence[str]) -> dict[str, Route]:
        """:meth:`conversation_route` of many at once, by the id that was asked for; an id without a row is missing."""
        ...

    def known_messages(self, message_ids: Sequence[str]) -> dict[str, KnownMessage]:
        """Route, status and provider id of many messages at once, by the id that was asked for; as above."""
        ...

    def load_instance(self, name: str | None, *, tenant_id: str | None, use_fallback: bool = False) -> Instance | None:
        """The active instance ``name`` of the tenant (or of no tenant); None when there is none.

        ``name`` is any of an instance's names; the one returned is that on the wire. ``name`` None, or not found active
        with ``use_fallback``: the tenant's only active instance, else None. An instance of another tenant is never returned.
        """
        ...

    def instances(self, *, limit: int, after: str | None = None) -> tuple[list[Instance], str | None]:
        """Active instances of all tenants in a stable order, ``limit`` at most, and ``after`` of the next page.

        None = that was all. One that is added meanwhile may be missed until the next round. Asks the database once.
        """
        ...

    # -- send attempts: one row per (message, part) --------------------------------------------------------------

    def attempts(self, message_id: str) -> list[SendAttempt]:
        """All attempt rows of a message, by part."""
        ...

    def claim(self, attempt: SendAttempt, *, before: SendAttempt | None = None) -> SendAttempt | None:
        """Take the right to send, committed before it returns: writes ``attempt``, which is ``sending``.

        Without ``before`` it is the first of its part; else the row must still be as ``before`` says (``number``, ``looks``,
        and a state of ``retryable`` or ``unknown``), and ``attempt`` is its :meth:`SendAttempt.again`. None when it is not:
        someone else sends, or it is settled. Raced by many callers exactly one gets the attempt.

        Raises:
            ChatError: ``claim_not_committed``: the caller has a transaction open, so the claim could still be undone.
        """
        ...

    def settle(
        self, attempt: SendAttempt, state: AttemptState, *, receipt: Receipt | None = None, reason: str | None = None
    ) -> SendAttempt | None:
        """Record what became of ``attempt`` (same message, part and ``number``); None when the row has moved on.

        ``accepted`` and ``dead`` are final. ``unknown`` is reached from ``sending`` only. Where the provider id is bound to
        another attempt of the instance already, this one is accepted without it, with the reason ``duplicate_provider_id``.
        """
        ...

    def record_sent(
        self, attempt: SendAttempt, receipt: Receipt, *, first: SendAttempt | None = None
    ) -> SendAttempt | None:
        """:meth:`settle` as accepted the last part that was missing, and :meth:`mark_sent`, in one transaction.

        ``first`` is the message's first part where that is another: the row gets its provider id. None, and nothing
        changed, when the attempt's row has moved on.
        """
        ...

    def bind(self, message_id: str, part: int, *, provider_message_id: str) -> SendAttempt | None:
        """The provider itself says that this part went out under this id, whatever was known of it.

        Moves to ``accepted`` what is sending, unknown or retryable, accepted without an id, dead as ``delivery_unknown`` or
        under this very id. None, and nothing changed, for any other row and where the id belongs to another part.
        """
        ...

    def record_failed(self, attempt: SendAttempt, *, provider_message_id: str, code: str, text: str) -> bool:
        """The provider took a part and says later that it will not arrive: attempt → ``dead``, pending or sent row → failed.

        Both in one transaction; a delivered or seen row, and its attempt, stay. Whether the row was changed.
        """
        ...

    def looked(self, attempt: SendAttempt) -> SendAttempt:
        """Count one more reconciliation that found nothing; the row as it is then, also when it has moved on."""
        ...

    def attempt_of(self, instance_name: str, provider_message_id: str) -> SendAttempt | None:
        """The attempt of the instance that has this provider id."""
        ...

    def unaccounted(self, instance_name: str, *, since_ms: int, until_ms: int, limit: int) -> list[SendAttempt]:
        """Attempts of the instance, started between the two times (both included), that may own a provider id nobody knows.

        They are sending, unknown, accepted without an id, or dead as ``delivery_unknown``; the earliest first.
        """
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

    def advance(self, message_id: str, status: MessageStatus) -> bool:
        """Move sent → delivered, or sent or delivered → seen; False when the row is elsewhere: it never regresses."""
        ...

    def remember_options(self, message_ids: Sequence[str], options: SendOptions) -> None:
        """Keep what the sender allows for these messages; what was allowed before stays allowed. Repeatable.

        Part of the caller's transaction where one is open, so that it commits together with the rows.
        """
        ...

    def options_of(self, message_ids: Sequence[str]) -> dict[str, SendOptions]:
        """What was kept, by the id that was given; messages for which nothing was are left out."""
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

    def close_thread_connections(self) -> None:
        """Close every connection of the calling thread; called when a worker's thread ends."""
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
