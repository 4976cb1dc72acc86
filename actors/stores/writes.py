"""What the writes of a store may change, as plain values.

Every store turns these into its own conditional statements.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar

from actors.domain import AttemptState, GroupInfo, MessageStatus, Receipt, SendAttempt, SendOptions
from actors.errors import DeliveryUnknown, Transient
from actors.stores.rows import ConversationRow
from middleware.scrub import hide

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: States from which an attempt may be settled; ``accepted`` and ``dead`` lead nowhere.
SETTLES_FROM = {
    AttemptState.ACCEPTED: frozenset({AttemptState.SENDING, AttemptState.UNKNOWN}),
    AttemptState.RETRYABLE: frozenset({AttemptState.SENDING, AttemptState.UNKNOWN}),
    AttemptState.UNKNOWN: frozenset({AttemptState.SENDING}),
    AttemptState.DEAD: frozenset({AttemptState.SENDING, AttemptState.UNKNOWN, AttemptState.RETRYABLE}),
}
#: States from which a part may be claimed again; whoever claims says in which of them it found the row.
CLAIMED_FROM = frozenset({AttemptState.RETRYABLE, AttemptState.UNKNOWN})
#: States that a provider's own word overrules: it has the message.
BOUND_FROM = frozenset({AttemptState.SENDING, AttemptState.UNKNOWN, AttemptState.RETRYABLE})
#: Status of a row → those from which a provider's status may move it there.
ADVANCES_FROM = {
    MessageStatus.DELIVERED: frozenset({MessageStatus.SENT}),
    MessageStatus.SEEN: frozenset({MessageStatus.SENT, MessageStatus.DELIVERED}),
}
#: Reason of an accepted attempt whose provider id is already bound to another one.
DUPLICATE_ID = "duplicate_provider_id"
#: Limits of a usual host's columns, in characters.
URL_CHARS = 500
NAME_CHARS = 255
ERROR_CHARS = 500


def joined(before: SendOptions | None, now: SendOptions) -> SendOptions:
    """What is allowed after both: nothing is taken back."""
    if before is None:
        return now
    return SendOptions(use_fallback=before.use_fallback or now.use_fallback, bulk=before.bulk or now.bulk)


def settles_from(state: AttemptState) -> frozenset[AttemptState]:
    """States that may become ``state``.

    Raises:
        ValueError: nothing is ever settled as ``sending``.
    """
    if state not in SETTLES_FROM:
        raise ValueError("an attempt is claimed, never settled, as sending")
    return SETTLES_FROM[state]


def settled(
    attempt: SendAttempt, state: AttemptState, *, receipt: Receipt | None = None, reason: str | None = None
) -> SendAttempt:
    """The row after ``attempt`` was settled; only what is accepted has a provider id.

    Raises:
        ValueError: nothing is ever settled as ``sending``.
    """
    settles_from(state)
    provider_id = receipt.provider_message_id if receipt and state is AttemptState.ACCEPTED else None
    reason = reason[:ERROR_CHARS] if reason else None
    return replace(attempt, state=state, provider_message_id=provider_id, reason=reason)


def row_id(accepted: SendAttempt, first: SendAttempt | None) -> str | None:
    """Provider id of a chat message's row: the first part carries the caption and is what a reply quotes."""
    return (first or accepted).provider_message_id


def may_be_bound(row: SendAttempt, provider_message_id: str) -> bool:
    """Whether a provider that says "this part has this id" says something that the row does not know. See ``Store.bind``."""
    if row.state is AttemptState.ACCEPTED:
        return row.provider_message_id is None and row.reason != DUPLICATE_ID
    if row.state is AttemptState.DEAD:
        return row.reason == DeliveryUnknown.code or row.provider_message_id == provider_message_id
    # One that it refused before and a person sends again keeps its old id: what is said of that is not of the new send.
    return row.state in BOUND_FROM and row.provider_message_id is None


def is_unaccounted(row: SendAttempt) -> bool:
    """Whether a provider id that nobody knows may belong to the row. See ``Store.unaccounted``."""
    if row.state is AttemptState.ACCEPTED:
        return row.provider_message_id is None and row.reason != DUPLICATE_ID
    if row.state is AttemptState.DEAD:
        return row.reason == DeliveryUnknown.code and row.provider_message_id is None
    return row.state in (AttemptState.SENDING, AttemptState.UNKNOWN)


def advances_from(status: MessageStatus) -> frozenset[MessageStatus]:
    """Statuses that a provider's word moves to ``status``.

    Raises:
        ValueError: it is none that a row advances to.
    """
    if status not in ADVANCES_FROM:
        raise ValueError(f"a row advances to {', '.join(ADVANCES_FROM)}; never to {status}")
    return ADVANCES_FROM[status]


def error_text(code: str, text: str) -> str:
    """What the row shows of a failure: at most 2 KB, without what looks like an address or a phone number."""
    return hide(f"{code}: {text}")[:ERROR_CHARS]


def is_storable(url: str | None) -> bool:
    """Whether ``url`` may be shown as a picture: of the web, and short enough for the column."""
    return bool(url) and len(str(url)) <= URL_CHARS and str(url).lower().startswith(("https://", "http://"))


def group_changes(row: ConversationRow, info: GroupInfo) -> dict[str, Any]:
    """Columns of ``row`` that ``info`` changes; empty when it says nothing new.

    What the gateway did not say stays, and so do ``participants`` and every key of somebody else. The stored address
    (``group_id``) is never changed: a fetch must not redirect a conversation.
    """
    metadata = {**row.group_metadata, **_said(info)}
    metadata.setdefault("group_id", info.jid)
    if info.participants and not metadata.get("participants"):
        metadata["participants"] = [dict(participant) for participant in info.participants]
    wanted: dict[str, Any] = {"group_metadata": metadata}
    if info.subject:
        wanted["contact_name"] = info.subject[:NAME_CHARS]
    if is_storable(info.picture_url):
        wanted["profile_pic_url"] = info.picture_url
    return {column: value for column, value in wanted.items() if getattr(row, column) != value}


def _said(info: GroupInfo) -> dict[str, Any]:
    facts = {
        "group_name": info.subject or None,
        "group_pic_url": info.picture_url or None,
        "participants_count": info.size,
        "description": info.description,
        "owner": info.owner or None,
        "is_group": True,
    }
    return {key: value for key, value in facts.items() if value is not None}


def note_duplicate_id(*, message_id: str, instance: str) -> None:
    """Say that a gateway gave one id to two messages, or that a message went out twice."""
    logger.error("attempt.duplicate_id_found", extra={"chat_message_id": message_id, "instance": instance})


def note_taken_id(*, message_id: str) -> None:
    """Say that another row of the host already holds the provider id: a webhook was faster and made a row of its own."""
    logger.warning("message.provider_id_taken", extra={"chat_message_id": message_id})


def translates(*foreign: type[Exception]) -> Callable[[type[T]], type[T]]:
    """Make every public method of a store raise ``Transient`` (``store_unavailable``) where its database would fail.

    The text of a database's error may quote a row, hence a chat message: only its class is kept, and the cause.
    """

    def decorate(store: type[T]) -> type[T]:
        for name, method in list(vars(store).items()):
            if isinstance(method, FunctionType) and not name.startswith("_"):
                setattr(store, name, _translated(method, foreign))
        return store

    return decorate


def _translated(method: Callable[..., Any], foreign: tuple[type[Exception], ...]) -> Callable[..., Any]:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except foreign as error:
            raise Transient(
                f"the store could not be used ({type(error).__name__}); is its database up and migrated?",
                code="store_unavailable",
            ) from error

    return call
