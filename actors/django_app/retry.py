"""Send a failed chat message again: what stands behind a host's retry button (docs/sending.md).

It does what an operator does with ``chat-actors dlq redrive``, by the id of the chat message and with or without a dead letter.
"""

from enum import StrEnum
from itertools import islice
from uuid import UUID

from actors import services, wiring
from actors.chat import send_message
from actors.django_app.commits import State, state
from actors.domain import AttemptState, MessageStatus, SendAttempt
from actors.errors import DeliveryUnknown, InsideTransaction, RecipientMismatch
from actors.services import Services
from actors.turns import after_redrive
from middleware.brokers.redis.broker import CarrierBroker
from middleware.letter_search import LetterQuery
from middleware.letters import DeadLetter, DeadLetters

__all__ = ["Retried", "retry_message"]

#: Dead letters of a conversation that are looked at for the one of a message, the newest first.
MAX_LETTERS = 200


class Retried(StrEnum):
    """What became of a retry."""

    #: The row is pending again, and its message waits at the end of its conversation.
    SENT_AGAIN = "sent_again"
    #: The row is not failed (any more): it was sent, or somebody was faster. Nothing was done.
    NOT_FAILED = "not_failed"
    #: It may have reached its reader. Nothing was done; ask, and call again with ``may_repeat``.
    MAY_BE_DELIVERED = "may_be_delivered"
    #: A worker is still telling of its end; nothing was done. Try again in a minute.
    BUSY = "busy"


def retry_message(message_id: str | UUID, *, may_repeat: bool = False) -> Retried:
    """Make a failed message pending and send it with fresh attempts and a new deadline; of two clicks one counts.

    What of it was sent before, a first attachment say, is not sent again. ``may_repeat``: a person has looked at the phone,
    or accepts that it arrives twice. Whether somebody may retry is for the caller to check.

    Raises:
        InsideTransaction: a worker would find the row still failed; call it outside ``atomic()``.
        NotFound: there is no such row.
        QueueUnavailable, QueueFull, QueueRefused: within 5 s; the row may be pending by then, and the sweep sends it.
    """
    work, id_ = services.get(), str(message_id)
    if state(work.store.databases) is State.OPEN:
        raise InsideTransaction(
            f"message {id_}: retry_message inside transaction.atomic(): a worker would see the row still failed; "
            "call it after the block (a view under ATOMIC_REQUESTS: @transaction.non_atomic_requests)"
        )
    if work.store.load_message(id_).status is not MessageStatus.FAILED:
        return Retried.NOT_FAILED
    letter = _letter_of(work, id_)
    if not may_repeat and _may_be_delivered(work.store.attempts(id_), letter):
        return Retried.MAY_BE_DELIVERED
    said, is_pending = _redriven(work, id_, letter)
    if said == "announcing":
        return Retried.BUSY
    if not is_pending:
        return Retried.NOT_FAILED
    if said != "redriven":
        # No letter, or it was deleted meanwhile: the sweep failed the row, an operator cancelled it, a webhook said that it
        # will not arrive. Its deadline counts from here: a person has just said that it is still wanted.
        now_ms = work.clock.now_ms()
        send_message.send_with_options(args=(id_,), redriven_at_ms=now_ms, on_commit=False, robust=False)
    return Retried.SENT_AGAIN


def _redriven(work: Services, id_: str, letter: DeadLetter | None) -> tuple[str, bool]:
    """What became of the letter (``missing``: there is none), and whether it was this call that made the row pending."""
    revived: list[bool] = []

    def revive() -> None:
        revived.append(work.store.mark_pending(id_))

    said = "missing"
    if letter is not None and isinstance(wiring.broker, CarrierBroker):
        said = DeadLetters(wiring.broker).redrive(letter, prepare=revive)
        after_redrive(letter)
    if said == "missing" and not revived:
        revive()
    return said, any(revived)


def _letter_of(work: Services, id_: str) -> DeadLetter | None:
    route = work.store.route(id_)
    if route is None or not isinstance(wiring.broker, CarrierBroker):
        return None
    of_lane = LetterQuery(lane=route.conversation_id)
    letters = islice(DeadLetters(wiring.broker).all(send_message.queue_name, of_lane), MAX_LETTERS)
    return next((letter for letter in letters if letter.kwargs.get("message_id") == id_), None)


def _may_be_delivered(attempts: list[SendAttempt], letter: DeadLetter | None) -> bool:
    if any(attempt.state in (AttemptState.SENDING, AttemptState.UNKNOWN) for attempt in attempts):
        return True
    return letter is not None and letter.reason in (DeliveryUnknown.code, RecipientMismatch.code)
