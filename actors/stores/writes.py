"""What the writes of a store may change, as plain values.

Every store turns these into its own conditional statements.
"""

import logging
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar

from actors.domain import AttemptState, GroupInfo
from actors.errors import Transient
from actors.stores.rows import ConversationRow

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: States from which an attempt may be settled; ``accepted`` and ``dead`` lead nowhere.
SETTLES_FROM = {
    AttemptState.ACCEPTED: frozenset({AttemptState.SENDING, AttemptState.UNKNOWN}),
    AttemptState.RETRYABLE: frozenset({AttemptState.SENDING, AttemptState.UNKNOWN}),
    AttemptState.UNKNOWN: frozenset({AttemptState.SENDING}),
    AttemptState.DEAD: frozenset({AttemptState.SENDING, AttemptState.UNKNOWN, AttemptState.RETRYABLE}),
}
#: Reason of an accepted attempt whose provider id is already bound to another one.
DUPLICATE_ID = "duplicate_provider_id"
#: Limits of a usual host's columns, in characters.
URL_CHARS = 500
NAME_CHARS = 255
ERROR_CHARS = 500


def settles_from(state: AttemptState) -> frozenset[AttemptState]:
    """States that may become ``state``.

    Raises:
        ValueError: nothing is ever settled as ``sending``.
    """
    if state not in SETTLES_FROM:
        raise ValueError("an attempt is claimed, never settled, as sending")
    return SETTLES_FROM[state]


def error_text(code: str, text: str) -> str:
    """What the row shows of a failure."""
    return f"{code}: {text}"[:ERROR_CHARS]


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
